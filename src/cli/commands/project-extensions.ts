import type { Command } from 'commander';
import { openSession, rowsOf } from '../../sql/session.ts';
import type { Cli } from '../context.ts';
import { withExamples } from '../options.ts';
import { print, say, table, withOutput } from '../output.ts';

export type ExtensionView = {
  readonly name: string;
  /** That `CREATE EXTENSION` makes. */
  readonly version: string;
  /** In the branch's database; null: it is not created there. */
  readonly installed: string | null;
  /** Whether the project's owner may create it. */
  readonly allowed: boolean;
  readonly comment: string;
};

/** Adds `project extensions`. */
export function registerExtensions(project: Command, cli: Cli): void {
  withExamples(
    withOutput(project.command('extensions <name>')),
    'offshoot project extensions shop',
    'offshoot project extensions shop --branch fix-42 -o json',
  )
    .description('extensions that its PostgreSQL has, which of them are created, and which may be')
    .option('--branch <branch>', 'whose database is asked, which wakes it', 'main')
    .action(async (name: string, { output, branch }) => {
      const { connectionString } = await cli.client().branches.credentials(name, branch);
      const onNotice = (sentence: string) => say(cli, sentence);
      const session = await openSession(connectionString, cli.signal, { onNotice, readOnly: true });
      let found: readonly ExtensionView[];
      try {
        const { rows } = await rowsOf(session, FOUND);
        found = rows.map(([extension, version, installed, allowed, comment]) => ({
          ...{ name: extension!, version: version!, installed: installed ?? null },
          ...{ allowed: allowed === 't', comment: comment ?? '' },
        }));
      } finally {
        await session.close();
      }
      await print(cli, output, found, list =>
        table(
          ['NAME', 'VERSION', 'CREATED', 'MAY BE', 'WHAT FOR'],
          list.map(e => [e.name, e.version, e.installed ?? '-', e.allowed ? 'yes' : 'no', e.comment]),
        ),
      );
    });
}

// --- internal -----------------------------------------------------------------------------------

/** Trusted are also those that we let be created; one that needs no superuser may be by whoever owns the database. */
const FOUND = `SELECT e.name, e.default_version, e.installed_version, v.trusted OR NOT v.superuser, e.comment
  FROM pg_catalog.pg_available_extensions e
  JOIN pg_catalog.pg_available_extension_versions v ON v.name = e.name AND v.version = e.default_version
  ORDER BY e.name`;
