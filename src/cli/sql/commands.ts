/** What is said to psql itself in a script, of which that has a meaning here. */
import { dirname, resolve } from 'node:path';
import { decoded, type Token } from '../../sql/scanner.ts';
import { rowsOf } from '../../sql/session.ts';
import { fileSource } from '../../sql/source.ts';
import { say, type UsageError, write } from '../output.ts';
import { copyCommand, openToWrite } from './copy-command.ts';
import { columnsOf, describeRelations, detailsOf, questionHelp, questionOf } from './describe.ts';
import type { Script } from './script.ts';
import { showResults } from './show.ts';
import { isOn } from './variables.ts';

type Refuse = (why: string) => UsageError;

/** @throws UsageError for what is not known, or wrong; what statements throw */
export async function runCommand(
  script: Script,
  { name, rest }: Token & { kind: 'command' },
  refuse: Refuse,
): Promise<void> {
  if (name === 'copy') return copyCommand(script, rest, refuse);
  const words = script.variables.words(rest, refuse);
  if (Object.hasOwn(commands, name)) return commands[name]!.run(script, words, refuse, name);
  if (ONLY_LOOKS.has(name)) return;
  const asked = questionOf(name);
  if (asked === undefined) throw refuse('it is not known here; psql knows it');
  const [pattern] = words;
  if (/^d[S+]*$/.test(name) && pattern !== undefined) return describe(script, pattern, refuse);
  return script.run(latin(asked.question.ask(pattern && decoded(pattern), asked)));
}

// --- internal -----------------------------------------------------------------------------------

const MOST_INCLUDED = 20;

/** Commands about how psql shows things, which change nothing in the database. */
const ONLY_LOOKS: ReadonlySet<string> = new Set([
  ...['a', 'C', 'f', 'H', 'pset', 't', 'T', 'w', 'errverbose', ''],
]);

/** As scripts are: a byte in each character. */
const latin = (text: string): string => Buffer.from(text).toString('latin1');

type Command = {
  /** What it does; absent for other names of a command. */
  readonly help?: string;
  readonly run: (script: Script, words: readonly string[], refuse: Refuse, name: string) => Promise<void>;
};

const include: Command = {
  help: 'FILE: run another file',
  async run({ cli, sources }, [file], refuse, name) {
    if (file === undefined) throw refuse('a file is missing');
    if (sources.length > MOST_INCLUDED) throw refuse(`more than ${MOST_INCLUDED} files are open`);
    const relative = /r/.test(name) ? dirname(sources.at(-1)!.file) : '.';
    sources.push(fileSource(resolve(cli.cwd, relative, decoded(file)), decoded(file)));
  },
};

const echo: Command = { help: 'TEXT: say it', run: ({ cli }, words) => write(cli, `${spoken(words)}\n`) };

const connect: Command = {
  help: 'DATABASE: go on in another database of the branch',
  async run({ session }, words, refuse) {
    const [named, user] = words.filter(word => !word.startsWith('-reuse-previous'));
    const database = /^(?:.*\s)?dbname\s*=\s*(?:'((?:[^'\\]|\\.)*)'|(\S+))/.exec(named ?? '');
    const uri = named !== undefined && /^postgres(ql)?:\/\//.test(named);
    if (uri || (user !== undefined && user !== '-' && decoded(user) !== session.role))
      throw refuse('only another database of the same branch can be meant, as the same role');
    const name = database === null ? named : (database[1]?.replaceAll(/\\(.)/g, '$1') ?? database[2]);
    if (name !== undefined && name !== '-') await session.connect(decoded(name));
  },
};

/** Runs what stands before it. */
const go: Command = {
  help: '[FILE]: run what stands before it, as ";" does',
  async run(script, [file], refuse) {
    const token = script.begun();
    if (token === undefined) return;
    if (file === undefined) return script.act(token);
    if (file.startsWith('|')) throw refuse('programs are not run from here');
    const into = await openToWrite(resolve(script.cli.cwd, decoded(file)), refuse);
    try {
      await script.act(token, showResults({ write: into.write, format: 'table' }));
    } finally {
      await into.close();
    }
  },
};

const quit: Command = { help: 'leave', run: async script => script.quit() };

const reset: Command = { help: 'forget the statement that has begun', run: async script => script.reset() };

const out: Command = {
  help: '[FILE]: show results there',
  async run(script, [file], refuse) {
    if (file?.startsWith('|')) throw refuse('programs are not run from here');
    await script.redirect(file === undefined ? undefined : resolve(script.cli.cwd, decoded(file)), refuse);
  },
};

const print: Command = {
  help: 'show the statement that has begun',
  run: ({ cli, peek }) => write(cli, `${decoded(peek())}\n`),
};

