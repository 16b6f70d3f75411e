/** A daemon of its own for a benchmark, in a temporary data directory that is gone at the end. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type CliResult, cliRunner } from '../scripts/demo/cli.ts';
import { readClientFile } from '../src/cli/context.ts';
import { type Client, createClient } from '../src/client/index.ts';

export const root = fileURLToPath(new URL('..', import.meta.url));

export type BenchHome = AsyncDisposable & {
  readonly home: string;
  /** Of the daemon that runs now; others after each start. */
  readonly client: Client;
  readonly pid: number;
  /** @throws Error when the exit code is not 0 */
  cli(
    args: readonly string[],
    options?: { readonly input?: string; readonly cwd?: string },
  ): Promise<CliResult>;
};

/**
 * @param up whether the daemon is to run already; otherwise the data directory is still empty
 * @param env more of its environment
 */
export async function benchHome({
  up = true,
  env = {},
}: {
  readonly up?: boolean;
  readonly env?: Readonly<Record<string, string>>;
} = {}): Promise<BenchHome> {
  const home = await mkdtemp(join(tmpdir(), 'offshoot-bench-'));
  const ports = { OFFSHOOT_API_PORT: '0', OFFSHOOT_HTTP_PORT: '0', OFFSHOOT_POSTGRES_PORT: '0' };
  const run = cliRunner(root, { ...process.env, ...ports, ...env, OFFSHOOT_HOME: home });
  const cli: BenchHome['cli'] = async (args, options) => {
    const result = await run(args, options);
    if (result.code !== 0) throw new Error(`offshoot ${args.join(' ')}: ${result.stderr}`);
    return result;
  };
  if (up) await cli(['up', '--detach']);
  return {
    home,
    cli,
    get pid() {
      return readClientFile(home)!.pid;
    },
    get client() {
      return createClient(readClientFile(home)!);
    },
    async [Symbol.asyncDispose]() {
      await cli(['down']);
      await rm(home, { recursive: true, force: true });
    },
  };
}
