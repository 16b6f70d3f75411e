import { existsSync } from 'node:fs';
import type { Command } from 'commander';
import { identify } from '../../lib/process.ts';
import { until } from '../../lib/wait.ts';
import { OffshootError } from '../../model/errors.ts';
import { type Cli, readClientFile } from '../context.ts';
import { say } from '../output.ts';

export function register(program: Command, cli: Cli): void {
  program
    .command('down')
    .description('stop the daemon and everything it runs; data stays, "offshoot up" brings it back')
    .addHelpText('after', '\nAlso cleans up after a daemon that was killed.\n\nExamples:\n  $ offshoot down')
    .action(async () => {
      const config = cli.config();
      const file = readClientFile(config.home);
      if (file !== undefined && identify(file.pid) !== undefined && (await askToStop(cli))) {
        await until(() => (identify(file.pid) === undefined ? true : undefined), {
          what: `daemon ${file.pid} ends`,
          deadlineMs: 60_000,
          intervalMs: 10,
          signal: cli.signal,
        });
        return say(cli, 'offshoot is down');
      }
      if (!existsSync(config.home)) return say(cli, `nothing runs: ${config.home} does not exist`);
      const { cleanUp } = await import('../../daemon.ts');
      await cleanUp(config, cli.env);
      say(cli, 'no daemon was running; what an earlier one left running is stopped');
    });
}

/** @returns false when nobody answers there */
async function askToStop(cli: Cli): Promise<boolean> {
  try {
    await cli.client().shutdown();
    return true;
  } catch (error) {
    if (error instanceof OffshootError && error.code === 'api/unreachable') return false;
    throw error;
  }
}
