import type { Command } from 'commander';
import type { Cli } from '../context.ts';
import { age, print, say, table, withOutput } from '../output.ts';

export function register(program: Command, cli: Cli): void {
  const key = program
    .command('key')
    .description('API keys, for previews and for the API')
    .addHelpText(
      'after',
      '\nExamples:\n  $ export SIGNADOT_API_KEY="$(offshoot key create laptop)"\n  $ offshoot key revoke laptop',
    );

  withOutput(key.command('create <name>'))
    .description('make a key; it is shown this once')
    .action(async (name: string, { output }) => {
      const made = await cli.client().keys.create(name);
      say(cli, `key "${name}"; it is not stored and cannot be shown again`);
      await print(cli, output, made, k => k.key);
    });

  withOutput(key.command('list').alias('ls')).action(async ({ output }) => {
    const keys = await cli.client().keys.list();
    await print(cli, output, keys, list =>
      table(
        ['ID', 'NAME', 'KEY', 'AGE'],
        list.map(k => [k.id, k.name, k.preview, age(k.createdAt)]),
      ),
    );
  });

  key
    .command('revoke <name>')
    .description('by name or id')
    .action(async (name: string) => {
      const gone = await cli.client().keys.revoke(name);
      say(cli, `key "${gone.name}" is revoked`);
    });
}
