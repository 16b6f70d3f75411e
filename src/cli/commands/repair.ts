import type { Command } from 'commander';
import type { RepairView } from '../../model/view.ts';
import type { Cli } from '../context.ts';
import { withExamples } from '../options.ts';
import { print, say, table, withOutput } from '../output.ts';

export function register(program: Command, cli: Cli): void {
  withExamples(withOutput(program.command('repair')), 'offshoot repair', 'offshoot repair --yes')
    .summary('bring back projects and branches that only their data remembers')
    .description(
      'bring back projects and branches whose volumes are there while nothing else knows of them, e.g. after state.db was lost. Shows what would be done; does it with --yes. Passwords are new.',
    )
    .option('-y, --yes', 'do it')
    .action(async ({ output, yes }) => {
      const client = cli.client();
      const rows = yes ? await client.repair.run() : await client.repair.plan();
      const able = rows.filter(row => row.problem === undefined).length;
      await print(cli, output, rows, list =>
        list.length === 0 ? 'every volume belongs to a branch' : draw(list),
      );
      if (able === 0) return;
      if (!yes) return say(cli, `${count(able)} would be brought back with new passwords; do it with --yes`);
      say(cli, `${count(able)} brought back. The passwords are new: "offshoot branch url NAME" tells them`);
    });
}

// --- internal -----------------------------------------------------------------------------------

const draw = (rows: readonly RepairView[]): string =>
  table(
    ['PROJECT', 'BRANCH', 'ID', 'PARENT', ''],
    rows.map(({ project, branch, id, parent, problem, note }) => [
      project ?? '-',
      branch ?? '-',
      id,
      parent ?? '-',
      problem === undefined ? (note ?? '') : `stays as it is: ${problem}`,
    ]),
  );

const count = (n: number): string => (n === 1 ? '1 branch' : `${n} branches`);
