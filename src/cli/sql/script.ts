/**
 * Runs a script that was written for psql, as pg_dump writes them: statement by statement, the rows of COPY from the
 * script itself, and of what is said to psql what has a meaning here. It stops at the first error.
 */
import { dirname, resolve } from 'node:path';
import { OffshootError } from '../../model/errors.ts';
import type { Cli } from '../context.ts';
import { say, UsageError, write } from '../output.ts';
import { createScanner, decoded, type Token } from './scanner.ts';
import type { SqlSession } from './session.ts';
import type { Show } from './show.ts';
import { fileSource, type Source } from './source.ts';

export type ScriptOptions = {
  readonly cli: Cli;
  readonly session: SqlSession;
  readonly show: Show;
  /** Called before each line is read; for a prompt. @param idle no statement has begun */
  readonly onLine?: (idle: boolean) => void;
};

/** @throws OffshootError sql/failed with the place in the script; UsageError; the signal's reason */
export async function runScript(first: Source, { cli, session, show, onLine }: ScriptOptions): Promise<void> {
  /** The script, and the files that it includes. */
  const sources: Source[] = [first];
  const variables = new Map<string, string>([['ON_ERROR_STOP', onLine === undefined ? 'on' : 'off']]);
  /** Key of `\restrict`: until it is said again, a dump's data cannot speak to us (CVE-2025-8714). */
  let restricted: string | undefined;
  let over = false;
  const scanner = createScanner({
    variable: name => variables.get(name),
    standardStrings: () => session.standardStrings(),
  });
  const here = () => sources.at(-1)!;
  const stops = () => isOn(variables.get('ON_ERROR_STOP'));

  const act = async (token: Token): Promise<void> => {
    try {
      await (token.kind === 'command' ? command(token) : statement(token.text));
    } catch (error) {
      const placed = atPlace(error, here().file, token);
      if (stops()) throw placed;
      say(cli, `error: ${(placed as Error).message}`);
    }
  };

  const statement = async (text: string): Promise<void> => {
    let taken = !/^copy\b[\s\S]*\bfrom\s+stdin\b/i.test(text);
    const copyIn = async function* () {
      yield* here().rows();
      taken = true;
    };
    const run = { onResult: show.result, copyIn, copyOut: show.copied };
    try {
      await session.run(Buffer.from(text, 'latin1'), run);
    } finally {
      // Rows that were not taken are no statements.
      if (!taken && !stops()) for await (const _ of here().rows());
    }
  };

  const command = async ({ name, rest, line }: Token & { kind: 'command' }): Promise<void> => {
    const refuse = (why: string) => new UsageError(`${here().file}:${line}: \\${name}: ${why}`);
    if (restricted !== undefined) {
      if (name !== 'unrestrict' || rest !== restricted)
        throw refuse('only \\unrestrict with the right key is allowed after \\restrict');
      restricted = undefined;
      return;
    }
    const words = argumentsOf(rest, key => variables.get(key));
    switch (name) {
      case 'restrict':
        if (rest === '') throw refuse('a key is missing');
        restricted = rest;
        return;
      case 'unrestrict':
        throw refuse('there was no \\restrict');
      case 'c':
      case 'connect':
        return connect(words, refuse);
      case 'i':
      case 'include':
      case 'ir':
      case 'include_relative': {
        if (words[0] === undefined) throw refuse('a file is missing');
        if (sources.length > MAX_INCLUDED) throw refuse(`more than ${MAX_INCLUDED} files are open`);
        const relative = /r/.test(name) ? dirname(here().file) : '.';
        const path = decoded(words[0]);
        sources.push(fileSource(resolve(cli.cwd, relative, path), path));
        return;
      }
      case 'set':
        if (words[0] !== undefined) variables.set(words[0], words.slice(1).join(''));
        return;
      case 'unset':
        if (words[0] !== undefined) variables.delete(words[0]);
        return;
      case 'echo':
      case 'qecho':
        return write(cli, `${decoded(words.join(' '))}\n`);
      case 'warn':
        return say(cli, decoded(words.join(' ')));
      case 'g': {
        const token = scanner.end();
        return token === undefined ? undefined : act(token);
      }
      case 'r':
      case 'reset':
        return scanner.reset();
      case 'encoding':
        return statement(`SET client_encoding = '${(words[0] ?? 'UTF8').replaceAll("'", "''")}'`);
      case 'q':
      case 'quit':
        over = true;
        return;
    }
    if (ONLY_LOOKS.has(name)) return;
    throw refuse('it is not known here; psql knows it');
  };

  const connect = async (words: readonly string[], refuse: (why: string) => UsageError): Promise<void> => {
    const [named, user] = words.filter(word => !word.startsWith('-reuse-previous'));
    const database = /^(?:.*\s)?dbname\s*=\s*(?:'((?:[^'\\]|\\.)*)'|(\S+))/.exec(named ?? '');
    const uri = named !== undefined && /^postgres(ql)?:\/\//.test(named);
    if (uri || (user !== undefined && user !== '-'))
      throw refuse('only another database of the same branch can be meant, as the same role');
    const name = database === null ? named : (database[1]?.replaceAll(/\\(.)/g, '$1') ?? database[2]);
    if (name !== undefined && name !== '-') await session.connect(decoded(name));
  };

  while (!over) {
    onLine?.(scanner.idle);
    const line = await here().next();
    if (line === undefined) {
      if (sources.length === 1) break;
      sources.pop();
      continue;
    }
    scanner.feed(line, here().line);
    for (let token = scanner.next(); token !== undefined && !over; token = scanner.next()) await act(token);
  }
  const last = over ? undefined : scanner.end();
  if (last !== undefined) await act(last);
}

