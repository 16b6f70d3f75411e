/** Processes as people find them, by the variables that all we start carries. Only tests look this way. */
import { readdir, readFile } from 'node:fs/promises';
import { identify, type ProcessId } from '../../src/lib/process.ts';

export type Labelled = ProcessId & { readonly part: string };

/** The process on record of `part`, a container of a workload of `instance`. */
export async function leaderOf(instance: string, part: string): Promise<ProcessId> {
  const all = (await labelled(instance)).filter(one => one.part === part).sort((a, b) => a.pid - b.pid);
  const [{ pid, startTime }] = all as [Labelled];
  return { pid, startTime };
}

/** All processes that carry the labels of `instance`, whoever started them. */
export async function labelled(instance: string): Promise<Labelled[]> {
  const found: Labelled[] = [];
  for (const pid of await readdir('/proc')) {
    if (!/^\d+$/.test(pid)) continue;
    const environ = await readFile(`/proc/${pid}/environ`, 'latin1').catch(() => '');
    const variables = environ.split('\0');
    if (!variables.includes(`OFFSHOOT_INSTANCE=${instance}`)) continue;
    const part = variables.find(v => v.startsWith('OFFSHOOT_PART='))?.slice('OFFSHOOT_PART='.length) ?? '';
    const id = identify(Number(pid));
    if (id !== undefined) found.push({ ...id, part });
  }
  return found;
}
