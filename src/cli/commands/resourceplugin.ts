import type { Command } from 'commander';
import { readResourcePlugin } from '../../model/document/plugin.ts';
import type { Cli } from '../context.ts';
import { age, print, say, table, withOutput } from '../output.ts';
import { readSource } from '../read-file.ts';
import { templateOptions, withDocument } from '../template-options.ts';

export function register(program: Command, cli: Cli): void {
  const plugin = program
    .command('resourceplugin')
    .alias('rp')
    .description('what makes the resources of sandboxes')
    .addHelpText(
      'after',
      '\nExamples:\n  $ offshoot resourceplugin apply -f plugin.yaml\n  $ offshoot resourceplugin get xata-branch',
    );

  withOutput(withDocument(plugin.command('apply')))
    .description('install a plugin version')
    .action(async ({ output, filename, set }) => {
      const source = await readSource(cli, filename);
      const document = readResourcePlugin(source, templateOptions(cli, filename, set));
      const applied = await cli.client().plugins.apply(document);
      say(cli, `plugin ${applied.name} ${applied.outcome}`);
      await print(cli, output, applied, () => '');
    });

  withOutput(plugin.command('get <name>')).action(async (name: string, { output }) => {
    const found = await cli.client().plugins.get(name);
    await print(cli, output, found, p =>
      [
        `name    ${p.name}`,
        `create  ${(p.spec.create ?? []).map(s => `${s.name}${s.uses ? ` (${s.uses})` : ''}`).join(', ') || '-'}`,
        `delete  ${(p.spec.delete ?? []).map(s => `${s.name}${s.uses ? ` (${s.uses})` : ''}`).join(', ') || '-'}`,
        `in use  ${p.status.resources.map(r => `${r.sandbox}/${r.name}`).join(', ') || 'by no sandbox'}`,
      ].join('\n'),
    );
  });

  withOutput(plugin.command('list').alias('ls')).action(async ({ output }) => {
    const plugins = await cli.client().plugins.list();
    await print(cli, output, plugins, list =>
      table(
        ['NAME', 'IN USE', 'AGE'],
        list.map(p => [p.name, String(p.status.resources.length), age(p.createdAt)]),
      ),
    );
  });

  plugin.command('delete <name>').action(async (name: string) => {
    const gone = await cli.client().plugins.delete(name);
    say(cli, `plugin ${gone.name} is gone`);
  });
}
