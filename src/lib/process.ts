/**
 * Processes that outlive us: found again by pid *and* start time (a pid alone may have been reused),
 * and by a label in their environment. Linux reads /proc; elsewhere only `kill(pid, 0)` is known.
 */

import { readFileSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { delay, until } from './wait.ts';

export type ProcessId = {
  readonly pid: number;
  /** Clock ticks since boot (proc_pid_stat(5), field 22); empty where the machine does not tell. */
  readonly startTime: string;
};

/** The identity of a running process, or undefined when there is none (a zombie counts as none). */
export function identify(pid: number): ProcessId | undefined {
  if (process.platform !== 'linux') return signalable(pid) ? { pid, startTime: '' } : undefined;
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The second field, the program's name, may contain spaces and parentheses.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    if (fields[0] === 'Z' || fields[0] === 'X') return undefined;
    return { pid, startTime: fields[19] ?? '' };
  } catch {
    return undefined;
  }
}

export const isAlive = (id: ProcessId): boolean => identify(id.pid)?.startTime === id.startTime;

/** All processes whose environment holds `name=value`; those of other users are invisible unless we are root. */
export async function findByEnv(name: string, value: string): Promise<ProcessId[]> {
  if (process.platform !== 'linux') return [];
  const wanted = `\0${name}=${value}\0`;
  const found: ProcessId[] = [];
  for (const entry of await readdir('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    try {
      const environ = `\0${await readFile(`/proc/${entry}/environ`, 'utf8')}\0`;
      if (!environ.includes(wanted)) continue;
      const id = identify(Number(entry));
      if (id !== undefined) found.push(id);
    } catch {
      // Ended meanwhile, or not ours to read.
    }
  }
  return found;
}

/**
 * Ends a process group: SIGTERM (or `first`), then SIGKILL after `graceMs`. Returns when the leader is gone.
 * The group must have been started with `detached: true`, so that its id is the leader's pid.
 */
export async function endGroup(
  leader: ProcessId,
  { first = 'SIGTERM', graceMs }: { first?: NodeJS.Signals; graceMs: number },
): Promise<void> {
  // Once the leader is gone its pid may belong to somebody else: what is left of the group is found by label.
  if (!isAlive(leader)) return;
  killGroup(leader.pid, first);
  const end = performance.now() + graceMs;
  while (isAlive(leader) && performance.now() < end) await delay(2);
  killGroup(leader.pid, 'SIGKILL');
  await until(() => (isAlive(leader) ? undefined : true), {
    what: `process ${leader.pid} ends after SIGKILL`,
    deadlineMs: 10_000,
  });
}

/** Signals a whole group; a group that is gone is not an error. */
export function killGroup(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

function signalable(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
