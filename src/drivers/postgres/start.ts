/** Starts one server so that it outlives us, and waits until it accepts connections. */
import { closeSync, existsSync, openSync } from 'node:fs';
import { chmod, chown, mkdir, open, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { isAlive, type ProcessId } from '../../lib/process.ts';
import { delay } from '../../lib/wait.ts';
import { OffshootError } from '../../model/errors.ts';
import type { Ctx } from '../contract.ts';
import { labels } from '../labels.ts';
import type { HeldPart, Processes } from '../processes/contract.ts';
import { readLockFile } from './lock-file.ts';
import { serverPart } from './parts.ts';
import { settings } from './settings.ts';
import { runAs, type ServerUser } from './user.ts';

export type Launch = {
  readonly id: string;
  /** Of the branch. */
  readonly name: string;
  readonly instance: string;
  readonly processes: Processes;
  /** Directory of `postgres`. */
  readonly bin: string;
  readonly user: ServerUser;
  readonly socketDir: string;
  readonly hbaFile: string;
  /** See extensions.ts. */
  readonly extensionControlPath: string;
  readonly logFile: string;
};

/** A server that has all it needs but its data directory, which is its last argument. */
export type HeldServer = {
  readonly part: HeldPart;
  readonly name: string;
  /** Size of the log before this start, in bytes. */
  readonly logStart: number;
};

/** Makes its folders and its process. @throws OffshootError postgres/start-failed when the program cannot be run */
export async function holdServer(server: Launch): Promise<HeldServer> {
  const { id, name, instance, processes, user, socketDir, logFile } = server;
  await mkdir(socketDir, { recursive: true });
  await chmod(socketDir, 0o700);
  await chown(socketDir, user.uid, user.gid);
  await mkdir(dirname(logFile), { recursive: true });
  const logStart = await sizeOf(logFile);
  const log = openSync(logFile, 'a', 0o600);
  try {
    const options = Object.entries(settings(server)).flatMap(([key, value]) => ['-c', `${key}=${value}`]);
    const part = await processes.hold(serverPart(id), {
      argv: [join(server.bin, 'postgres'), ...options, '-D'],
      cwd: '/',
      env: labels(instance, serverPart(id)),
      stdout: log,
      stderr: log,
      ...runAs(user),
    });
    return { part, name, logStart };
  } catch (cause) {
    const why = (cause as Error).message;
    throw new OffshootError('postgres/start-failed', { id, why, logFile }, { cause });
  } finally {
    closeSync(log);
  }
}

/**
 * Resolves when the server on `dataDir` accepts connections. Recovery may take as long as it needs, but
 * every 10 s it logs how far it is (log_startup_progress_interval): silence for a minute is a failure.
 * @throws OffshootError postgres/start-failed
 */
export async function untilReady(
  server: {
    readonly id: string;
    readonly dataDir: string;
    readonly logFile: string;
    /** Where in the log this start begins; default: at its present end. */
    readonly logStart?: number;
  },
  running: ProcessId,
  ctx: Ctx,
): Promise<void> {
  const logStart = server.logStart ?? (await sizeOf(server.logFile));
  let [size, since] = [logStart, performance.now()];
  for (;;) {
    const lock = await readLockFile(join(server.dataDir, 'postmaster.pid'));
    if (lock?.pid === running.pid && lock.ready) return;
    if (!isAlive(running)) throw await startFailed(server, 'it ended', logStart);
    const now = await sizeOf(server.logFile);
    if (now !== size) [size, since] = [now, performance.now()];
    if (performance.now() - since > SILENCE_MS)
      throw await startFailed(server, `nothing happened for ${SILENCE_MS / 1000} s`, logStart);
    await delay(2, ctx.signal);
  }
}

// --- internal ------------------------------------------------------------------------------------

const SILENCE_MS = 60_000;
/** Of a line of PostgreSQL's log, up to where its message begins. */
const SEVERE = /^.*?(FATAL|PANIC):\s*/;

const sizeOf = (path: string): Promise<number> =>
  stat(path).then(
    s => s.size,
    () => 0,
  );

/** The error, with the reason that the server itself gives in its log. */
async function startFailed(
  { id, logFile }: { readonly id: string; readonly logFile: string },
  what: string,
  logStart: number,
): Promise<OffshootError> {
  const lines = await lastLines(logFile, logStart);
  const reason = lines.findLast(line => SEVERE.test(line)) ?? lines.at(-1) ?? '';
  const why = reason === '' ? what : `${what}: ${reason.replace(SEVERE, '')}`;
  return new OffshootError('postgres/start-failed', { id, why, logFile }, { output: lines.join('\n') });
}

/** At most the last 20 lines of the file from byte `from` on. */
async function lastLines(path: string, from: number): Promise<string[]> {
  if (!existsSync(path)) return []; // swept away
  await using file = await open(path, 'r');
  const { size } = await file.stat();
  const start = Math.min(size, Math.max(from, size - 16 * 1024));
  const { buffer, bytesRead } = await file.read(Buffer.alloc(size - start), 0, size - start, start);
  return buffer.toString('utf8', 0, bytesRead).trimEnd().split('\n').slice(-20);
}
