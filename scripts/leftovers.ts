/** What tests may leave on a machine: labelled processes, control groups, networks, mounts, loop devices and temporary folders. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { groupsOf, membersOf, placesForGroups } from '../src/lib/cgroups.ts';
import { DeadlineError, until } from '../src/lib/wait.ts';

export type Trace = {
  readonly text: string;
  /** Of processes: the daemon instance that they belong to. */
  readonly instance?: string;
};

/** All that is there now, ours or not. */
export async function traces(): Promise<readonly Trace[]> {
  return [
    ...processes(),
    ...(await controlGroups()),
    ...interfaces(),
    ...mounts(),
    ...loopDevices(),
    ...folders(),
  ];
}

/**
 * What is there now and was not at the time of `before`. A daemon of before may go on starting processes.
 * Ending takes a moment, so this waits a little until nothing is left.
 */
export async function leftovers(before: readonly Trace[]): Promise<readonly string[]> {
  const instances = new Set(before.map(trace => trace.instance).filter(instance => instance !== undefined));
  const known = new Set(before.map(trace => trace.text));
  const added = async () =>
    (await traces()).filter(
      trace => !known.has(trace.text) && (trace.instance === undefined || !instances.has(trace.instance)),
    );
  try {
    await until(async () => ((await added()).length === 0 ? true : undefined), {
      what: 'the tests have cleaned up',
      deadlineMs: 30_000,
      intervalMs: 100,
    });
    return [];
  } catch (error) {
    if (!(error instanceof DeadlineError)) throw error;
    return (await added()).map(trace => trace.text);
  }
}

// --- internal ------------------------------------------------------------------------------------

function processes(): Trace[] {
  return entries('/proc')
    .filter(pid => /^\d+$/.test(pid))
    .flatMap(pid => {
      const instance = /(?:^|\0)OFFSHOOT_INSTANCE=([^\0]+)/.exec(text(`/proc/${pid}/environ`))?.[1];
      const command = text(`/proc/${pid}/cmdline`).replaceAll('\0', ' ').trim();
      return instance === undefined || command === ''
        ? []
        : [{ text: `process ${pid} of instance ${instance}: ${command.slice(0, 200)}`, instance }];
    });
}

/** Those whose members we see: others belong to daemons elsewhere on this machine, and come and go while tests run. */
async function controlGroups(): Promise<Trace[]> {
  const found: Trace[] = [];
  for (const place of await placesForGroups()) {
    for (const home of (await groupsOf(place)).filter(name => name.startsWith('offshoot-'))) {
      const dir = join(place, home);
      const dirs = [dir, ...(await groupsOf(dir)).map(key => join(dir, key))];
      const members = (await Promise.all(dirs.map(path => membersOf({ dirs: [path] })))).flat();
      // A pid that another namespace hides is shown as 0.
      if (members.some(pid => pid > 0)) found.push({ text: `control group ${dir}` });
    }
  }
  return found;
}

/** Of bridges, and of pairs that lead to pods. */
function interfaces(): Trace[] {
  return text('/proc/net/dev')
    .split('\n')
    .map(line => line.trim().split(':')[0] ?? '')
    .filter(name => /^(offshoot|ofs)-/.test(name))
    .map(name => ({ text: `interface ${name}` }));
}

function mounts(): Trace[] {
  return text('/proc/mounts')
    .split('\n')
    .map(line => line.split(' ').slice(0, 2).join(' on '))
    .filter(mount => mount.includes('offshoot'))
    .map(mount => ({ text: `mount ${mount}` }));
}

/** Those of files that tests may have made: devices of others, in another mount namespace even, come and go while tests run. */
function loopDevices(): Trace[] {
  return entries('/sys/block')
    .map(device => ({ device, file: text(`/sys/block/${device}/loop/backing_file`).trim() }))
    .filter(({ file }) => file.startsWith(join(tmpdir(), 'offshoot-')))
    .filter(({ file }) => file.endsWith(' (deleted)') || existsSync(file))
    .map(({ device, file }) => ({ text: `loop device /dev/${device} for ${file}` }));
}

function folders(): Trace[] {
  return entries(tmpdir())
    .filter(name => name.startsWith('offshoot-'))
    .map(name => ({ text: `temporary folder ${join(tmpdir(), name)}` }));
}

function entries(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

/** Empty when there is no such file, or it is not ours to read. */
function text(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}
