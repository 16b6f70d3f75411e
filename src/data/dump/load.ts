/**
 * Loads the SQL of a dump into an empty database, as its owner and not as a superuser: what a dump says runs here, and may be
 * anybody's. What an owner may not make is a line of the report; rows that cannot be taken end it.
 */
import { randomBytes } from 'node:crypto';
import { escapeIdentifier, escapeLiteral } from 'pg';
import { scramVerifier } from '../../lib/scram.ts';
import { OffshootError } from '../../model/errors.ts';
import { createScanner, decoded, type Token } from '../../sql/scanner.ts';
import { nowhere, openSession, type SqlSession } from '../../sql/session.ts';
import { ScriptError, type Source, source } from '../../sql/source.ts';
import { openTarget, type Session, type TargetAddress } from '../session.ts';
import { createLeftOut, type LeftOutList } from './left-out.ts';
import { openLenders } from './rights.ts';
import {
  copiesRows,
  isAboutOther,
  isNothingNew,
  isRows,
  MISSING,
  madeBy,
  missedBy,
  plain,
  plainCopy,
  planOf,
  titleOf,
} from './statements.ts';

export type Load = {
  /** How messages name it. */
  readonly name: string;
  readonly sql: AsyncIterable<Buffer>;
  readonly target: Omit<TargetAddress, 'database'>;
  /** Neither is there yet. */
  readonly database: string;
  readonly role: string;
  readonly schemaOnly: boolean;
  /** Called with the rows that have come. */
  readonly onRows: (rows: number) => void;
  readonly signal: AbortSignal;
};

export type Loaded = {
  /** Major version of the server that was filled. */
  readonly major: number;
  readonly rows: number;
  readonly leftOut: LeftOutList['all'];
};

/** @throws OffshootError import/failed with file and line, import/bad-dump; the signal's reason */
export async function loadDump(load: Load): Promise<Loaded> {
  const { target, database, role, signal } = load;
  await using opened = new AsyncDisposableStack();
  const server = await openTarget({ ...target, database: 'postgres' });
  opened.defer(() => server.close());
  const name = escapeIdentifier(role);
  const [{ major } = { major: 0 }] = await server.query<{ major: number }>(
    "SELECT pg_catalog.current_setting('server_version_num')::int / 10000 AS major",
  );
  // Before 16 who makes roles may become any of them, also one that runs programs (decision 57).
  const makesRoles = major >= 16;
  // It lives as long as this does.
  const password = randomBytes(24).toString('hex');
  await server.query(
    `CREATE ROLE ${name} LOGIN CREATEDB${makesRoles ? ' CREATEROLE' : ''} PASSWORD ${escapeLiteral(await scramVerifier(password))}`,
  );
  await server.query(`CREATE DATABASE ${escapeIdentifier(database)} OWNER ${name}`);
  const admin = await openTarget({ ...target, database });
  opened.defer(() => admin.close());
  const leftOut = createLeftOut();
  let now = '';
  const url = `postgresql://${encodeURIComponent(role)}:${password}@localhost/${encodeURIComponent(database)}?host=${encodeURIComponent(target.socketDir)}`;
  const session = await openSession(url, signal, {
    onNotice(sentence) {
      // The server has less of a log while it is filled, and more of it when it serves.
      if (!sentence.startsWith('WARNING') || /"wal_level" is insufficient/.test(sentence)) return;
      leftOut.add({ what: now, why: sentence.split('\n')[0]!.replace(/^WARNING: /, '') });
    },
  });
  opened.defer(() => session.close());
  const doing = {
    is(title: string) {
      now = title;
    },
  };
  const rows = await runAll(load, { session, admin, leftOut, doing, major });
  await admin.query(`ALTER ROLE ${name} PASSWORD NULL`);
  return { rows, major, leftOut: leftOut.all };
}

// --- internal -----------------------------------------------------------------------------------

type World = {
  readonly session: SqlSession;
  readonly admin: Session;
  readonly leftOut: LeftOutList;
  /** Version of the server. */
  readonly major: number;
  readonly doing: { readonly is: (title: string) => void };
};

