/**
 * Process namespaces (pid_namespaces(7)): programs that see and signal each other and nobody else. One lives as long as its
 * process 1, a program of the system that does nothing: it leaves nothing of those that end (SIGCHLD is ignored, wait(2),
 * "NOTES"), so that programs are not that process themselves, to whom signals mean nothing unless they say so.
 */
import { closeSync, fstatSync, openSync, statSync } from 'node:fs';
import type { Entrance } from './held.ts';
import { libc } from './libc.ts';

export type ProcessNamespaces = {
  /** The argument vector of a process 1. */
  readonly first: readonly string[];
  /** Where a process 1 is to be started, so that it is one. @param place where it is apart from that; default: here */
  fresh(place?: Entrance): Entrance;
  /**
   * The namespace of a process 1 that was started so.
   * @param pid what has started then: it itself, or who has started it @param place as before
   * @returns undefined when it is not there yet, or no more
   */
  of(pid: number, place?: Entrance): ProcessNamespace | undefined;
};

export type ProcessNamespace = { readonly entrance: Entrance; close(): void };

export type Programs = {
  readonly unshare: string;
  readonly nsenter: string;
  readonly env: string;
  readonly sleep: string;
};

/** Without a try: see `findPrivateMounts`. @throws with the reason why there can be none */
export async function processNamespaces(programs: Programs): Promise<ProcessNamespaces> {
  const { env, sleep } = programs;
  const first = [env, '--ignore-signal=CHLD', sleep, FOR_EVER_S];
  return { first, ...(process.getuid!() === 0 ? await ofRoot() : ofUser(programs)) };
}

// --- internal -----------------------------------------------------------------------------------

/** 68 years: not every sleep(1) knows infinity. */
const FOR_EVER_S = '2147483647';

type Ways = Pick<ProcessNamespaces, 'fresh' | 'of'>;

const here: Entrance = { through: [] };

/** The one that children of a process are born in, once the first of them was. */
const linkOf = (pid: number): string => `/proc/${pid}/ns/pid_for_children`;

/** Our thread says for as long as a start takes where it is born. */
async function ofRoot(): Promise<Ways> {
  const calls = await libc();
  const within = (begin: () => void, { within = work => work(), through }: Entrance): Entrance => ({
    through,
    within: work =>
      within(() => {
        const own = openSync('/proc/self/ns/pid', 'r');
        try {
          begin();
          try {
            return work();
          } finally {
            goBack(own);
          }
        } finally {
          closeSync(own);
        }
      }),
  });
  /** Whatever came after would be born in the wrong one. */
  const goBack = (own: number): void => {
    try {
      calls.startProcessesIn(own);
    } catch {
      process.abort();
    }
  };
  return {
    fresh: (place = here) => within(calls.startProcessesApart, place),
    of(pid, place = here) {
      const fd = open(pid);
      if (fd === undefined) return undefined;
      return { entrance: within(() => calls.startProcessesIn(fd), place), close: () => closeSync(fd) };
    },
  };
}

/** As root of a user namespace: that of the place, or one for each process 1. */
function ofUser({ unshare, nsenter }: Programs): Ways {
  return {
    fresh({ within, through } = here) {
      const user = through.length === 0 ? ['--user', '--map-root-user'] : [];
      return { ...(within && { within }), through: [...through, unshare, ...user, '--pid'], apart: true };
    },
    of(pid, { within, through } = here) {
      const fd = open(pid);
      if (fd === undefined) return undefined;
      const user = [nsenter, '--preserve-credentials', `--user=/proc/${pid}/ns/user`];
      const way = [...(through.length === 0 ? user : through), `--pid=/proc/${process.pid}/fd/${fd}`];
      const entrance = { ...(within && { within }), through: [...way, '--no-fork'], apart: true };
      return { entrance, close: () => closeSync(fd) };
    },
  };
}

/** @returns undefined also while what leads there is still on its way */
function open(pid: number): number | undefined {
  let fd: number | undefined;
  try {
    fd = openSync(linkOf(pid), 'r');
    if (fstatSync(fd).ino !== statSync('/proc/self/ns/pid').ino) return fd;
  } catch {
    // it has ended, or has started nothing yet
  }
  if (fd !== undefined) closeSync(fd);
  return undefined;
}
