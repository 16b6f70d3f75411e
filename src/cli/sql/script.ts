/**
 * Runs a script that was written for psql, as pg_dump writes them: statement by statement, the rows of COPY from the
 * script itself, and what is said to psql (commands.ts). It stops at the first error, unless ON_ERROR_STOP is off.
 */

import { createScanner, type Token } from '../../sql/scanner.ts';
import { nowhere, type Sink, type SqlSession } from '../../sql/session.ts';
import type { Source } from '../../sql/source.ts';
import type { Cli } from '../context.ts';
import { say, took, UsageError, write as writeOut } from '../output.ts';
import { runCommand } from './commands.ts';
import { createConditions } from './conditions.ts';
import { openToWrite } from './copy-command.ts';
import { placed } from './place.ts';
import { type SqlFormat, showResults } from './show.ts';
import { createVariables, isOn, type Variables } from './variables.ts';

export type ScriptOptions = {
  readonly cli: Cli;
  readonly session: SqlSession;
  readonly format: SqlFormat;
  /** From the start; psql's `-v`. */
  readonly variables?: Readonly<Record<string, string>>;
  /** A person types it: errors do not end it. Called before each line is read. @param idle no statement has begun */
  readonly onLine?: (idle: boolean) => void;
};

/** A script that runs, as its commands see it. */
export type Script = {
  readonly cli: Cli;
  readonly session: SqlSession;
  readonly variables: Variables;
  /** The script, and the files that it includes. */
  readonly sources: Source[];
  readonly format: SqlFormat;
  /** Where results go: standard output, or the file of `\o`. */
  write(text: string | Uint8Array): Promise<void>;
  /** @param file undefined: standard output again @throws UsageError */
  redirect(file: string | undefined, refuse: (why: string) => UsageError): Promise<void>;
  /** As `\x` has it. */
  expanded: boolean;
  timing: boolean;
  /** The statement that has begun, which is taken away. */
  begun(): Token | undefined;
  /** Its text, which stays. */
  peek(): string;
  reset(): void;
  run(text: string, sink?: Partial<Sink>): Promise<void>;
  /** Runs a statement that stands in the script. @param sink where its results go, default: they are shown */
  act(token: Token, sink?: Partial<Sink>): Promise<void>;
  quit(): void;
};

export type Running = {
  /** @throws OffshootError sql/failed with the place in the script; UsageError; the signal's reason */
  run(): Promise<void>;
  /** Forgets a statement that has begun. */
  reset(): void;
  readonly script: Script;
};

export function openScript(first: Source, options: ScriptOptions): Running {
  const { cli, session, format, onLine } = options;
  const typed = onLine !== undefined;
  const variables = createVariables(session, { ON_ERROR_STOP: typed ? 'off' : 'on', ...options.variables });
  const sources: Source[] = [first];
  const conditions = createConditions();
  /** Key of `\restrict`: until it is said again, a dump's data cannot speak to us (CVE-2025-8714). */
  let restricted: string | undefined;
  let over = false;
  /** Read before the one in front of it was done with. */
  const ahead: Token[] = [];
  const scanner = createScanner({
    variable: name => (conditions.active() ? variables.get(name) : undefined),
    standardStrings: () => session.parameter('standard_conforming_strings') !== 'off',
  });
  const here = () => sources.at(-1)!;
  const stops = () => isOn(variables.get('ON_ERROR_STOP'));

  const write = (text: string | Uint8Array) =>
    (file ?? { write: (t: typeof text) => writeOut(cli, t) }).write(text);
  let file: Awaited<ReturnType<typeof openToWrite>> | undefined;
  const last = async (): Promise<boolean> => {
    if (ahead.length > 0) return false;
    const token = await next();
    if (token !== undefined) ahead.push(token);
    return token === undefined;
  };
  const show = showResults({ write, format, last, expanded: () => script.expanded });

  const script: Script = {
    ...{ cli, session, variables, sources, format, write, expanded: false, timing: false },
    async redirect(path, refuse) {
      await file?.close();
      file = undefined;
      if (path !== undefined) file = await openToWrite(path, refuse);
    },
    begun: scanner.end,
    peek: () => scanner.text,
    reset: scanner.reset,
    quit() {
      over = true;
    },

    async run(text, sink = {}) {
      const started = performance.now();
      try {
        await session.run(Buffer.from(text, 'latin1'), { ...nowhere, ...show, ...sink });
        variables.succeeded();
      } catch (error) {
        variables.failed(error);
        throw error;
      } finally {
        if (script.timing) say(cli, `Time: ${took(performance.now() - started)}`);
      }
    },

    async act(token, sink) {
      let rowsBegin: number | undefined;
      try {
        if (token.kind === 'command') return await command(token);
        let taken = !/^copy\b[\s\S]*\bfrom\s+stdin\b/i.test(token.text);
        try {
          await script.run(token.text, {
            async *copyIn() {
              rowsBegin = here().line + 1;
              yield* here().rows();
              taken = true;
            },
            ...sink,
          });
        } finally {
          // Rows that were not taken are no statements.
          if (!taken && !stops()) for await (const _ of here().rows());
        }
      } catch (error) {
        cli.signal.throwIfAborted();
        const shown = placed(error, { file: here().file, typed, token, rowsBegin });
        if (stops()) throw shown;
        say(cli, `error: ${(shown as Error).message}`);
        const { output } = shown as { output?: string };
        if (output) say(cli, output);
      }
    },
  };

  const command = async (token: Token & { kind: 'command' }): Promise<void> => {
    const { name, rest, line } = token;
    const refuse = (why: string) => new UsageError(`${here().file}:${line}: \\${name}: ${why}`);
    if (restricted !== undefined) {
      if (name !== 'unrestrict' || rest !== restricted)
        throw refuse('only \\unrestrict with the right key is allowed after \\restrict');
      restricted = undefined;
      return;
    }
    if (name === 'restrict') {
      if (rest === '') throw refuse('a key is missing');
      restricted = rest;
      return;
    }
    const counted = conditions.active();
    if (conditions.take(name, () => variables.words(rest, refuse), refuse)) {
      if (!counted) scanner.reset(); // what stood in the part that did not count
    } else if (conditions.active()) await runCommand(script, token, refuse);
  };

  /** The next statement or command; undefined at the end. */
  const next = async (): Promise<Token | undefined> => {
    for (;;) {
      const token = scanner.next();
      if (token !== undefined) return token;
      onLine?.(scanner.idle);
      const line = await here().next();
      if (line !== undefined) scanner.feed(line, here().line);
      else if (sources.length > 1) sources.pop();
      else return scanner.end();
    }
  };

  return {
    script,
    reset: scanner.reset,
    async run() {
      let failed = true;
      try {
        while (!over) {
          const token = ahead.shift() ?? (await next());
          if (token === undefined) break;
          if (token.kind === 'command' || conditions.active()) await script.act(token);
        }
        if (!over) conditions.end(why => new UsageError(`${here().file}: ${why}`));
        failed = false;
      } finally {
        await show.end(failed);
        await file?.close();
      }
    },
  };
}
