/** Data that come into a project from elsewhere: how far they are, and anew. */
import type { Command } from 'commander';
import { bytesText } from '../../model/bytes.ts';
import type { Cli } from '../context.ts';
import { fromOf, importOptionsOf, postgresOf, takingBack, withImportOptions } from '../import-options.ts';
import { importText, sayReport, seeImport } from '../import-wait.ts';
import { withExamples } from '../options.ts';
import { print, say, withOutput } from '../output.ts';

/** Adds `get`, `refresh` and `cancel` to the command `project`. */
export function registerImport(project: Command, cli: Cli): void {
  withExamples(withOutput(project.command('get <name>')), 'offshoot project get shop')
    .description('one project in full, and how far its data are')
    .action(async (name: string, { output }) => {
      const found = await cli.client().projects.get(name);
      await print(cli, output, found, p =>
        [
          `name      ${p.name}`,
          `database  ${p.database}`,
          `role      ${p.role}`,
          ...(p.postgres ? [`postgres  ${p.postgres.version} in ${p.postgres.bin}`] : []),
          `branches  ${p.branches}`,
          `created   ${p.createdAt}`,
          ...(p.import === undefined
            ? []
            : [
                `source    ${p.import.source}`,
                `import    ${importText(p.import)}`,
                ...(p.import.progress?.now ?? []).map(
                  now => `          ${now.table}: ${now.rows} rows, ${Math.round(100 * now.share)} %`,
                ),
                ...(p.import.report === undefined
                  ? []
                  : [
                      `came      ${p.import.at}: ${p.import.report.tables} tables, ${p.import.report.rows} rows, ${bytesText(p.import.report.bytes)}`,
                      ...p.import.report.leftOut.map(({ what, why }) => `left out  ${what}: ${why}`),
                    ]),
              ]),
        ].join('\n'),
      );
    });

  withExamples(
    withOutput(withImportOptions(project.command('refresh <name>'), 'another source than the last time')),
    'offshoot project refresh shop',
    'offshoot project refresh shop --from project:shop --postgres 18    to another version',
  )
    .description(
      'fill main anew from its source; it serves what it has until all has come, and branches keep theirs',
    )
    .option('--postgres <path|version>', 'made by another PostgreSQL from now on; branches stay with theirs')
    .option('--no-mask', 'from now on all columns come as they are')
    .option('--no-wait', 'return when it has begun')
    .action(async (name: string, { output, wait, ...flags }) => {
      const { postgres } = flags;
      const options = await importOptionsOf(cli, flags);
      const source = flags.from === undefined ? undefined : await fromOf(cli, flags.from, options);
      const wish = {
        ...{ from: source?.from, import: options, postgres: postgres && postgresOf(cli, postgres) },
      };
      const begun = await takingBack(source, () => cli.client().projects.refresh(name, wish));
      if (!wait) {
        say(cli, `the import into ${name} has begun; look with "offshoot project get ${name}"`);
        return print(cli, output, begun, () => '');
      }
      sayReport(
        cli,
        await seeImport(cli, {
          project: name,
          count: begun.import!.count,
          from: flags.from,
          giveUp: 'cancel',
        }),
      );
      await print(cli, output, await cli.client().projects.get(name), () => '');
    });

  withExamples(withOutput(project.command('cancel <name>')), 'offshoot project cancel shop')
    .description('end an import that is under way; what main had before stays')
    .action(async (name: string, { output }) => {
      const cancelled = await cli.client().projects.cancel(name);
      say(cli, `the import into ${name} is cancelled`);
      await print(cli, output, cancelled, () => '');
    });
}
