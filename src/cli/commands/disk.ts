import type { Command } from 'commander';
import { bytesText } from '../../model/bytes.ts';
import { confirm } from '../confirm.ts';
import type { Cli } from '../context.ts';
import { withExamples } from '../options.ts';
import { print, say, table, withOutput } from '../output.ts';

export function register(program: Command, cli: Cli): void {
  const disk = withExamples(
    program.command('disk').description('disks of the baseline, which outlive what uses them'),
    'offshoot disk list',
    'offshoot disk delete data-db-0 -n demo',
  );

  withExamples(withOutput(disk.command('list').alias('ls')), 'offshoot disk list')
    .description('all of them, by claim; those of forks go with their sandboxes')
    .action(async ({ output }) => {
      const disks = await cli.client().disks.list({ sizes: true });
      await print(cli, output, disks, list =>
        table(
          ['NAMESPACE', 'CLAIM', 'SIZE', 'USED BY'],
          list.map(d => [
            d.namespace,
            d.claim,
            d.bytes === undefined ? '-' : bytesText(d.bytes),
            d.users.join(', ') || '-',
          ]),
        ),
      );
    });

  withExamples(
    disk.command('delete <claim>').alias('rm'),
    'offshoot disk delete data-db-0 -n demo',
    'offshoot disk delete uploads -n demo --yes',
  )
    .description('remove a disk that nothing uses any more, with all that is on it')
    .option('-n, --namespace <namespace>', 'of the claim', 'default')
    .option('-y, --yes', 'do not ask')
    .action(async (claim: string, { namespace, yes }) => {
      await confirm(cli, `disk ${namespace}/${claim}`, 'What is on it is lost for good.', yes);
      await cli.client().disks.delete(namespace, claim);
      say(cli, `disk ${namespace}/${claim} is gone`);
    });
}
