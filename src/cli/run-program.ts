/** A program that takes our place: our streams are its own, signals reach it, and its end is ours. */
import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import type { Cli } from './context.ts';

/**
 * @param apart what it writes to standard output goes to standard error
 * @returns its exit code; 128 and the signal's number when one has killed it
 * @throws why it could not be started (errno in `code`), or the signal's reason when that had aborted before
 */
export async function runProgram(
  { stdin, signal }: Pick<Cli, 'stdin' | 'signal'>,
  file: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv,
  { cwd, apart = false }: { readonly cwd?: string; readonly apart?: boolean } = {},
): Promise<number> {
  const isTerminal = stdin.isTTY === true;
  signal.throwIfAborted();
  const child = spawn(file, args, {
    ...{ stdio: ['inherit', apart ? 2 : 'inherit', 'inherit'], env, ...(cwd !== undefined && { cwd }) },
    // Where there is no terminal, signals that come to us are handed on to all of it. At one, Ctrl-C reaches all by itself.
    detached: !isTerminal,
  });
  const pass = (name: NodeJS.Signals) => {
    try {
      if (child.pid !== undefined && (!isTerminal || name !== 'SIGINT'))
        process.kill(isTerminal ? child.pid : -child.pid, name);
    } catch {
      // it has just ended
    }
  };
  const names = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
  for (const name of names) process.on(name, pass);
  try {
    return await new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('exit', (code, by) => resolve(code ?? 128 + (by === null ? 0 : constants.signals[by])));
    });
  } finally {
    for (const name of names) process.off(name, pass);
  }
}