const commands: Readonly<Record<string, Command>> = {
  ...{
    i: include,
    include: { run: include.run },
    ir: { run: include.run },
    include_relative: { run: include.run },
  },
  ...{ echo, qecho: { run: echo.run } },
  warn: { run: async ({ cli }, words) => say(cli, spoken(words)) },
  ...{ c: connect, connect: { run: connect.run } },
  ...{
    g: go,
    q: quit,
    quit: { run: quit.run },
    r: reset,
    reset: { run: reset.run },
    o: out,
    out: { run: out.run },
  },
  ...{ p: print, print: { run: print.run } },
  unrestrict: {
    async run(_script, _words, refuse) {
      throw refuse('there was no \\restrict');
    },
  },
  set: {
    help: 'NAME VALUE: a variable, used as :NAME, :\'NAME\' or :"NAME"',
    async run({ cli, variables }, [name, ...values], refuse) {
      if (name === undefined)
        return write(
          cli,
          [...variables.all()].map(([key, value]) => `${key} = '${decoded(value)}'\n`).join(''),
        );
      if (name === 'AUTOCOMMIT' && !isOn(values.join(''))) throw refuse('say BEGIN and COMMIT instead');
      variables.set(name, values.join(''));
    },
  },
  unset: { run: async ({ variables }, [name]) => (name !== undefined ? variables.delete(name) : undefined) },
  getenv: {
    async run({ cli, variables }, [name, key]) {
      const value = key === undefined ? undefined : cli.env[key];
      if (name !== undefined && value !== undefined) variables.set(name, latin(value));
    },
  },
  gset: {
    help: '[PREFIX]: run what stands before it, and keep its row in variables',
    async run(script, [prefix = ''], refuse) {
      const token = script.begun();
      if (token?.kind !== 'statement') return;
      const { fields, rows } = await collect(script, token);
      if (rows.length !== 1)
        throw refuse(rows.length === 0 ? 'there is no row' : 'there is more than one row');
      for (const [i, { name }] of fields.entries()) {
        const value = rows[0]![i] ?? null;
        if (value === null) script.variables.delete(prefix + latin(name));
        else script.variables.set(prefix + latin(name), latin(value));
      }
    },
  },
  gexec: {
    help: 'run what stands before it, and each value of its result as a statement',
    async run(script) {
      const token = script.begun();
      if (token?.kind !== 'statement') return;
      const { rows } = await collect(script, token);
      for (const text of rows.flat())
        if (text !== null) await script.act({ kind: 'statement', text: latin(text), line: token.line });
    },
  },
  gx: {
    async run(script, words, refuse, name) {
      const before = script.expanded;
      script.expanded = true;
      try {
        await go.run(script, words, refuse, name);
      } finally {
        script.expanded = before;
      }
    },
  },
  x: {
    help: '[on|off]: one value a line',
    async run(script, [word]) {
      script.expanded = word === undefined ? !script.expanded : isOn(word);
    },
  },
  timing: {
    help: '[on|off]: say how long statements take',
    async run(script, [word]) {
      script.timing = word === undefined ? !script.timing : isOn(word);
    },
  },
  encoding: {
    run: (script, [name]) =>
      name === undefined
        ? write(script.cli, `${script.session.parameter('client_encoding')}\n`)
        : script.run(`SET client_encoding = '${name.replaceAll("'", "''")}'`),
  },
  conninfo: {
    help: 'where this session is',
    run: ({ cli, session }) =>
      write(
        cli,
        `database ${session.database} as ${session.role}, PostgreSQL ${session.parameter('server_version')}\n`,
      ),
  },
  sf: {
    help: 'FUNCTION: its definition',
    run: (script, [name = '']) =>
      script.run(
        `SELECT pg_catalog.pg_get_functiondef('${name.replaceAll("'", "''")}'::pg_catalog.reg${name.includes('(') ? 'procedure' : 'proc'}) AS definition`,
      ),
  },
  copyright: { run: async () => {} },
  '?': {
    help: 'this',
    run: ({ cli }) =>
      write(
        cli,
        [
          ...Object.entries(commands).flatMap(([name, { help }]) =>
            help === undefined ? [] : [[name, help] as const],
          ),
          ['copy', 'TABLE|(QUERY) from|to FILE: rows, from or to a file of this machine'] as const,
          ['if, elif, else, endif', 'what of the script counts'] as const,
          ...questionHelp(),
        ]
          .map(([name, help]) => `  \\${name.padEnd(26)} ${help}\n`)
          .join(''),
      ),
  },
};

/** `\echo -n` and the like are said as they are. */
const spoken = (words: readonly string[]): string => decoded(words.join(' '));

async function collect(script: Script, token: Token & { kind: 'statement' }): ReturnType<typeof rowsOf> {
  const found: {
    fields: Awaited<ReturnType<typeof rowsOf>>['fields'];
    rows: (readonly (string | null)[])[];
  } = {
    fields: [],
    rows: [],
  };
  await script.run(token.text, {
    async fields(fields) {
      found.fields = fields;
    },
    rows: async rows => void found.rows.push(...rows),
    done: async () => {},
  });
  return found;
}

async function describe(script: Script, pattern: string, refuse: Refuse): Promise<void> {
  const { rows } = await rowsOf(script.session, describeRelations(decoded(pattern)));
  if (rows.length === 0) throw refuse(`there is no relation "${decoded(pattern)}"`);
  for (const [oid, schema, name, kind] of rows) {
    if (script.format === 'table')
      await script.write(`${KIND_NAMES[kind!] ?? 'Relation'} "${schema}.${name}"\n`);
    await script.run(columnsOf(oid!));
    const details = detailsOf(oid!);
    if ((await rowsOf(script.session, details)).rows.length > 0) await script.run(details);
  }
}

const KIND_NAMES: Readonly<Record<string, string>> = {
  ...{ r: 'Table', p: 'Partitioned table', v: 'View', m: 'Materialized view', S: 'Sequence', i: 'Index' },
  ...{ I: 'Partitioned index', f: 'Foreign table', c: 'Composite type' },
};
