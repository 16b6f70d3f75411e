import type { Command } from 'commander';
import type { Cli } from '../context.ts';
import { withExamples } from '../options.ts';
import { age, print, say, table, withOutput } from '../output.ts';

export function register(program: Command, cli: Cli): void {
  const key = withExamples(
    program.command('key').description('API keys, for previews and for the API'),
    'export SIGNADOT_API_KEY="$(offshoot key create laptop)"',
    'offshoot key revoke laptop',
  );

  withExamples(
    withOutput(key.command('create <name>')),
    'export SIGNADOT_API_KEY="$(offshoot key create laptop)"',
  )
    .description('make a key; it is shown this once')
    .action(async (name: string, { output }) => {
      const made = await cli.client().keys.create(name);
      say(cli, `key "${name}"; it is not stored and cannot be shown again`);
      await print(cli, output, made, k => k.key);
    });

  withExamples(withOutput(key.command('list').alias('ls')), 'offshoot key list')
    .description('all keys, without what makes them keys')
    .action(async ({ output }) => {
      const keys = await cli.client().keys.list();
      await print(cli, output, keys, list =>
        table(
          ['ID', 'NAME', 'KEY', 'AGE'],
          list.map(k => [k.id, k.name, k.preview, age(k.createdAt)]),
        ),
      );
    });

  withExamples(key.command('revoke <name>'), 'offshoot key revoke laptop')
    .description('make a key worthless; by name or id')
    .action(async (name: string) => {
      const gone = await cli.client().keys.revoke(name);
      say(cli, `key "${gone.name}" is revoked`);
    });
}
