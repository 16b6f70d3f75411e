import type { Command } from 'commander';
import type { Cli } from '../context.ts';
import { writeLink } from '../link.ts';
import { withExamples } from '../options.ts';
import { print, say, withOutput } from '../output.ts';
import { waitForBranch } from './branch.ts';

export function register(program: Command, cli: Cli): void {
  withExamples(withOutput(program.command('init')), 'offshoot init', 'offshoot init shop --database shop')
    .description('link this folder to a project, which is made when there is none of that name')
    .argument('[project]', 'its name', 'default')
    .option('--database <name>', 'database of a new project', 'app')
    .option('--role <name>', 'role that owns it', 'app')
    .action(async (name: string, { output, database, role }) => {
      const { projects } = cli.client();
      const known = (await projects.list()).some(p => p.name === name);
      if (!known) await projects.create({ name, database, role });
      await waitForBranch(cli, name, 'main', 60_000);
      const file = writeLink(cli.cwd, { project: name, branch: 'main' });
      say(
        cli,
        `${known ? 'found' : 'made'} project ${name}; this folder now works with its branch main (${file})`,
      );
      await print(cli, output, { project: name, branch: 'main', created: !known }, () => '');
    });
}