async function runAll(load: Load, { session, admin, leftOut, doing, major }: World): Promise<number> {
  const { name, role, signal } = load;
  const from: Source = source(name, load.sql);
  const variables = new Map<string, string>();
  const scanner = createScanner({
    variable: variable => variables.get(variable),
    standardStrings: () => session.parameter('standard_conforming_strings') !== 'off',
  });
  const lenders = openLenders(admin, role, major, leftOut);
  const missing = new Set<string>();
  const filled = new Set<string>();
  /** Statements that were understood, and those that were none of PostgreSQL's. */
  const counts = { ran: 0, strange: 0, rows: 0 };
  const section = databases();
  let restricted: string | undefined;
  /** Rows of the newest COPY have begun to flow. */
  let taken = false;

  const refuse = (line: number, why: string, cause?: unknown): OffshootError => {
    const [what, at] = ['loading it', `${name}:${line}`];
    return new OffshootError('import/failed', { what, why: `${at}: ${why}` }, { cause });
  };

  const run = async (text: string, rowsOf?: () => AsyncIterable<Buffer>, ours = false): Promise<void> => {
    // One that fails must not take what came before it in its transaction along.
    const within =
      !ours &&
      session.transaction() === 'T' &&
      !/^(COMMIT|END|ROLLBACK|ABORT|SAVEPOINT|RELEASE)\b/i.test(text);
    const whole = within ? `SAVEPOINT offshoot;${text};RELEASE offshoot` : text;
    try {
      await session.run(Buffer.from(whole, 'latin1'), {
        ...nowhere,
        async done(tag) {
          counts.rows += Number(/^(?:COPY|INSERT \d+) (\d+)$/.exec(tag)?.[1] ?? 0);
        },
        ...(rowsOf && { copyIn: rowsOf }),
      });
    } catch (error) {
      if (within && session.transaction() === 'E')
        await session.run(Buffer.from('ROLLBACK TO offshoot;RELEASE offshoot'), nowhere);
      throw error;
    }
    load.onRows(counts.rows);
  };

  /** An empty table that is filled in the transaction which empties it needs no WAL, and its rows are frozen at once. */
  const begunFor = async (text: string): Promise<boolean> => {
    const table = plainCopy(text);
    if (table === undefined || filled.has(table) || session.transaction() !== 'I') return false;
    filled.add(table);
    try {
      await run(
        `BEGIN; DO $$ BEGIN IF EXISTS (SELECT FROM ONLY ${table}) THEN RAISE 'not empty'; END IF; END $$; TRUNCATE ONLY ${table}`,
      );
      return true;
    } catch {
      signal.throwIfAborted();
      await session.run(Buffer.from('ROLLBACK'), nowhere);
      return false;
    }
  };

  const copy = async (text: string): Promise<void> => {
    taken = false;
    const rows = async function* () {
      taken = true;
      yield* from.rows();
    };
    const frozen = await begunFor(text);
    try {
      if (frozen) {
        try {
          await run(`${text} WITH (FREEZE)`, rows, true);
          return await run('COMMIT');
        } catch (error) {
          await session.run(Buffer.from('ROLLBACK'), nowhere).catch(() => {});
          if (taken) throw error;
        }
      }
      await run(text, rows);
    } finally {
      // Rows that nobody took are no statements.
      if (!taken) for await (const _ of from.rows());
    }
  };

  const statement = async ({ text, line }: Token & { kind: 'statement' }): Promise<void> => {
    const title = decoded(titleOf(text));
    doing.is(title);
    if (!section.takes(text)) {
      if (copiesRows(text)) for await (const _ of from.rows());
      return;
    }
    const plan = planOf(text, load);
    if (plan.note !== undefined) leftOut.add({ what: decoded(plan.note.what), why: plan.note.why });
    if (plan.do === 'skip') {
      if (copiesRows(text)) for await (const _ of from.rows());
      return;
    }
    if (/^(ROLLBACK|ABORT)\b(?!\s+(WORK\s+|TRANSACTION\s+)?TO\b)/i.test(text))
      throw refuse(line, 'it takes back what it has done (ROLLBACK), so it is no dump');
    await lenders.before(plan.text);
    if (await lenders.instead(plan.text)) return;
    for (let tries = 0; ; tries++)
      try {
        await (copiesRows(plan.text) ? copy(plan.text) : run(plan.text));
        counts.ran++;
        return;
      } catch (error) {
        signal.throwIfAborted();
        const { code, why, row } = saidBy(error);
        if (tries < MOST_TRIES && !copiesRows(plan.text) && (await lenders.help(plan.text, code, why)))
          continue;
        if (LOST.test(code) || error instanceof ScriptError || !(error instanceof OffshootError)) throw error;
        if (FULL.test(code)) throw new OffshootError('import/full', {}, { cause: error });
        if (isNothingNew(text, code)) return;
        if (code === '42601') counts.strange++;
        if (counts.strange >= MOST_STRANGE && counts.ran === 0)
          throw new OffshootError('import/bad-dump', {
            why: `it is no SQL of PostgreSQL's: line ${line}: ${why}`,
          });
        const isLost = copiesRows(text) ? taken || !isPassable(code) : isRows(text) && !isPassable(code);
        if (isLost || /^(COMMIT|END)\b/i.test(text)) throw refuse(line + row, `${title}: ${why}`, error);
        const missed = MISSING.has(code) ? missedBy(why) : undefined;
        if (missed !== undefined && isMissing(missing, missed) && isAboutOther(text)) return;
        const made = madeBy(text);
        if (made !== undefined) missing.add(made);
        leftOut.add({ what: title, why: reasonOf(text, code, why) });
        return;
      }
  };

  const command = ({ name: word, rest, line }: Token & { kind: 'command' }): void => {
    if (restricted !== undefined && (word !== 'unrestrict' || rest !== restricted))
      throw refuse(line, `\\${word}: only \\unrestrict with the right key is allowed after \\restrict`);
    if (word === 'restrict') restricted = rest;
    else if (word === 'unrestrict') restricted = undefined;
    else if (word === 'connect' || word === 'c') section.connect(decoded(rest));
    else if (word === 'set') {
      const [, variable = '', value = ''] = /^(\S+)\s*(.*)$/s.exec(rest) ?? [];
      if (variable !== '')
        variables.set(
          variable,
          value.replace(/^'(.*)'$/s, (_, inner: string) => inner.replaceAll("''", "'")),
        );
    } else if (!IGNORED.has(word))
      throw refuse(line, `\\${word}: a dump that comes as one file cannot ask for that`);
  };

  for (;;) {
    const token = scanner.next() ?? (await more());
    if (token === undefined) break;
    signal.throwIfAborted();
    if (token.kind === 'command') command(token);
    else await statement(token);
  }
  if (counts.ran === 0 && counts.strange > 0)
    throw new OffshootError('import/bad-dump', { why: "there is no SQL of PostgreSQL's in it" });
  if (session.transaction() !== 'I') await run('COMMIT');
  await lenders.end();
  for (const other of section.passed)
    leftOut.add({ what: `database ${other}`, why: 'a project has one database, and another came before it' });
  return counts.rows;

  async function more(): Promise<Token | undefined> {
    for (;;) {
      const line = await from.next();
      if (line === undefined) return scanner.end();
      scanner.feed(line, from.line);
      const token = scanner.next();
      if (token !== undefined) return token;
    }
  }
}

