/**
 * Processes that outlive us, known by pid *and* start time, since a pid alone may have been used again. Linux reads
 * /proc; elsewhere only `kill(pid, 0)` is known.
 */

import { readdirSync, readFileSync } from 'node:fs';

export type ProcessId = {
  readonly pid: number;
  /** Clock ticks since boot (proc_pid_stat(5), field 22); empty where the machine does not tell. */
  readonly startTime: string;
};

/** The identity of a running process, or undefined when there is none (a zombie counts as none). */
export function identify(pid: number): ProcessId | undefined {
  if (process.platform !== 'linux') return signalable(pid) ? { pid, startTime: '' } : undefined;
  const fields = statOf(pid);
  if (fields === undefined || fields[0] === 'Z' || fields[0] === 'X') return undefined;
  return { pid, startTime: fields[19] ?? '' };
}

export const isAlive = (id: ProcessId): boolean => identify(id.pid)?.startTime === id.startTime;

/**
 * Whether it is alive and has not begun to end. A process 1 of a namespace does not get further as long as others of the
 * namespace have ended and nobody has asked how, which who should ask may never do: then nothing of it is left but its pid.
 */
export const isAtWork = (id: ProcessId): boolean =>
  isAlive(id) && (Number(statOf(id.pid)?.[6]) & PF_EXITING) === 0;

/**
 * Signals exactly this process, or also the group that it leads. Its identity is checked right before; only a pid
 * that is given to somebody else between the two system calls could be mistaken (pidfd_open(2) is not in Node).
 * @returns false when it is gone
 */
export function signal(id: ProcessId, name: NodeJS.Signals, to: 'process' | 'group' = 'process'): boolean {
  return isAlive(id) && kill(to === 'group' ? -id.pid : id.pid, name);
}

/**
 * Kills what is left of the group of a leader whose end was seen a moment ago. While the group has members the
 * system gives its number to nobody else (setpgid(2)); once it has none, only a newcomer of that very moment has it.
 */
export const killGroupOf = (leader: ProcessId): boolean => kill(-leader.pid, 'SIGKILL');

/**
 * The process and all that it and its descendants have started, as long as nobody between them has ended. Costs one
 * small file for each of their threads (proc_tid_children(5)), however many processes the machine has.
 */
export function family(id: ProcessId): readonly ProcessId[] {
  const found = new Map<number, ProcessId>();
  const add = (member: ProcessId): void => {
    if (found.has(member.pid)) return;
    found.set(member.pid, member);
    for (const pid of childrenOf(member.pid)) {
      const child = identify(pid);
      if (child !== undefined) add(child);
    }
  };
  if (isAlive(id)) add(id);
  return [...found.values()];
}

/**
 * Pids of processes whose parents have ended, and to whom the system gave one of our ancestors instead (prctl(2),
 * PR_SET_CHILD_SUBREAPER): among them are all orphans of what we have started. Their own children are not listed.
 */
export function orphans(): readonly number[] {
  const found: number[] = [];
  for (let ancestor = process.ppid; ancestor > 0; ancestor = parentOf(ancestor))
    found.push(...childrenOf(ancestor));
  return found;
}

// --- internal -----------------------------------------------------------------------------------

/** linux/sched.h */
const PF_EXITING = 4;

/** Fields of proc_pid_stat(5) from the third on; the second, the program's name, may contain spaces and parentheses. */
function statOf(pid: number): readonly string[] | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  } catch {
    return undefined;
  }
}

function kill(pid: number, name: NodeJS.Signals): boolean {
  try {
    return process.kill(pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    return false;
  }
}

/** Pids of what it has started and what runs still. */
export function childrenOf(pid: number): readonly number[] {
  try {
    return readdirSync(`/proc/${pid}/task`).flatMap(thread =>
      readFileSync(`/proc/${pid}/task/${thread}/children`, 'utf8').split(' ').filter(Boolean).map(Number),
    );
  } catch {
    return []; // ended meanwhile, or a system without these files
  }
}

/** 0 above the first process, and where it is not to be seen. */
const parentOf = (pid: number): number => Number(statOf(pid)?.[1] ?? 0);

function signalable(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
