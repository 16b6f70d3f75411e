/** Ends a test file that is not over in time: a child of ours, and all that have come of it. */
import { readdirSync, readFileSync } from 'node:fs';

/**
 * Kills the child of this process that was given `args`, and its descendants, also those with a group of their own. Only Linux shows
 * them; elsewhere nothing happens.
 */
export function killTree(args: readonly string[]): void {
  const parents = processes();
  const roots = [...parents].filter(([pid, parent]) => parent === process.pid && runs(pid, args));
  const tree = roots.map(([pid]) => pid);
  for (const pid of tree) tree.push(...[...parents].filter(([, parent]) => parent === pid).map(([it]) => it));
  for (const pid of tree) kill(pid);
}

// --- internal ------------------------------------------------------------------------------------

/** Pid → pid of its parent: the fourth field of proc_pid_stat(5), behind a name that may hold anything. */
function processes(): ReadonlyMap<number, number> {
  const pids = read(() => readdirSync('/proc').filter(name => /^\d+$/.test(name))) ?? [];
  return new Map(
    pids.flatMap(pid => {
      const stat = read(() => readFileSync(`/proc/${pid}/stat`, 'utf8'));
      const [, parent] = stat?.slice(stat.lastIndexOf(')') + 2).split(' ') ?? [];
      return parent === undefined ? [] : [[Number(pid), Number(parent)] as const];
    }),
  );
}

function runs(pid: number, args: readonly string[]): boolean {
  const given = new Set(read(() => readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')));
  return args.every(arg => given.has(arg));
}

function kill(pid: number): void {
  read(() => process.kill(pid, 'SIGKILL'));
}

/** Processes end while they are looked at. */
function read<T>(what: () => T): T | undefined {
  try {
    return what();
  } catch {
    return undefined;
  }
}
