/**
 * Private mounts for one process tree: the program sees other files at some paths, the machine sees nothing
 * and keeps nothing (mount_namespaces(7)). Linux only, as root or through a user namespace.
 */
import { exec, resultOf } from './exec.ts';
import { type HeldProgram, hold, type Shells } from './held.ts';

export type PrivateMounts = {
  /** Absolute path of unshare(1) with the options for a fresh mount namespace. */
  readonly enter: readonly string[];
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
    const [unshare, mount, umount, nsenter, hostname] = stdout.split('\n').map(line => line || undefined);
    if (unshare === undefined || mount === undefined || umount === undefined)
      throw new Error('they are not on the PATH');
    const asRoot = root ? [] : ['--map-root-user'];
    // Slave: what the machine unmounts goes here too, and nothing of ours gets out.
    const enter = [unshare, '--mount', '--propagation', 'slave', ...asRoot];
    // With a copy of the mounts that is its own, so that others can be let in beside it.
    const asOneself = ['--user', `--map-user=${uid}`, `--map-group=${gid}`, '--mount'];
    const unchanged = ['--propagation', 'unchanged'];
    const how = {
      ...{ enter, mount, umount, hide },
      ...(nsenter && { nsenter }),
      ...(!root && { asOneself: [...asOneself, ...unchanged] }),
    };
    const binds = [{ source: '/etc', target: '/tmp' }];
    const named = {
      ...how,
      ...(!root && { asOneself: [...asOneself, '--uts', ...unchanged] }),
    };
    if (hostname !== undefined) {
      const withName = { ...named, hostname };
      const problem = await tryOnce({ how: withName, binds, hostname: 'offshoot' }, shells, env).catch(
        error => error,
      );
      if (problem === undefined) return withName;
    }
    await tryOnce({ how, binds }, shells, env);
    return how;
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

/** @returns why `begin` does not work with another root on this machine; undefined when it does */
export async function mayChangeRoot(how: PrivateMounts): Promise<string | undefined> {
  // In the namespace in which it would be done: an ordinary user may do it nowhere else.
  const argv = [...how.enter, ...begin(how, { root: '/', cwd: '/' }), '/bin/sh', '-c', 'exit 0'];
  try {
    await exec(argv[0]!, argv.slice(1), { env: {}, deadlineMs: 5_000 });
    return undefined;
  } catch (error) {
    return `unshare cannot change the root: ${(error as Error).message}`;
  }
}

// --- internal -----------------------------------------------------------------------------------

const PROGRAMS = ['unshare', 'mount', 'umount', 'nsenter', 'hostname'] as const;
/** A line for each; empty: it is not there. */
const FIND = 'for name do command -v "$name" || echo; done';

async function tryOnce(
  mounts: NonNullable<HeldProgram['mounts']>,
  shells: Shells,
  env: Readonly<Record<string, string>>,
): Promise<void> {
  const argv = [shells.sh, '-c', 'exit 0'];
  const held = await hold({ argv, env, cwd: '/', stdout: 'pipe', stderr: 'pipe', mounts }, shells);
  const result = resultOf(held.child, argv, { deadlineMs: 5_000 });
  held.go();
  await result;
}
