/** Data directories of servers that do not run: made new, or made fit after a copy. */
import { chown, readdir, rm, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ExecError, exec } from '../../lib/exec.ts';
import { OffshootError } from '../../model/errors.ts';
import type { Ctx } from '../contract.ts';
import { labels } from '../labels.ts';
import type { Processes } from '../processes/contract.ts';
import { INITDBS, initdbPart, RECOVERIES, recoveryPart } from './parts.ts';
import { initdbArgs, recoverySettings, type settings } from './settings.ts';
import { runAs, type ServerUser } from './user.ts';

export type NewCluster = {
  readonly dataDir: string;
  /** Directory of `initdb`. */
  readonly bin: string;
  readonly major: number;
  readonly user: ServerUser;
  readonly instance: string;
  readonly processes: Processes;
  readonly adminSecret: string;
};

/** Makes a new cluster in an empty directory; durable when it returns. @throws OffshootError postgres/initdb-failed */
export async function initialise(cluster: NewCluster, ctx: Ctx): Promise<void> {
  const { dataDir, bin, major, user, instance, processes, adminSecret } = cluster;
  const secretFile = `${dataDir}.secret`; // beside the data, so that it goes with a volume that was left half-made
  try {
    await writeFile(secretFile, `${adminSecret}\n`, { mode: 0o600 });
    await chown(secretFile, user.uid, user.gid);
    const argv = [join(bin, 'initdb'), `--pgdata=${dataDir}`, `--pwfile=${secretFile}`, ...initdbArgs(major)];
    const part = initdbPart(dataDir);
    const options = { signal: ctx.signal, deadlineMs: 120_000 };
    await processes.run(part, { argv, cwd: '/', env: labels(instance, part), ...runAs(user) }, options);
    await exec('sync', process.platform === 'linux' ? ['-f', dataDir] : [], { cwd: '/', ...options });
  } catch (cause) {
    if (!(cause instanceof ExecError)) throw cause;
    const output = cause.stderr.trim();
    const lines = output.split('\n');
    const why = lines.find(line => REASON.test(line))?.replace(REASON, '') ?? (lines.at(-1) || cause.message);
    throw new OffshootError('postgres/initdb-failed', { dataDir, why }, { cause, output });
  } finally {
    await rm(secretFile, { force: true });
  }
}

/**
 * Lets a data directory recover, and ends in order: one process instead of a server's six, and nothing is flushed.
 * Whoever makes a snapshot of it makes that durable with it.
 * @throws ExecError
 */
export const recover = (
  server: Omit<NewCluster, 'adminSecret'> & Parameters<typeof settings>[0],
  ctx: Ctx,
): Promise<void> => recoverWith(server, {}, ctx);

/** The same with some settings of its own. @throws ExecError */
export async function recoverWith(
  server: Omit<NewCluster, 'adminSecret'> & Parameters<typeof settings>[0],
  others: Readonly<Record<string, string>>,
  ctx: Ctx,
): Promise<void> {
  const { id, dataDir, bin, user, instance, processes } = server;
  const all = { ...recoverySettings(server), ...others };
  const options = Object.entries(all).flatMap(([key, value]) => ['-c', `${key}=${value}`]);
  // Without input it ends at once: by then it has recovered (postgres(1), "Options for Single-User Mode").
  const argv = [join(bin, 'postgres'), '--single', '-D', dataDir, ...options, 'template1'];
  const part = recoveryPart(id);
  const program = { argv, cwd: '/', env: labels(instance, part), ...runAs(user) };
  await processes.run(part, program, { signal: ctx.signal, deadlineMs: 600_000 });
}

/**
 * Ends what `initialise` or `recover` was running when its process died: when it failed, initdb would empty the directory of the next try.
 * @param before gets the pids of what is ended, while it still runs
 */
export async function killOrphans(
  processes: Processes,
  before: (pids: readonly number[]) => Promise<void>,
): Promise<void> {
  for (const part of [INITDBS, RECOVERIES].flatMap(processes.list)) {
    await before(await processes.members(part));
    await processes.kill(part);
  }
}

/**
 * Makes a copied data directory fit to be a server of its own: without the traces of the process that ran on
 * the original, without its replication slots, which would keep WAL for ever, and without its role as a standby.
 * @throws OffshootError postgres/tablespaces
 */
export async function adopt(dataDir: string): Promise<void> {
  const tablespaces = await readdir(join(dataDir, 'pg_tblspc'), { withFileTypes: true });
  if (tablespaces.some(entry => entry.isSymbolicLink()))
    throw new OffshootError('postgres/tablespaces', { dataDir });
  const there = await readdir(dataDir);
  const gone = ['postmaster.pid', 'postmaster.opts', 'standby.signal', 'recovery.signal'];
  for (const name of gone.filter(name => there.includes(name))) await unlink(join(dataDir, name));
  // What its parent has done is none of its own work.
  await rm(join(dataDir, 'pg_stat', 'pg_stat_statements.stat'), { force: true });
  for (const name of ['pg_replslot', 'pg_stat_tmp'])
    for (const entry of await readdir(join(dataDir, name)))
      await rm(join(dataDir, name, entry), { recursive: true, force: true });
}

// --- internal ------------------------------------------------------------------------------------

/** In what they print: what comes before the reason. Clean-up and hints follow it. */
const REASON = /^.*?(FATAL|PANIC|error):\s*/;
