/**
 * Private mounts for one process tree: the program sees other files at some paths, the machine sees nothing
 * and keeps nothing (mount_namespaces(7)). Linux only, as root or through a user namespace.
 */
import { statSync } from 'node:fs';
import { exec, resultOf } from './exec.ts';
import { type Entrance, hold, type Shells } from './held.ts';
import { childrenOf, isAlive, type ProcessId } from './process.ts';
import { type ProcessNamespaces, processNamespaces } from './process-namespaces.ts';
import { until } from './wait.ts';

export type PrivateMounts = {
  /** Absolute path of unshare(1) with the options for a fresh mount namespace. */
  readonly enter: readonly string[];
  /** Further options, for who is not root of a user namespace yet. */
  readonly asRoot?: readonly string[];
  /**
   * An ordinary user mounts as the root of a user namespace of his own. These options of unshare(1) make him himself
   * again: programs run as who started them, and without any power over what was mounted.
   */
  readonly asOneself?: readonly string[];
  /** Absolute paths of mount(8) and umount(8). */
  readonly mount: string;
  readonly umount: string;
  /** Absolute path of nsenter(1); absent: nobody can be let in later. */
  readonly nsenter?: string;
  /** Absolute path of hostname(1); absent: programs have the machine's host name. */
  readonly hostname?: string;
  /** How programs get process namespaces of their own, which they see by their own /proc; or why they have none. */
  readonly processes: ProcessNamespaces | { readonly why: string };
  /** Nothing that the machine has mounted below this directory is seen, or held busy, by the program. */
  readonly hide: string;
};

export type Bind = { readonly source: string; readonly target: string; readonly readOnly?: boolean };

/** The way, or why there is none. */
export type FoundMounts = PrivateMounts | { readonly why: string };

/**
 * Finds out, by doing it once, whether this machine lets us have private mounts.
 * @param path where to look for unshare and mount, as in `PATH`
 * @param hide see PrivateMounts
 * @returns the way, or why there is none
 */
export async function findPrivateMounts(
  path: string,
  shells: Shells,
  { hide }: { readonly hide: string },
): Promise<FoundMounts> {
  if (process.platform !== 'linux') return { why: `not on ${process.platform}` };
  const [uid, gid] = [process.getuid!(), process.getgid!()];
  const root = uid === 0;
  try {
    const env = { PATH: path };
    const { stdout } = await exec(shells.sh, ['-c', FIND, 'sh', ...PROGRAMS], { env });
    const [unshare, mount, umount, nsenter, hostname, sleep] = stdout
      .split('\n')
      .map(line => line || undefined);
    if (unshare === undefined || mount === undefined || umount === undefined)
      throw new Error('they are not on the PATH');
    // Slave: what the machine unmounts goes here too, and nothing of ours gets out.
    const enter = [unshare, '--mount', '--propagation', 'slave'];
    // With a copy of the mounts that is its own, so that others can be let in beside it.
    const asOneself = ['--user', `--map-user=${uid}`, `--map-group=${gid}`, '--mount'];
    const unchanged = ['--propagation', 'unchanged'];
    const how: PrivateMounts = {
      ...{ enter, mount, umount, hide, processes: { why: 'they are not on the PATH' } },
      ...(nsenter && { nsenter }),
      ...(!root && { asRoot: ['--map-root-user'], asOneself: [...asOneself, ...unchanged] }),
    };
    const named: PrivateMounts = {
      ...how,
      ...(!root && { asOneself: [...asOneself, '--uts', ...unchanged] }),
      ...(hostname && { hostname }),
    };
    // The best first: where all of it works, which is usual, one try is enough.
    let why = 'nsenter, env or sleep is not on the PATH';
    if (nsenter && sleep && shells.env)
      try {
        const processes = await processNamespaces({ unshare, nsenter, sleep, env: shells.env });
        const best = { ...named, processes };
        await tryOnce(best, shells, env, processes);
        return best;
      } catch (error) {
        why = (error as Error).message;
      }
    if (hostname !== undefined) {
      const refused = await tryOnce(named, shells, env).catch((error: Error) => error);
      if (refused === undefined) return { ...named, processes: { why } };
    }
    await tryOnce(how, shells, env);
    return { ...how, processes: { why } };
  } catch (error) {
    return {
      why: `${root ? '' : 'no user namespaces: '}unshare or mount failed: ${(error as Error).message}`,
    };
  }
}

