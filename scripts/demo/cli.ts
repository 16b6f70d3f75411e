/** Runs the command line as a user would: as a process. */
import { spawn } from 'node:child_process';
import { join } from 'node:path';

export type CliResult = {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
  readonly ms: number;
};

export type RunCli = (
  args: readonly string[],
  options?: { readonly input?: string; readonly cwd?: string },
) => Promise<CliResult>;

/** @param root of the checkout */
export function cliRunner(root: string, env: NodeJS.ProcessEnv, defaultCwd: string = root): RunCli {
  return (args, { input, cwd = defaultCwd } = {}) =>
    new Promise((resolve, reject) => {
      const started = performance.now();
      const child = spawn(join(root, 'offshoot'), args, {
        env,
        cwd,
        stdio: ['pipe', 'pipe', 'pipe'],
      });
      const out: Buffer[] = [];
      const err: Buffer[] = [];
      child.stdout.on('error', reject).on('data', (chunk: Buffer) => out.push(chunk));
      child.stderr.on('error', reject).on('data', (chunk: Buffer) => err.push(chunk));
      child.stdin.on('error', () => {}); // it may end without reading its input
      child.stdin.end(input ?? '');
      child.on('error', reject);
      child.on('close', code =>
        resolve({
          code: code ?? 1,
          stdout: Buffer.concat(out).toString('utf8'),
          stderr: Buffer.concat(err).toString('utf8'),
          ms: performance.now() - started,
        }),
      );
    });
}
