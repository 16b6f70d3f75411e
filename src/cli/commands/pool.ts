import type { Command } from 'commander';
import { bytesText } from '../../model/bytes.ts';
import type { PoolSeen } from '../../pool.ts';
import type { Cli } from '../context.ts';
import { sizeArgument, withExamples } from '../options.ts';
import { ExitCode, print, say, withOutput } from '../output.ts';

export function register(program: Command, cli: Cli): void {
  const pool = withExamples(
    program
      .command('pool')
      .summary('the image that holds the volumes of this machine')
      .description(
        'the image that holds the volumes of this machine, where its own file system makes no snapshots. Without a command: what it is.',
      ),
    'offshoot pool',
    'offshoot pool resize 200G',
    'offshoot pool check',
    'offshoot pool move /mnt/big',
  );

  withExamples(
    withOutput(pool.command('get', { isDefault: true })),
    'offshoot pool',
    'offshoot pool get -o json',
  )
    .description('where it is, what it may hold, holds, and takes of its disk')
    .action(async ({ output }) => {
      const { seePool } = await import('../../pool.ts');
      await print(cli, output, await seePool(cli.config()), draw);
    });

  withExamples(pool.command('resize').addArgument(sizeArgument('<size>')), 'offshoot pool resize 200G')
    .summary('let it hold more, or less than it could')
    .description(
      'let it hold more, or less than it could; never less than is in it. Needs "offshoot down" before. It takes room of its disk only for what is in it.',
    )
    .action(async (bytes: number) => {
      const { resizePool } = await import('../../pool.ts');
      await resizePool(cli.config(), bytes);
      say(cli, `the pool may hold ${bytesText(bytes)}`);
    });

  withExamples(withOutput(pool.command('check')), 'offshoot pool check')
    .summary('read all that is in it, and compare it with its checksums')
    .description(
      'read all that is in it, and compare it with its checksums; nothing is changed. After "offshoot down" also what its file system keeps for itself. Exit code 1 when something is wrong.',
    )
    .action(async ({ output }) => {
      const { checkPool } = await import('../../pool.ts');
      const found = await checkPool(cli.config(), cli.signal);
      await print(cli, output, found, ({ bytesRead, problems }) =>
        problems.length === 0 ? `all is well: ${bytesText(bytesRead)} were read` : problems.join('\n'),
      );
      if (found.problems.length > 0) throw new ExitCode(1);
    });

  withExamples(pool.command('move <directory>'), 'offshoot pool move /mnt/big')
    .summary('put it on another disk')
    .description(
      'put it on another disk, with a link where it was. Needs "offshoot down" before. The old one goes when the new one is complete.',
    )
    .action(async (directory: string) => {
      const { movePool } = await import('../../pool.ts');
      try {
        say(cli, `the pool is ${await movePool(cli.config(), directory, cli.signal)}`);
      } catch (error) {
        if (!cli.signal.aborted) throw error;
        say(cli, 'interrupted; the pool is as it was');
        throw new ExitCode(130);
      }
    });
}

// --- internal ------------------------------------------------------------------------------------

const draw = ({ image, bytes, usedBytes, hostBytes, hostFreeBytes, mountedAt }: PoolSeen): string =>
  [
    `image    ${image}, ${mountedAt === null ? 'not in use' : `mounted at ${mountedAt}`}`,
    `size     ${bytesText(bytes)}${usedBytes === undefined ? '' : `, ${bytesText(usedBytes)} of it used`}`,
    `on disk  ${bytesText(hostBytes)}, ${bytesText(hostFreeBytes)} are free there`,
  ].join('\n');
