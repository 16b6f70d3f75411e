/**
 * The processes of our servers, found in the world and not in memory. A postmaster carries two labels in its
 * environment and has its data directory as working directory; its children have only the latter, because
 * PostgreSQL writes their titles over the environment, and each is a process group of its own.
 */
import { readdir, readFile, readlink, realpath } from 'node:fs/promises';
import { basename } from 'node:path';
import { exec } from '../../lib/exec.ts';
import { identify, type ProcessId } from '../../lib/process.ts';
import { until } from '../../lib/wait.ts';
import { findLabelled } from '../labels.ts';
import type { LockFile } from './lock-file.ts';

/** Label of the server `id`, see drivers/labels.ts. */
export const partOf = (id: string): string => `${PREFIX}${id}`;
const PREFIX = 'postgres/';

/** The running process that holds a lock file; undefined when it is dead, also when a stranger has its pid by now. */
export async function holderOf(lock: LockFile): Promise<ProcessId | undefined> {
  const holder = identify(lock.pid);
  if (holder === undefined) return undefined;
  if (process.platform === 'linux')
    return (await workingDirOf(lock.pid)) === (await real(lock.dataDir)) ? holder : undefined;
  const shown = await exec('ps', ['-o', 'command=', '-p', String(lock.pid)]).catch(() => undefined);
  return shown?.stdout.includes(lock.dataDir) ? holder : undefined;
}

/** Whether a process on a data directory is the server of `id`. Where processes hide their environment, it is. */
export async function isServerOf(id: string, server: ProcessId): Promise<boolean> {
  if (process.platform !== 'linux') return true;
  const environ = await readFile(`/proc/${server.pid}/environ`, 'utf8').catch(() => '');
  return environ.split('\0').includes(`OFFSHOOT_PART=${partOf(id)}`);
}

/** All servers of an instance, also such as have lost their files. */
export async function serversOf(instance: string): Promise<ReadonlyMap<string, ProcessId>> {
  const found = new Map<string, ProcessId>();
  for (const { part, pid, startTime } of await findLabelled(instance)) {
    if (!part.startsWith(PREFIX)) continue;
    const id = part.slice(PREFIX.length);
    // A child has its parent's environment until it has written its title; the parent is older.
    const other = found.get(id);
    if (other === undefined || Number(startTime) < Number(other.startTime)) found.set(id, { pid, startTime });
  }
  return found;
}

/** Where a process works; undefined when it is gone or not ours to see. */
export const workingDirOf = (pid: number): Promise<string | undefined> =>
  readlink(`/proc/${pid}/cwd`).catch(() => undefined);

/**
 * Ends what a killed server left behind on its data directory. Its backends notice the death of their
 * postmaster only when they next wait, and while one lives no new server can start there.
 */
export async function endStrays(dataDir: string, signal: AbortSignal): Promise<void> {
  if (process.platform !== 'linux') return;
  const directory = await real(dataDir);
  await until(
    async () => {
      const strays = await processesIn(directory);
      for (const pid of strays) send(pid, 'SIGKILL');
      return strays.length === 0 ? true : undefined;
    },
    { what: `the last process on ${dataDir} ends`, deadlineMs: 10_000, signal },
  );
}

/** Signals one process; one that is gone is not an error. */
export function send(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

// --- internal ------------------------------------------------------------------------------------

async function processesIn(directory: string): Promise<number[]> {
  const found: number[] = [];
  for (const entry of await readdir('/proc')) {
    const pid = Number(entry);
    if (!Number.isInteger(pid) || (await workingDirOf(pid)) !== directory) continue;
    const program = await readlink(`/proc/${pid}/exe`).catch(() => '');
    if (basename(program) === 'postgres' && identify(pid) !== undefined) found.push(pid);
  }
  return found;
}

const real = (path: string): Promise<string> => realpath(path).catch(() => path);
