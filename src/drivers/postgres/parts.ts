/** Our servers and programs of PostgreSQL in the registry of processes, and who else may be on a data directory. */
import { readlink, realpath } from 'node:fs/promises';
import { basename } from 'node:path';
import { exec } from '../../lib/exec.ts';
import { identify, orphans, signal } from '../../lib/process.ts';
import { until } from '../../lib/wait.ts';
import { pathName } from '../labels.ts';
import type { LockFile } from './lock-file.ts';

export const SERVERS = 'postgres';
export const serverPart = (id: string): string => `${SERVERS}/${id}`;

export const INITDBS = 'initdb';
export const RECOVERIES = 'recovery';
export const recoveryPart = (id: string): string => `${RECOVERIES}/${id}`;

export const initdbPart = (dataDir: string): string => `${INITDBS}/${pathName(dataDir)}`;

/**
 * Whether a lock file belongs to a server that runs, which is none that we know: it must not be removed. A stranger that
 * has its pid by now works elsewhere.
 */
export async function isHeld({ pid, dataDir }: LockFile): Promise<boolean> {
  if (identify(pid) === undefined) return false;
  if (process.platform === 'linux') return (await linkOf(pid, 'cwd')) === (await real(dataDir));
  const shown = await exec('ps', ['-o', 'command=', '-p', String(pid)]).catch(() => undefined);
  return shown?.stdout.includes(dataDir) ?? false;
}

/**
 * Ends what a killed server has left on its data directory, where no control group knows it: PostgreSQL itself works
 * there, in a directory that only its user can enter, and each of its processes is a group of its own.
 */
export async function endOrphans(dataDir: string): Promise<void> {
  const directory = await real(dataDir);
  await until(
    async () => {
      let left = false;
      for (const pid of orphans()) {
        if ((await linkOf(pid, 'cwd')) !== directory || basename(await linkOf(pid, 'exe')) !== 'postgres')
          continue;
        const id = identify(pid);
        if (id !== undefined && signal(id, 'SIGKILL')) left = true;
      }
      return left ? undefined : true;
    },
    { what: `the last process on ${dataDir} ends`, deadlineMs: 10_000 },
  );
}

// --- internal ------------------------------------------------------------------------------------

/** Empty when the process is gone or not ours to see. */
const linkOf = (pid: number, name: 'cwd' | 'exe'): Promise<string> =>
  readlink(`/proc/${pid}/${name}`).catch(() => '');

const real = (path: string): Promise<string> => realpath(path).catch(() => path);
