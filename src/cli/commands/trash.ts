import type { Command } from 'commander';
import { bytesText } from '../../model/bytes.ts';
import type { TrashView } from '../../model/view.ts';
import { confirm } from '../confirm.ts';
import type { Cli } from '../context.ts';
import { timeoutOption, withExamples } from '../options.ts';
import { age, left, print, say, table, withOutput } from '../output.ts';
import { waitForBranch } from './branch.ts';

export function register(program: Command, cli: Cli): void {
  const trash = withExamples(
    program.command('trash').description('deleted projects and branches that can be had back'),
    'offshoot trash list',
    'offshoot trash restore fix-42',
    'offshoot trash empty --yes',
  );

  withExamples(withOutput(trash.command('list').alias('ls')), 'offshoot trash list')
    .description('what can be restored, oldest first')
    .action(async ({ output }) => {
      const entries = await cli.client().trash.list();
      await print(cli, output, entries, list =>
        table(
          ['NAME', 'KIND', 'PROJECT', 'ID', 'SIZE', 'DELETED', 'GOES IN'],
          list.map(e => [
            e.name,
            e.kind,
            e.project ?? '-',
            e.id,
            e.bytes === undefined ? '-' : bytesText(e.bytes),
            age(e.at),
            left(e.until),
          ]),
        ),
      );
    });

  withExamples(
    withOutput(trash.command('restore <entry>')),
    'offshoot trash restore fix-42',
    'offshoot trash restore fix-42 --as fix-42-again',
  )
    .description('bring a project or a branch back, by its name or id; ready when this returns')
    .option('--as <name>', 'under another name, when the old one is taken')
    .addOption(timeoutOption('2m'))
    .action(async (entry: string, { output, as, waitTimeout }) => {
      const back = await cli.client().trash.restore(entry, as === undefined ? {} : { as });
      const [project, branch] = back.kind === 'project' ? [back.name, 'main'] : [back.project!, back.object];
      await waitForBranch(cli, project, branch, waitTimeout);
      say(cli, `${back.kind} ${back.name} is back`);
      await print(cli, output, back, () => '');
    });

  withExamples(
    trash.command('empty [entries...]'),
    'offshoot trash empty',
    'offshoot trash empty fix-42 --yes',
  )
    .description('remove for good what the trash holds, or some of it, by names or ids')
    .option('-y, --yes', 'do not ask')
    .action(async (entries: readonly string[], { yes }) => {
      const client = cli.client();
      if (entries.length > 0) {
        await confirm(cli, entries.join(', '), 'It is removed for good.', yes);
        for (const entry of entries) {
          const { kind, name } = await client.trash.empty(entry);
          say(cli, `${kind} ${name} is removed`);
        }
        return;
      }
      const held = await client.trash.list();
      if (held.length === 0) return say(cli, 'the trash is empty');
      await confirm(cli, 'all that the trash holds', `It holds ${held.map(wordsFor).join(', ')}.`, yes);
      await client.trash.emptyAll();
      say(cli, `${held.length} removed from the trash`);
    });
}

/** A sentence for people. */
export const inTheTrash = (
  what: string,
  { id, until }: { readonly id: string; readonly until: string },
): string => `${what} is in the trash for ${left(until)}; "offshoot trash restore ${id}" brings it back`;

// --- internal -----------------------------------------------------------------------------------

const wordsFor = ({ kind, name }: TrashView): string => `${kind} ${name}`;
