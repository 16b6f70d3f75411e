/** Rules of a mask: some to begin with, and whether those that somebody wrote fit a source. */
import type { Command } from 'commander';
import type { SuggestedRule } from '../../model/mask.ts';
import type { Cli } from '../context.ts';
import { importOptionsOf, sourceOf } from '../import-options.ts';
import { withExamples } from '../options.ts';
import { print, say, withOutput } from '../output.ts';

/** Adds `mask` to the command `project`. */
export function registerMask(project: Command, cli: Cli): void {
  withExamples(
    withOutput(project.command('mask')),
    'offshoot project mask --from postgresql://reader@staging.example.com/shop > mask.yaml',
    'offshoot project mask --from postgresql://reader@staging.example.com/shop --mask mask.yaml',
  )
    .description('print masking rules to begin with for a source, or see whether those of a file fit it')
    .requiredOption('--from <source>', 'postgresql://USER:PASSWORD@HOST:PORT/DATABASE')
    .option('--mask <file>', 'look whether these fit, and no column is forgotten')
    .option('--tables <pattern...>', 'only these tables, e.g. public.* (repeatable)')
    .option('--exclude <pattern...>', 'all but these tables, e.g. audit_* (repeatable)')
    .action(async ({ output, ...flags }) => {
      const { projects } = cli.client();
      const wish = { from: await sourceOf(cli, flags.from), import: await importOptionsOf(cli, flags) };
      if (flags.mask === undefined) return print(cli, output, await projects.suggestMask(wish), fileOf);
      const { version } = await projects.checkMask(wish);
      say(cli, `the rules fit the source, PostgreSQL ${version}; no other column looks like a person's data`);
      await print(cli, output, { version, fits: true }, () => '');
    });
}

// --- internal -----------------------------------------------------------------------------------

/** A file of rules, with why each is there. */
function fileOf(rules: readonly SuggestedRule[]): string {
  if (rules.length === 0) return "# no column looks like a person's data\ntables: {}";
  const lines = [
    "# Masking rules to begin with: columns that look like a person's data, by their names or by some values.",
    '# Look through all others, too. What is none: "keep". All rules: docs/data.md',
    'tables:',
  ];
  for (const [table, columns] of Map.groupBy(rules, rule => rule.table)) {
    lines.push(`  ${keyText(table)}:`);
    for (const { column, rule, why } of columns)
      lines.push(`    ${keyText(column)}: ${typeof rule === 'string' ? rule : flowText(rule)} # ${why}`);
  }
  return lines.join('\n');
}

/** A word that YAML takes for a text, or the text as JSON, which YAML reads, too. */
const keyText = (text: string): string =>
  /^[A-Za-z_][\w.]*$/.test(text) && !/^(?:true|false|null|yes|no|on|off|y|n)$/i.test(text)
    ? text
    : JSON.stringify(text);

const flowText = (rule: object): string =>
  `{ ${Object.entries(rule)
    .map(([key, value]) => `${key}: ${JSON.stringify(value)}`)
    .join(', ')} }`;
