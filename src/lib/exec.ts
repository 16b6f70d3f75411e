/** Runs one short program to its end: an argument vector, never a shell string; bounded in time and output. */
import { spawn } from 'node:child_process';
import type { Readable } from 'node:stream';
import { findProgram } from './find-program.ts';
import type { Child, Starter } from './posix-spawn.ts';

export type ExecOptions = {
  readonly cwd?: string;
  readonly env?: NodeJS.ProcessEnv;
  readonly uid?: number;
  readonly gid?: number;
  readonly input?: string;
  /** Milliseconds until SIGKILL, default 30 000. */
  readonly deadlineMs?: number;
  readonly signal?: AbortSignal;
  /** Bytes kept of each stream (the last ones), default 64 KiB. */
  readonly maxOutput?: number;
};

export type ExecResult = { readonly stdout: string; readonly stderr: string };

/** Why a program did not end well. The command is kept as a vector so that it can be shown and pasted. */
export class ExecError extends Error {
  readonly argv: readonly string[];
  readonly exitCode: number | null;
  readonly signalName: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
  /** ENOENT and its like when the program could not be started at all. */
  readonly errno: string | undefined;
  readonly timedOut: boolean;

  constructor(fields: {
    argv: readonly string[];
    exitCode?: number | null;
    signalName?: NodeJS.Signals | null;
    stdout?: string;
    stderr?: string;
    errno?: string | undefined;
    timedOut?: boolean;
    cause?: unknown;
  }) {
    const why = fields.timedOut
      ? 'took too long and was killed'
      : (fields.errno ??
        (fields.signalName ? `killed by ${fields.signalName}` : `exit code ${fields.exitCode}`));
    super(
      `${fields.argv.join(' ')}: ${why}`,
      fields.cause === undefined ? undefined : { cause: fields.cause },
    );
    this.name = 'ExecError';
    this.argv = fields.argv;
    this.exitCode = fields.exitCode ?? null;
    this.signalName = fields.signalName ?? null;
    this.stdout = fields.stdout ?? '';
    this.stderr = fields.stderr ?? '';
    this.errno = fields.errno;
    this.timedOut = fields.timedOut ?? false;
  }
}

let starter: { readonly by: Starter; readonly env: NodeJS.ProcessEnv } | undefined;

/**
 * From now on programs are started by it, where they can be: for processes that are large, or must not be held (lib/posix-spawn.ts).
 * @param env of this process
 */
export function startProgramsBy(by: Starter | undefined, env: NodeJS.ProcessEnv): void {
  starter = by && { by, env };
}

/**
 * Runs `file` with `args` and returns what it printed.
 * @throws ExecError on any exit code but 0, a signal, the deadline, or a program that cannot be started.
 */
export async function exec(
  file: string,
  args: readonly string[],
  options: ExecOptions = {},
): Promise<ExecResult> {
  const { deadlineMs, maxOutput, signal, input, ...spawnOptions } = options;
  signal?.throwIfAborted();
  const child =
    (await startAside(file, args, spawnOptions)) ??
    spawn(file, args, { ...spawnOptions, stdio: ['pipe', 'pipe', 'pipe'] });
  const result = resultOf(child, [file, ...args], options);
  child.stdin?.on('error', () => {}); // the program may end without reading its input
  child.stdin?.end(input ?? '');
  return await result;
}

/**
 * What a program prints that was just started with pipes for its output, when it has ended.
 * @param kill how it is ended when the deadline passes or the signal aborts; default: it alone, by SIGKILL
 * @throws ExecError as `exec`
 */
export function resultOf(
  child: Child,
  argv: readonly string[],
  options: Pick<ExecOptions, 'deadlineMs' | 'maxOutput' | 'signal'>,
  kill = (): void => void child.kill('SIGKILL'),
): Promise<ExecResult> {
  const { deadlineMs = 30_000, maxOutput = 64 * 1024, signal } = options;
  return new Promise((resolve, reject) => {
    child.on('error', cause => {
      reject(new ExecError({ argv, errno: (cause as NodeJS.ErrnoException).code, cause }));
    });
    if (child.pid === undefined) return; // not started; there may not even be streams (EMFILE)
    const { stdout, stderr } = child as Child & { stdout: Readable; stderr: Readable };
    const end = () => {
      kill();
      // Children of its own may hold these open; we do not wait for them.
      stdout.destroy();
      stderr.destroy();
    };
    let timedOut = false;
    const timer = setTimeout(() => {
      timedOut = true;
      end();
    }, deadlineMs);
    signal?.addEventListener('abort', end, { once: true });
    if (signal?.aborted) end(); // while it was started
    const out = keepLast(stdout, maxOutput);
    const err = keepLast(stderr, maxOutput);
    child.on('close', (exitCode: number | null, signalName: NodeJS.Signals | null) => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', end);
      if (signal?.aborted) return reject(signal.reason);
      if (exitCode === 0 && !timedOut) return resolve({ stdout: out(), stderr: err() });
      reject(new ExecError({ argv, exitCode, signalName, stdout: out(), stderr: err(), timedOut }));
    });
  });
}

// --- internal ------------------------------------------------------------------------------------

/** @returns undefined where Node has to start it, who also says why it cannot be */
async function startAside(
  file: string,
  args: readonly string[],
  { cwd = process.cwd(), uid, gid, ...o }: Pick<ExecOptions, 'cwd' | 'env' | 'uid' | 'gid'>,
): Promise<Child | undefined> {
  if (starter === undefined || uid !== undefined || gid !== undefined) return undefined;
  const variables = Object.entries(o.env ?? starter.env);
  const env = Object.fromEntries(variables.filter((one): one is [string, string] => one[1] !== undefined));
  const program = await findProgram(file, env.PATH ?? '', cwd);
  if (program === undefined) return undefined;
  const stdio = ['pipe', 'pipe', 'pipe'] as const;
  return await starter?.by.aside(program, args, { cwd, env, stdio }).catch(() => undefined);
}

function keepLast(stream: NodeJS.ReadableStream, max: number): () => string {
  let chunks: Buffer[] = [];
  let size = 0;
  stream.on('error', () => {});
  stream.on('data', (chunk: Buffer) => {
    chunks.push(chunk);
    size += chunk.length;
    if (size > 2 * max) {
      const all = Buffer.concat(chunks).subarray(-max);
      chunks = [all];
      size = all.length;
    }
  });
  return () => Buffer.concat(chunks).subarray(-max).toString('utf8');
}
