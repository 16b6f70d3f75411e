import type { Command } from 'commander';
import { bytesText } from '../../model/bytes.ts';
import type { PoolSeen } from '../../pool.ts';
import type { Cli } from '../context.ts';
import { sizeArgument, sizeOption, withExamples } from '../options.ts';
import { ExitCode, print, say, UsageError, withOutput } from '../output.ts';

export function register(program: Command, cli: Cli): void {
  const pool = withExamples(
    program
      .command('pool')
      .summary('the image that holds the volumes of this machine')
      .description(
        'the image that holds the volumes of this machine, where its own file system makes no snapshots. Without a command: what it is. Root makes it as it is needed; for an ordinary user root makes one by "init", once.',
      ),
    'offshoot pool',
    'offshoot pool resize 200G',
    'offshoot pool check',
    'offshoot pool move /mnt/big',
    'sudo offshoot pool init --user',
  );

  withExamples(
    pool.command('init'),
    'sudo offshoot pool init --user',
    'sudo offshoot pool init --user --size 40G',
    'sudo offshoot pool init --user ada',
  )
    .summary('give an ordinary user snapshots, once')
    .description(
      "give an ordinary user snapshots, once: makes an image of btrfs that is mounted at each start of the machine, and in which all is the user's. It takes its room of the disk at once. Again, with a larger size: it grows.",
    )
    .option('--user [name]', 'for this user; default: who calls sudo')
    .addOption(sizeOption('--size <size>', 'of the image (a quarter of what is free, 32G at most)'))
    .action(async ({ user, size }: { readonly user?: string | true; readonly size?: number }) => {
      if (user === undefined) throw new UsageError('root needs none; for an ordinary user say --user');
      const { initUserPool } = await import('../../pool.ts');
      const { SUDO_UID: uid, SUDO_GID: gid } = cli.env;
      const caller = uid && gid ? { uid: Number(uid), gid: Number(gid) } : undefined;
      const { root, image, owner } = await initUserPool(user === true ? caller : user, size);
      say(cli, `the pool of uid ${owner.uid} is ${image}, mounted at ${root}`);
      say(cli, 'new data directories of that user are made in it, by "offshoot up"');
    });

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