// --- internal -----------------------------------------------------------------------------------

const MAX_INCLUDED = 20;

/** Commands about how psql shows things, which change nothing in the database. */
const ONLY_LOOKS: ReadonlySet<string> = new Set([
  ...['a', 'C', 'f', 'H', 'pset', 't', 'T', 'timing', 'x', 'o', 'out', 'w', 'p', 'print', 'errverbose', ''],
]);

const isOn = (value: string | undefined): boolean =>
  value !== undefined && /^(on|true|yes|1|t|y)$/i.test(value);

/** Words of a command as psql reads them: quotes, escapes in single ones, variables. */
function argumentsOf(rest: string, variable: (name: string) => string | undefined): readonly string[] {
  return [...rest.matchAll(/(?:'(?:[^'\\]|\\.|'')*'|"[^"]*"|[^\s'"])+/g)].map(([word]) =>
    word.replace(
      /'((?:[^'\\]|\\.|'')*)'|"([^"]*)"|:([\w\x80-\xff]+)/g,
      (whole, single?: string, double?: string, name?: string) => {
        if (single !== undefined)
          return single.replaceAll(/''|\\(.)/g, (_, c?: string) => ESCAPES[c ?? "'"] ?? c!);
        return double ?? variable(name!) ?? whole;
      },
    ),
  );
}

const ESCAPES: Readonly<Record<string, string>> = { n: '\n', t: '\t', r: '\r', b: '\b', f: '\f', "'": "'" };

/** An error of the server with the line that it is about. */
function atPlace(error: unknown, file: string, { kind, line, ...token }: Token): unknown {
  if (!(error instanceof OffshootError && error.code === 'sql/failed')) return error;
  const { position, ...params } = error.params;
  // The position counts characters, the text has bytes.
  const before =
    kind === 'statement' && position
      ? [...decoded((token as { text: string }).text)].slice(0, Number(position) - 1)
      : [];
  const place = `${file}:${line + before.filter(character => character === '\n').length}`;
  return new OffshootError('sql/failed', { ...params, place }, { cause: error });
}