/**
 * What goes before the argument vector of a program when its mounts are made: as oneself, and with another root, in
 * which it works at `cwd` (util-linux 2.35).
 */
export function begin(
  { enter: [unshare], asOneself = [] }: PrivateMounts,
  view?: { readonly root: string; readonly cwd: string },
): readonly string[] {
  const root = view === undefined ? [] : [`--root=${view.root}`, `--wd=${view.cwd}`];
  return asOneself.length + root.length === 0 ? [] : [unshare!, ...asOneself, ...root, '--'];
}

/** The argument vector that runs `argv` where the process `pid` has its mounts and its root. */
export const beside = (
  { nsenter, asOneself, hostname }: PrivateMounts,
  pid: number,
  cwd: string,
  argv: readonly string[],
): readonly string[] =>
  nsenter === undefined
    ? argv
    : [
        ...[nsenter, `--target=${pid}`, '--mount', '--root', ...(hostname === undefined ? [] : ['--uts'])],
        ...(asOneself === undefined ? [] : ['--user', '--preserve-credentials']),
        '--',
        ...['/bin/sh', '-c', 'cd "$0" && exec "$@"', cwd],
        ...argv,
      ];

/** Pid of the program that a shell of `hold` waits for, once it is where it stays. @throws DeadlineError */
export async function startedBy(shell: ProcessId, { asOneself }: PrivateMounts): Promise<number> {
  const userOf = (pid: number) => statSync(`/proc/${pid}/ns/user`, { throwIfNoEntry: false })?.ino;
  const look = () => {
    const [pid] = childrenOf(shell.pid);
    if (pid === undefined) return isAlive(shell) ? undefined : shell.pid;
    return asOneself === undefined || userOf(pid) !== userOf(shell.pid) ? pid : undefined;
  };
  return look() ?? (await until(look, { what: 'the program starts', deadlineMs: 30_000, intervalMs: 2 }));
}

/** @returns why `begin` does not work with another root on this machine; undefined when it does */
export async function mayChangeRoot(how: PrivateMounts): Promise<string | undefined> {
  // In the namespace in which it would be done: an ordinary user may do it nowhere else.
  const argv = [
    ...how.enter,
    ...(how.asRoot ?? []),
    ...begin(how, { root: '/', cwd: '/' }),
    '/bin/sh',
    '-c',
    'exit 0',
  ];
  try {
    await exec(argv[0]!, argv.slice(1), { env: {}, deadlineMs: TRY_MS });
    return undefined;
  } catch (error) {
    return `unshare cannot change the root: ${(error as Error).message}`;
  }
}

// --- internal -----------------------------------------------------------------------------------

const PROGRAMS = ['unshare', 'mount', 'umount', 'nsenter', 'hostname', 'sleep'] as const;
/** A line for each; empty: it is not there. */
const FIND = 'for name do command -v "$name" || echo; done';

/** For a try: it only guards against one that hangs. Who has no answer in time on a busy machine would do without for all of its life. */
const TRY_MS = 30_000;

async function tryOnce(
  how: PrivateMounts,
  shells: Shells,
  env: Readonly<Record<string, string>>,
  processes?: ProcessNamespaces,
): Promise<void> {
  const mounts = {
    ...{ how, binds: [{ source: '/etc', target: '/tmp' }], processes: processes !== undefined },
    ...(how.hostname !== undefined && { hostname: 'offshoot' }),
  };
  const argv = processes ? [...processes.first.slice(0, -1), '0'] : [shells.sh, '-c', 'exit 0'];
  const program = { argv, env, cwd: '/', stdout: 'pipe', stderr: 'pipe', mounts } as const;
  const held = await hold({ ...program, ...(processes && { inside: firstIn(processes) }) }, shells);
  const result = resultOf(held.child, argv, { deadlineMs: TRY_MS });
  held.go();
  await result;
}

/** What is started there is the first itself. */
function firstIn({ fresh }: ProcessNamespaces): Entrance {
  const { within, through } = fresh();
  const deeper = through.length === 0 ? through : [...through, '--fork', '--kill-child'];
  return { ...(within && { within }), through: deeper };
}
