/** `-f FILE --set k=v`: the options of every command that takes a document with `@{…}`. */
import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import type { Command } from 'commander';
import type { Cli } from './context.ts';

export const withDocument = (command: Command): Command =>
  command
    .requiredOption('-f, --filename <file>', 'the document; - reads standard input')
    .option('--set <var=val>', 'value of a template variable @{var}; may be repeated', collect, []);

/** What model/document needs to expand a template that stands in `file`. */
export const templateOptions = (cli: Cli, file: string, set: readonly string[]) => ({
  set,
  dir: file === '-' ? cli.cwd : dirname(resolve(cli.cwd, file)),
  readFile: (path: string) => readFileSync(path),
});

const collect = (value: string, all: readonly string[]): readonly string[] => [...all, value];
