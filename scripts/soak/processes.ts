/** Processes of a daemon, as somebody finds them who wants to kill them. */
import { readdir, readFile } from 'node:fs/promises';
import { identify } from '../../src/lib/process.ts';
import { until } from '../../src/lib/wait.ts';

/** Daemons of `home`: also one that has not told anybody yet that it is there; not the command that starts it. */
export async function daemons(home: string): Promise<number[]> {
  const found: number[] = [];
  for (const pid of await readdir('/proc')) {
    if (!/^\d+$/.test(pid)) continue;
    const [command, environ] = await Promise.all(
      ['cmdline', 'environ'].map(file => readFile(`/proc/${pid}/${file}`, 'latin1').catch(() => '')),
    );
    const words = command!.split('\0');
    // Before it are Node and options of Node.
    const main = words.findIndex(word => /\/main\.(ts|cjs)$/.test(word));
    if (main < 1 || words[main + 1] !== 'up' || words.includes('--detach')) continue;
    if (environ!.split('\0').includes(`OFFSHOOT_HOME=${home}`)) found.push(Number(pid));
  }
  return found;
}

/** Kills them, and waits until they are gone. */
export async function end(pids: readonly number[]): Promise<void> {
  for (const pid of pids) process.kill(pid, 'SIGKILL');
  await until(() => pids.every(pid => identify(pid) === undefined) || undefined, {
    ...{ what: 'it is gone', deadlineMs: 60_000 },
  });
}
