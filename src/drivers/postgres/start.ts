/** Starts one server so that it outlives us, and waits until it accepts connections. */
import { closeSync, existsSync, openSync, statSync, watch } from 'node:fs';
import { chmod, chown, mkdir, open } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { isAlive } from '../../lib/process.ts';
import { delay } from '../../lib/wait.ts';
import { OffshootError } from '../../model/errors.ts';
import { type ServerSettings, settingsKey } from '../../model/server-settings.ts';
import type { Ctx } from '../contract.ts';
import { labels } from '../labels.ts';
import type { HeldPart, Processes, Running } from '../processes/contract.ts';
import { readLockFile } from './lock-file.ts';
import { serverPart } from './parts.ts';
import { settings } from './settings.ts';
import { runAs, type ServerUser } from './user.ts';

export type Launch = {
  readonly id: string;
  /** Of the branch; undefined: see late-name.ts. */
  readonly name: string | undefined;
  readonly instance: string;
  readonly processes: Processes;
  /** Directory of `postgres`. */
  readonly bin: string;
  readonly major: number;
  readonly user: ServerUser;
  readonly socketDir: string;
  readonly hbaFile: string;
  /** See extensions.ts. */
  readonly extensionControlPath?: string | undefined;
  readonly countsStatements: boolean;
  /** See settings.ts. */
  readonly keptWalBytes?: number | undefined;
  readonly chosen?: ServerSettings | undefined;
  readonly logFile: string;
};

/** A server that has all it needs but its data directory, which is its last argument. */
export type HeldServer = {
  readonly part: HeldPart;
  /** Directory of its program, and its version. */
  readonly bin: string;
  readonly major: number;
  readonly name: string | undefined;
  /** See `settingsKey`. */
  readonly settings: string;
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
  const logStart = sizeOf(logFile);
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
    return {
      part,
      bin: server.bin,
      major: server.major,
      name,
      settings: settingsKey(server.chosen),
      logStart,
    };
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
  { leader, ended }: Pick<Running, 'leader' | 'ended'>,
  ctx: Ctx,
): Promise<void> {
  const logStart = server.logStart ?? sizeOf(server.logFile);
  const isReady = async (): Promise<boolean> => {
    const lock = await readLockFile(join(server.dataDir, LOCK_FILE));
    return lock?.pid === leader.pid && lock.ready;
  };
  using changes = watchFile(server.dataDir, LOCK_FILE, isReady);
  let [size, since] = [logStart, performance.now()];
  for (;;) {
    const change = changes.next();
    if (await isReady()) return;
    if (!isAlive(leader)) throw await startFailed(server, 'it ended', logStart);
    const now = sizeOf(server.logFile);
    if (now !== size) [size, since] = [now, performance.now()];
    if (performance.now() - since > SILENCE_MS)
      throw await startFailed(server, `nothing happened for ${SILENCE_MS / 1000} s`, logStart);
    await delay(changes.told ? QUIET_MS : POLL_MS, ctx.signal, Promise.race([change, ended]));
  }
}

// --- internal ------------------------------------------------------------------------------------

const SILENCE_MS = 60_000;
/** Between two looks at a start that tells of itself, and at one that does not. */
const QUIET_MS = 500;
const POLL_MS = 25;

/** Where the postmaster says how far it is. */
const LOCK_FILE = 'postmaster.pid';

/**
 * Tells of changes of a file that need not be there yet: 20 servers that start together would otherwise be asked for
 * more work than they do themselves.
 * @param matters whether a change does: a server writes a dozen until it is ready
 */
function watchFile(
  directory: string,
  name: string,
  matters: () => Promise<boolean>,
): Disposable & { next(): Promise<void>; readonly told: boolean } {
  let change = Promise.withResolvers<void>();
  const changed = () => {
    change.resolve();
    change = Promise.withResolvers();
  };
  let looking = false;
  let again = false;
  const look = async (): Promise<void> => {
    again = true;
    if (looking) return;
    looking = true;
    while (again) {
      again = false;
      // Who looks then finds out why one cannot.
      if (await matters().catch(() => true)) changed();
    }
    looking = false;
  };
  let told = true;
  const untold = () => {
    told = false; // the machine has no watch left, or its file system has none
    changed();
  };
  try {
    const watcher = watch(directory, { persistent: false }, (_, file) => {
      if (file === null || file === name) void look();
    });
    watcher.on('error', untold);
    return {
      next: () => change.promise,
      get told() {
        return told;
      },
      [Symbol.dispose]: () => watcher.close(),
    };
  } catch {
    return { next: () => change.promise, told: false, [Symbol.dispose]() {} };
  }
}

/** Of a line of PostgreSQL's log, up to where its message begins. */
const SEVERE = /^.*?(FATAL|PANIC):\s*/;

const sizeOf = (path: string): number => statSync(path, { throwIfNoEntry: false })?.size ?? 0;

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
