/** A process with a mount namespace of its own, which holds a copy of all that is mounted: what containers do. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readlink } from 'node:fs/promises';
import { until } from '../../src/lib/wait.ts';

export type NamespaceHolder = AsyncDisposable & {
  /** Ends the process, and with it the namespace. */
  end(): Promise<void>;
};

/** @param cwd a directory that it uses; otherwise it holds no more than the copies */
export async function namespaceHolder(cwd = '/'): Promise<NamespaceHolder> {
  const args = ['--mount', '--propagation', 'private', 'sleep', '60'];
  const child = spawn('unshare', args, { cwd, stdio: 'ignore' });
  const exited = once(child, 'exit');
  const end = async () => {
    child.kill('SIGKILL');
    await exited;
  };
  const mine = await readlink('/proc/self/ns/mnt');
  try {
    await until(async () => ((await readlink(`/proc/${child.pid}/ns/mnt`)) === mine ? undefined : true), {
      what: 'the namespace is there',
      deadlineMs: 60_000,
    });
  } catch (error) {
    await end();
    throw error;
  }
  return { end, [Symbol.asyncDispose]: end };
}
