/**
 * Entry of a sidecar in its image: the command `offshoot sidecar` without the rest of the command line, since there is one
 * beside each pod of the baseline.
 */
import { Command } from 'commander';
import { version } from '../lib/checkout.ts';
import { nameSourceLines } from '../lib/source-lines.ts';
import { OffshootError } from '../model/errors.ts';
import { register } from './commands/sidecar.ts';
import type { Cli } from './context.ts';
import { UsageError } from './output.ts';

nameSourceLines();
const abort = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
  process.once(signal, () => abort.abort(new Error(signal)));
const cli: Pick<Cli, 'env' | 'signal'> = { env: process.env, signal: abort.signal };
const program = new Command('offshoot').version(version);
register(program, cli);
void program.parseAsync().then(
  () => process.exit(),
  error => {
    const known = error instanceof OffshootError || error instanceof UsageError;
    process.stderr.write(`error: ${known ? error.message : (error.stack ?? error)}\n`);
    process.exit(error instanceof OffshootError ? error.row.exit : known ? 2 : 1);
  },
);
