import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import { identify } from '../../lib/process.ts';
import { DeadlineError, until } from '../../lib/wait.ts';
import { OffshootError } from '../../model/errors.ts';
import { type Cli, localDaemon } from '../context.ts';
import { withExamples } from '../options.ts';
import { say, took } from '../output.ts';

const stopDeadlineMs = 60_000;

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

// --- internal -----------------------------------------------------------------------------------

async function untilGone(cli: Cli, pid: number, log: string): Promise<void> {
  const what = `daemon ${pid} to end`;
  try {
    await until(() => (identify(pid) === undefined ? true : undefined), {
      what,
      deadlineMs: stopDeadlineMs,
      intervalMs: 10,
      signal: cli.signal,
    });
  } catch (error) {
    if (!(error instanceof DeadlineError)) throw error;
    throw new OffshootError('api/timeout', { after: took(stopDeadlineMs), what, hint: `see ${log}` });
  }
}
