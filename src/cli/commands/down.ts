import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import { type Cli, localDaemon } from '../context.ts';
import { withExamples } from '../options.ts';
import { say } from '../output.ts';
import { untilGone } from '../until-gone.ts';

export function register(program: Command, cli: Cli): void {
  withExamples(program.command('down'), 'offshoot down')
    .summary('stop the daemon and everything it runs; data stays')
    .description(
      'stop the daemon and everything it runs, also what a daemon that was killed left running. Data stays: "offshoot up" brings it back.',
    )
    .action(async () => {
      const running = await localDaemon(cli);
      if (running !== undefined) {
        await running.client.shutdown();
        await untilGone(cli, running.status.pid, running.status.log);
        return say(cli, 'offshoot is down');
      }
      const config = cli.config();
      if (!existsSync(join(config.home, 'lock')))
        return say(cli, `nothing runs: ${config.home} holds no data of offshoot`);
      const { cleanUp } = await import('../../daemon.ts');
      await cleanUp(config, cli.env);
      say(cli, 'no daemon was running; what an earlier one left running is stopped');
    });
}
