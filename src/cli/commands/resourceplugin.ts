import type { Command } from 'commander';
import type { Cli } from '../context.ts';
import { withExamples } from '../options.ts';
import { age, print, say, table, withOutput } from '../output.ts';
import { readSource } from '../read-file.ts';
import { templateOptions, withDocument } from '../template-options.ts';

export function register(program: Command, cli: Cli): void {
  const plugin = withExamples(
    program.command('resourceplugin').alias('rp').description('what makes the resources of sandboxes'),
    'offshoot resourceplugin apply -f plugin.yaml',
    'offshoot resourceplugin get xata-branch',
  );

  withExamples(
    withOutput(withDocument(plugin.command('apply'))),
    'offshoot resourceplugin apply -f plugin.yaml',
  )
    .description('install a plugin version')
    .action(async ({ output, filename, set }) => {
      const source = await readSource(cli, filename);
      const { readResourcePlugin } = await import('../../model/document/plugin.ts');
      const document = readResourcePlugin(source, templateOptions(cli, filename, set));
      const client = cli.client();
      const { runner } = document.spec;
      if (runner !== undefined) {
        const { engine } = await client.status();
        const has =
          runner.image === undefined || engine === undefined
            ? 'spec.runner has an effect in a cluster, and its image where there is a container engine; here scripts run as local processes'
            : `scripts run in the image ${runner.image} by ${engine.title}, unless offshoot.yaml has an entry for it; the rest of spec.runner has an effect in a cluster only`;
        say(cli, `note: ${has}`);
      }
      const applied = await client.plugins.apply(document);
      say(cli, `plugin ${applied.name} ${applied.outcome}`);
      await print(cli, output, applied, () => '');
    });

  withExamples(
    withOutput(plugin.command('get <name>')),
    'offshoot resourceplugin get xata-branch',
    'offshoot resourceplugin get xata-branch@1.0.0 -o yaml',
  )
    .description('one plugin: its steps, and who uses it')
    .action(async (name: string, { output }) => {
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

  withExamples(withOutput(plugin.command('list').alias('ls')), 'offshoot resourceplugin list')
    .description('all plugin versions')
    .action(async ({ output }) => {
      const plugins = await cli.client().plugins.list();
      await print(cli, output, plugins, list =>
        table(
          ['NAME', 'IN USE', 'AGE'],
          list.map(p => [p.name, String(p.status.resources.length), age(p.createdAt)]),
        ),
      );
    });

  withExamples(plugin.command('delete <name>'), 'offshoot resourceplugin delete xata-branch')
    .description('remove a plugin version that no sandbox uses')
    .action(async (name: string) => {
      const gone = await cli.client().plugins.delete(name);
      say(cli, `plugin ${gone.name} is gone`);
    });
}
