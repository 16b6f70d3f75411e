import type { Command } from 'commander';
import type { Cli } from '../context.ts';

import { print, say, UsageError, withOutput } from '../output.ts';
import { chooseProject } from '../target.ts';

/** @param define makes a command of branches with its examples */
export function registerPort(
  define: (usage: string, ...examples: readonly string[]) => Command,
  cli: Cli,
): void {
  withOutput(
    define('port <branch> <port>', 'offshoot branch port fix-42 5442', 'offshoot branch port fix-42 none'),
  )
    .description(
      'a port at which there is this branch alone, for clients that only know a host, a port and a role; none: it has none',
    )
    .action(async (name: string, text: string, { output, project: flag }) => {
      const project = await chooseProject(cli, flag);
      const port = text === 'none' ? null : Number(text);
      if (port !== null && !/^\d{1,5}$/.test(text))
        throw new UsageError(`"${text}" is neither a port nor none`);
      const found = await cli.client().branches.port(project, name, port);
      say(
        cli,
        port === null
          ? `branch ${found.name} has no port of its own`
          : `branch ${found.name} is at port ${port}: "offshoot branch url ${found.name} --own-port"`,
      );
      await print(cli, output, found, () => '');
    });
}
