/** Objects on stdout, sentences on stderr. */
import type { Command } from 'commander';
import { yaml } from '../model/yaml-package.ts';
import type { Cli, OutputFormat } from './context.ts';
import { legible } from './legible.ts';

/** Adds `-o/--output` to a command. */
export const withOutput = (command: Command): Command =>
  command.option('-o, --output <format>', 'json or yaml instead of text', parseFormat, 'text');

/** Prints `value` as asked for: exactly, or as `text` renders it for people, who get to see what a terminal would obey. */
export async function print<T>(
  cli: Cli,
  format: OutputFormat,
  value: T,
  text: (value: T) => string,
): Promise<void> {
  if (format === 'json') return write(cli, `${JSON.stringify(value, null, 2)}\n`);
  if (format === 'yaml') return write(cli, asYaml(value));
  const out = legible(text(value));
  if (out !== '') await write(cli, out.endsWith('\n') ? out : `${out}\n`);
}

/** What is there twice is written twice. */
export const asYaml = (value: unknown): string => yaml().stringify(value, { aliasDuplicateObjects: false });

/**
 * Writes to standard output; resolves when the reader has taken it, so that whoever writes much waits for a slow
 * reader. @throws the signal's reason when it aborts meanwhile, also because the reader left
 */
export const write = (
  { stdout, signal }: Pick<Cli, 'stdout' | 'signal'>,
  text: string | Uint8Array,
): Promise<void> =>
  new Promise((resolve, reject) => {
    const stop = () => reject(signal.reason);
    signal.addEventListener('abort', stop, { once: true });
    stdout.write(text, () => {
      signal.removeEventListener('abort', stop);
      resolve();
    });
  });

/** A sentence for people. */
export const say = (cli: Pick<Cli, 'stderr'>, sentence: string): void =>
  void cli.stderr.write(`${legible(sentence)}\n`);

/** Columns as wide as their widest cell, two spaces apart; no lines, so that it can be cut and grepped. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [head, ...rows];
  const widths = head.map((_, i) => all.reduce((most, row) => Math.max(most, (row[i] ?? '').length), 0));
  return all
    .map(row =>
      row
        .map((cell, i) => (i === head.length - 1 ? cell : cell.padEnd(widths[i]!)))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** `3s`, `4m`, `2h`, `5d` since an RFC 3339 time. */
export const age = (since: string, now = Date.now()): string => span(now - Date.parse(since));

/** The same until a time to come. */
export const left = (until: string, now = Date.now()): string => span(Date.parse(until) - now);

function span(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 120) return `${seconds}s`;
  if (seconds < 7_200) return `${Math.round(seconds / 60)}m`;
  if (seconds < 172_800) return `${Math.round(seconds / 3_600)}h`;
  return `${Math.round(seconds / 86_400)}d`;
}

/** `812 ms`, `3.4 s` */
export const took = (ms: number): string =>
  Math.round(ms) < 1_000 ? `${Math.round(ms)} ms` : `${(ms / 1_000).toFixed(1)} s`;

// --- internal -----------------------------------------------------------------------------------

function parseFormat(text: string): OutputFormat {
  if (text === 'json' || text === 'yaml' || text === 'text') return text;
  throw new UsageError(`--output takes json, yaml or text, not "${text}"`);
}

/** The call itself is wrong; exit code 2. */
export class UsageError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'UsageError';
  }
}

/** Ends the program with a code that is already explained. */
export class ExitCode extends Error {
  readonly code: number;

  constructor(code: number) {
    super(`exit ${code}`);
    this.name = 'ExitCode';
    this.code = code;
  }
}

/** Why a command ends when nobody reads its output any more; nothing is left to say. */
export class ReaderGone extends Error {
  constructor() {
    super('nobody reads the output');
    this.name = 'ReaderGone';
  }
}