const MOST_TRIES = 20;
/** So many statements that are none, before one that is: it is something else. */
const MOST_STRANGE = 20;
/** Classes of SQLSTATE: the server or the way to it is gone; nothing more can be written. */
const LOST = /^(08|57P)/;
const FULL = /^53/;

/** What is said to psql about looks, or about what happens on errors. */
const IGNORED: ReadonlySet<string> = new Set([
  ...['echo', 'qecho', 'warn', 'pset', 'timing', 'x', 'a', 't', 'H', 'unset', 'encoding', 'errverbose'],
  ...['.', 'd', 'dt', 'dn', 'du', 'l'],
]);

/** What rows are for is not there, or belongs to an extension. */
const isPassable = (code: string): boolean => MISSING.has(code) || code === '42501';

const isMissing = (missing: ReadonlySet<string>, name: string): boolean =>
  missing.has(name) ||
  [...missing].some(
    one => one.endsWith(`.${name}`) || name.endsWith(`.${one}`) || name.startsWith(`${one}.`),
  );

const EXTENSION_WHY = 'this PostgreSQL does not have it, or it is not allowed in projects';

const reasonOf = (text: string, code: string, why: string): string =>
  /^CREATE\s+EXTENSION\b/i.test(text) && (code === '0A000' || code === '42501' || code === '58P01')
    ? EXTENSION_WHY
    : why;

type Said = {
  readonly code: string;
  readonly why: string;
  /** Of COPY, from 1; 0: it is not about a row. */
  readonly row: number;
};

function saidBy(error: unknown): Said {
  if (!(error instanceof OffshootError)) return { code: '', why: String((error as Error).message), row: 0 };
  const { why = '', state = '' } = error.params;
  const row = /^CONTEXT: COPY .*?, line (\d+)/m.exec(error.output ?? '')?.[1];
  return { code: String(state), why: String(why), row: Number(row ?? 0) };
}

/** Of several databases, the first that holds something is taken; pg_dumpall names those of every cluster, too. */
function databases(): {
  connect(name: string): void;
  takes(text: string): boolean;
  readonly passed: ReadonlySet<string>;
} {
  let [now, taken]: [string | undefined, string | undefined] = [undefined, undefined];
  const passed = new Set<string>();
  /** Whether it makes something in the database; the next one is made by a statement, too. */
  const holds = (text: string): boolean => /^(COPY|CREATE)\b(?!\s+(DATABASE|ROLE|USER|GROUP)\b)/i.test(text);
  return {
    passed,
    connect(rest) {
      const dbname =
        /\bdbname\s*=\s*('(?:[^'\\]|\\.)*'|[^\s'"]+)/.exec(rest)?.[1] ??
        rest.split(/\s+/).find(word => !word.startsWith('-')) ??
        '';
      now = plain(dbname.replace(/^'(.*)'$/, '$1').replace(/"$/, '"'));
    },
    takes(text) {
      if (now === undefined || now === taken) return true;
      if (/^template[01]$/.test(now)) return false;
      if (taken === undefined) {
        if (holds(text)) taken = now;
        return true;
      }
      if (holds(text)) passed.add(now);
      return false;
    },
  };
}
