/** Mounts and loop devices: read from the kernel's tables, changed by the system's own programs. Linux only. */
import { readdir, readFile, realpath, stat } from 'node:fs/promises';
import { exec } from './exec.ts';
import { DeadlineError, delay } from './wait.ts';

export type Mount = {
  /** The directory it is mounted at. */
  readonly target: string;
  /** The device, e.g. `/dev/loop0`. */
  readonly source: string;
  /** The file system itself takes no writes, e.g. because the kernel found it broken; not only this mount. */
  readonly readOnly: boolean;
};

/** What is mounted, oldest first; a later entry hides an earlier one with the same target. */
export async function mounts(): Promise<readonly Mount[]> {
  const table = await readFile('/proc/self/mountinfo', 'utf8');
  return table
    .split('\n')
    .filter(line => line !== '')
    .map(line => {
      // proc_pid_mountinfo(5): … (5) mount point … optional fields "-" type, source, options.
      const [before = '', after = ''] = line.split(' - ');
      const [, source, options = ''] = after.split(' ');
      const readOnly = options.split(',')[0] === 'ro';
      return { target: decoded(before.split(' ')[4]), source: decoded(source), readOnly };
    });
}

/**
 * What mount namespaces of ordinary users must not take away from a mount of the machine, and have to name when they
 * make it read-only (mount_namespaces(7), "Restrictions"): for each path the options of the mount that it is on.
 */
export async function locksOf(): Promise<(path: string) => readonly string[]> {
  const table = await readFile('/proc/self/mountinfo', 'utf8');
  const locks = table.split('\n').flatMap(line => {
    const [, , , , target, options = ''] = line.split(' ');
    return target === undefined
      ? []
      : [{ target: decoded(target), keep: options.split(',').filter(option => LOCKED.includes(option)) }];
  });
  const holds = (target: string, path: string) =>
    target === '/' || path === target || path.startsWith(`${target}/`);
  return path =>
    locks
      .filter(({ target }) => holds(target, path))
      .reduce((best, one) => (one.target.length >= best.target.length ? one : best), {
        target: '',
        keep: [] as string[],
      }).keep;
}

/** Whether something is mounted at exactly this directory. */
export async function isMounted(directory: string): Promise<boolean> {
  const target = await realpath(directory).catch(() => directory); // the table knows no symbolic links
  return (await mounts()).some(m => m.target === target);
}

/** Whether this process holds CAP_SYS_ADMIN, without which mount(2) is refused (capabilities(7)). */
export async function mayMount(): Promise<boolean> {
  if (process.platform !== 'linux') return false;
  const effective = /^CapEff:\s*([0-9a-f]+)$/m.exec(await readFile('/proc/self/status', 'utf8'))?.[1] ?? '0';
  const CAP_SYS_ADMIN = 21n;
  return ((BigInt(`0x${effective}`) >> CAP_SYS_ADMIN) & 1n) === 1n;
}

/** Runs one of the system's administration programs, which an ordinary PATH may not name; messages in English. */
export const system = (program: string, args: readonly string[], signal?: AbortSignal) =>
  exec(program, args, {
    env: { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C' },
    ...(signal === undefined ? {} : { signal }),
  });

/** Mounts an image file through a loop device that the kernel frees again at the unmount. */
export async function mountImage(
  image: string,
  target: string,
  { type, options }: { readonly type: string; readonly options: readonly string[] },
): Promise<void> {
  await system('mount', ['-t', type, '-o', ['loop', ...options].join(','), '--', image, target]);
}

export async function mountDevice(
  device: string,
  target: string,
  { type, options }: { readonly type: string; readonly options: readonly string[] },
): Promise<void> {
  await system('mount', ['-t', type, '-o', options.join(','), '--', device, target]);
}

/** Writes everything down that the file system of `path` holds in memory. */
export async function flushFileSystem(path: string): Promise<void> {
  await system('sync', ['-f', '--', path]);
}

/** Makes directory `from` appear at directory `to`. Nothing happens when it does already. */
export async function bindMount(
  from: string,
  to: string,
  options: { readonly readOnly: boolean },
): Promise<void> {
  const [a, b] = await Promise.all([stat(from), stat(to)]);
  if (a.dev === b.dev && a.ino === b.ino) return;
  // Lazily, because programs started from an older tree that was bound here may still run.
  if (await isMounted(to)) await system('umount', ['--lazy', '--', to]);
  await system('mount', ['-o', options.readOnly ? 'bind,ro' : 'bind', '--', from, to]);
}

/**
 * Unmounts `target`; while it is busy, tries again until the deadline. What is not mounted is a success.
 * @throws DeadlineError with the last failure as its cause
 */
export async function unmount(target: string, deadlineMs: number): Promise<void> {
  const end = performance.now() + deadlineMs;
  while (await isMounted(target)) {
    try {
      await system('umount', ['--', target]);
    } catch (error) {
      if (performance.now() > end) throw new DeadlineError(`unmount ${target}`, deadlineMs, error);
      await delay(25);
    }
  }
}

/** The loop devices that `image` is attached to, e.g. `/dev/loop0`. */
export async function loopDevicesOf(image: string): Promise<readonly string[]> {
  const found: string[] = [];
  for (const name of await readdir('/sys/block')) {
    if (!name.startsWith('loop')) continue;
    try {
      const file = await readFile(`/sys/block/${name}/loop/backing_file`, 'utf8');
      if (file.trimEnd() === image) found.push(`/dev/${name}`);
    } catch {
      // Not attached to anything, or detached meanwhile.
    }
  }
  return found;
}

/** Makes a loop device notice that its image has grown. */
export async function growLoopDevice(device: string): Promise<void> {
  await system('losetup', ['--set-capacity', device]);
}

// --- internal ------------------------------------------------------------------------------------

const LOCKED: readonly string[] = ['nosuid', 'nodev', 'noexec'];

/** The table writes space, tab, newline and backslash as three octal digits. */
const decoded = (field = ''): string =>
  field.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
