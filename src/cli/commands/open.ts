import type { Command } from 'commander';
import { openInBrowser } from '../browser.ts';
import type { Cli, OutputFormat } from '../context.ts';
import { withExamples } from '../options.ts';
import { print, say, UsageError, withOutput } from '../output.ts';

export function register(program: Command, cli: Cli): void {
  withExamples(
    withOutput(program.command('open <of...>')),
    'offshoot open fix-42',
    'offshoot open fix-42 api --path /users',
    'offshoot open fix-42 --print',
  )
    .usage('[options] <sandbox> [endpoint]')
    .description('open a preview in the browser, by a link that works once, within a minute')
    .option('--path <path>', 'a path of it', parsePreviewPath, '/')
    .option('--print', 'print the link instead')
    .action(async ([sandbox = '', endpoint, ...more]: string[], options) => {
      if (more.length > 0) throw new UsageError('one sandbox and one of its endpoints at a time');
      await openPreview(cli, sandbox, endpoint, options);
    });
}

type OpenOptions = {
  readonly output: OutputFormat;
  readonly path: string;
  /** Only print the link. */
  readonly print?: boolean;
};

/** @param endpoint default: the first */
export async function openPreview(
  cli: Cli,
  sandbox: string,
  endpoint: string | undefined,
  { output, path, print: only = false }: OpenOptions,
): Promise<void> {
  const link = await cli.client().sandboxes.link(sandbox, { endpoint, path });
  if (only || output !== 'text') return print(cli, output, link, ({ url }) => url);
  const why = await openInBrowser(cli, link.url);
  if (why === undefined) return say(cli, `opened ${link.preview}`);
  say(cli, `no browser could be opened: ${why}; open this yourself, within a minute:`);
  await print(cli, output, link, ({ url }) => url);
}

/** Of an option. */
export function parsePreviewPath(text: string): string {
  if (/^\/(?![/\\])[\x21-\x7e]*$/.test(text)) return text;
  throw new UsageError(`--path must begin with one slash and hold no blanks, not "${text}"`);
}
