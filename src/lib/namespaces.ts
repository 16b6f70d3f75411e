/**
 * Private mounts for one process tree: the program sees other files at some paths, the machine sees nothing
 * and keeps nothing (mount_namespaces(7)). Linux only, as root or through a user namespace.
 */
import { exec, resultOf } from './exec.ts';
import { type HeldProgram, hold, type Shells } from './held.ts';

export type PrivateMounts = {
  /** Absolute path of unshare(1) with the options for a fresh mount namespace. */
  readonly enter: readonly string[];
  /** Absolute paths of mount(8) and umount(8). */
  readonly mount: string;
  readonly umount: string;
  /** Absolute path of nsenter(1); absent: nobody can be let in later. */
  readonly nsenter?: string;
  /** Nothing that the machine has mounted below this directory is seen, or held busy, by the program. */
  readonly hide: string;
};

export type Bind = { readonly source: string; readonly target: string; readonly readOnly?: boolean };

/**
 * Finds out, by doing it once, whether this machine lets us have private mounts.
 * @param path where to look for unshare and mount, as in `PATH`
 * @param hide see PrivateMounts
 * @param userNamespaces also try as an ordinary user; the program then sees itself as root
 * @returns the way, or why there is none
 */
export async function findPrivateMounts(
  path: string,
  shells: Shells,
  { userNamespaces, hide }: { readonly userNamespaces: boolean; readonly hide: string },
): Promise<PrivateMounts | { readonly why: string }> {
  if (process.platform !== 'linux') return { why: `not on ${process.platform}` };
  const root = process.getuid?.() === 0;
  if (!root && !userNamespaces) return { why: 'only as root' };
  try {
    const env = { PATH: path };
    const find = 'command -v unshare && command -v mount && command -v umount && command -v nsenter || :';
    const found = await exec(shells.sh, ['-c', find], { env });
    const [unshare, mount, umount, nsenter] = found.stdout.trim().split('\n');
    if (unshare === undefined || mount === undefined || umount === undefined)
      throw new Error('they are not on the PATH');
    const asRoot = root ? [] : ['--map-root-user'];
    // Slave: what the machine unmounts goes here too, and nothing of ours gets out.
    const enter = [unshare, '--mount', '--propagation', 'slave', ...asRoot];
    const how = { enter, mount, umount, hide, ...(nsenter && { nsenter }) };
    await tryOnce({ how, binds: [{ source: '/etc', target: '/tmp' }] }, shells, env);
    return how;
  } catch (error) {
    return { why: `unshare or mount failed: ${(error as Error).message}` };
  }
}

/** The argument vector that runs `argv` with another root, from the working directory `cwd` in it (util-linux 2.35). */
export const withRoot = (
  { enter: [unshare] }: PrivateMounts,
  root: string,
  cwd: string,
  argv: readonly string[],
): readonly string[] => [unshare!, `--root=${root}`, `--wd=${cwd}`, '--', ...argv];

/** The argument vector that runs `argv` where the process `pid` has its mounts and its root. Not through user namespaces. */
export const beside = (
  { nsenter }: PrivateMounts,
  pid: number,
  cwd: string,
  argv: readonly string[],
): readonly string[] =>
  nsenter === undefined
    ? argv
    : [
        ...[nsenter, `--target=${pid}`, '--mount', '--root', '--'],
        ...['/bin/sh', '-c', 'cd "$0" && exec "$@"', cwd],
        ...argv,
      ];

/** @returns why `withRoot` does not work on this machine; undefined when it does */
export async function mayChangeRoot(how: PrivateMounts): Promise<string | undefined> {
  // In the namespace in which it would be done: an ordinary user may do it nowhere else.
  const argv = [...how.enter, ...withRoot(how, '/', '/', ['/bin/sh', '-c', 'exit 0'])];
  try {
    await exec(argv[0]!, argv.slice(1), { env: {}, deadlineMs: 5_000 });
    return undefined;
  } catch (error) {
    return `unshare cannot change the root: ${(error as Error).message}`;
  }
}

// --- internal -----------------------------------------------------------------------------------

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
