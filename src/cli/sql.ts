/** SQL for people and scripts: run a text, show what came back. */
import { createInterface } from 'node:readline/promises';
import pg from 'pg';
import { OffshootError } from '../model/errors.ts';
import type { Cli } from './context.ts';
import { say, table, write } from './output.ts';

export type SqlResult = {
  /** e.g. SELECT, INSERT. */
  readonly command: string;
  readonly rowCount: number;
  readonly fields: readonly string[];
  /** In the order of `fields`, of which two may have the same name. */
  readonly rows: readonly (readonly unknown[])[];
};

/** Runs one text of statements, as one implicit transaction. @throws OffshootError sql/failed; the signal's reason */
export async function runSql(url: string, text: string, signal: AbortSignal): Promise<readonly SqlResult[]> {
  const client = clientOf(url);
  const stop = () => void client.end().catch(() => {});
  signal.addEventListener('abort', stop, { once: true });
  try {
    await connect(client);
    return await query(client, text);
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  } finally {
    signal.removeEventListener('abort', stop);
    await client.end().catch(() => {});
  }
}

export function sqlText({ command, rowCount, fields, rows }: SqlResult): string {
  if (fields.length === 0) return rowCount > 0 ? `${command} ${rowCount}` : command;
  const cells = rows.map(row => row.map(cell));
  return `${table(fields, cells)}\n(${rows.length} ${rows.length === 1 ? 'row' : 'rows'})`;
}

/** For `-o json|yaml`: rows as objects. */
export const sqlJson = ({ command, rowCount, fields, rows }: SqlResult) => ({
  command,
  rowCount,
  fields,
  rows: rows.map(row => Object.fromEntries(row.map((value, i) => [fields[i], value]))),
});

/** A small session for machines without psql: statements end with `;`, `\q` or Ctrl-D leaves. */
export async function interactiveSql(cli: Cli, url: string): Promise<void> {
  const client = clientOf(url);
  await connect(client);
  say(cli, 'statements end with ";", \\q leaves (install psql for a richer session)');
  const lines = createInterface({ input: cli.stdin, output: cli.stderr, prompt: 'sql> ' });
  cli.signal.addEventListener('abort', () => lines.close(), { once: true });
  let text = '';
  lines.prompt();
  for await (const line of lines) {
    if (line.trim() === '\\q') break;
    text += `${line}\n`;
    if (text.trim().endsWith(';')) {
      try {
        for (const result of await query(client, text)) await write(cli, `${sqlText(result)}\n`);
      } catch (error) {
        say(cli, `error: ${(error as Error).message}`);
      }
      text = '';
    }
    lines.prompt();
  }
  await client.end().catch(() => {});
}

// --- internal -----------------------------------------------------------------------------------

function clientOf(url: string): pg.Client {
  const client = new pg.Client({
    connectionString: url,
    connectionTimeoutMillis: 30_000,
    types: { getTypeParser },
  });
  client.on('error', () => {}); // told by the query that it breaks
  return client;
}

async function connect(client: pg.Client): Promise<void> {
  try {
    await client.connect();
  } catch (cause) {
    throw failed(cause, 'see "offshoot branch list" for the state of the branch');
  }
}

/**
 * Types that pg would turn into values of this machine's time zone, or into objects: they stay as PostgreSQL
 * prints them. bytea, date, timestamp, timestamptz, interval and arrays of them; pg_type.dat has the numbers.
 */
const asText: ReadonlySet<number> = new Set([17, 1001, 1082, 1182, 1114, 1115, 1184, 1185, 1186, 1187]);

const getTypeParser: typeof pg.types.getTypeParser = (oid: number, format?: 'text' | 'binary') =>
  asText.has(oid) ? String : pg.types.getTypeParser(oid, format as 'text');

async function query(client: pg.Client, text: string): Promise<readonly SqlResult[]> {
  try {
    const result = (await client.query({ text, rowMode: 'array' })) as
      | pg.QueryArrayResult
      | pg.QueryArrayResult[];
    return (Array.isArray(result) ? result : [result]).map(r => ({
      command: r.command ?? '',
      rowCount: r.rowCount ?? 0,
      fields: (r.fields ?? []).map(f => f.name),
      rows: r.rows ?? [],
    }));
  } catch (cause) {
    throw failed(cause);
  }
}

function failed(cause: unknown, advice?: string): OffshootError {
  const {
    message,
    code,
    hint = advice,
    position,
  } = cause as {
    message: string;
    code?: string;
    hint?: string;
    position?: string;
  };
  return new OffshootError('sql/failed', { why: message, state: code, hint, position }, { cause });
}

function cell(value: unknown): string {
  if (value === null || value === undefined) return '';
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}
