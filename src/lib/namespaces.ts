/**
 * Private mounts for one process tree: the program sees other files at some paths, the machine sees nothing
 * and keeps nothing (mount_namespaces(7)). Linux only, as root or through a user namespace.
 */
import { exec } from './exec.ts';

export type PrivateMounts = {
  /** Absolute path of unshare(1) with the options for a fresh mount namespace, then a shell. */
  readonly enter: readonly string[];
  /** Absolute paths of mount(8) and umount(8). */
  readonly mount: string;
  readonly umount: string;
  /** Nothing that the machine has mounted below this directory is seen, or held busy, by the program. */
  readonly hide: string;
};

export type Bind = { readonly source: string; readonly target: string };

/**
 * Finds out, by doing it once, whether this machine lets us have private mounts.
 * @param path where to look for unshare and mount, as in `PATH`
 * @param hide see PrivateMounts
 * @param userNamespaces also try as an ordinary user; the program then sees itself as root
 * @returns the way, or why there is none
 */
export async function findPrivateMounts(
  path: string,
  { userNamespaces, hide }: { readonly userNamespaces: boolean; readonly hide: string },
): Promise<PrivateMounts | { readonly why: string }> {
  if (process.platform !== 'linux') return { why: `not on ${process.platform}` };
  const root = process.getuid?.() === 0;
  if (!root && !userNamespaces) return { why: 'only as root' };
  try {
    const env = { PATH: path };
    const find =
      'command -v unshare && command -v mount && command -v umount && { command -v bash || true; }';
    const found = await exec('/bin/sh', ['-c', find], { env });
    const [unshare, mount, umount, bash] = found.stdout.trim().split('\n') as [
      string,
      string,
      string,
      string?,
    ];
    const asRoot = root ? [] : ['--map-root-user'];
    // bash rather than sh, which may be dash and drop variables with a dot in their name, as Spring has them.
    const shell = bash === undefined ? ['/bin/sh'] : [bash, '-p'];
    // Slave: what the machine unmounts goes here too, and nothing of ours gets out.
    const enter = [unshare, '--mount', '--propagation', 'slave', ...asRoot, ...shell];
    const mounts = { enter, mount, umount, hide };
    const [file, ...args] = withPrivateMounts(mounts, [{ source: '/tmp', target: '/tmp' }], ['true']);
    await exec(file!, args, { env, deadlineMs: 5_000 });
    return mounts;
  } catch (error) {
    return { why: `unshare or mount failed: ${(error as Error).message}` };
  }
}

/**
 * The argument vector that runs `argv` with `binds` mounted, in their order.
 *
 * Mounts must be made between entering the namespace and starting the program, which takes a program of its
 * own: a shell with a constant script that gets everything as positional arguments, so nothing is ever
 * parsed as shell text. It ends in `exec`, and unshare(1) does not fork, so the pid that was spawned is in
 * the end the program itself and the leader of its group.
 */
export function withPrivateMounts(
  { enter, mount, umount, hide }: PrivateMounts,
  binds: readonly Bind[],
  argv: readonly string[],
): readonly string[] {
  const pairs = binds.flatMap(({ source, target }) => [source, target]);
  return [...enter, '-c', MOUNT_AND_EXEC, 'sh', mount, umount, hide, ...pairs, '--', ...argv];
}

// --- internal -----------------------------------------------------------------------------------

// A namespace begins as a copy of the machine's mounts, and where the machine's are private its unmounting does
// not reach the copy: a file system would stay busy for as long as the program runs. Hence the unmounting first,
// which an ordinary user may not do.
// Binds are recursive, because in a user namespace a mount cannot be separated from the mounts below it.
const MOUNT_AND_EXEC = `mount=$1 umount=$2 hide=$3
shift 3
while read -r _ target _; do
  case $target in "$hide"/*) "$umount" -l "$target" 2>/dev/null;; esac
done < /proc/self/mounts
while [ "$1" != -- ]; do
  "$mount" --rbind "$1" "$2" || exit 125
  shift 2
done
shift
exec "$@"`;
