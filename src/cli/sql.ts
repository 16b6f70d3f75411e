/** SQL for people and scripts: run a text, show what came back. */
import { createInterface } from 'node:readline/promises';
import pg from 'pg';
import { OffshootError } from '../model/errors.ts';
import type { Cli } from './context.ts';
import { say, table } from './output.ts';

export type SqlResult = {
  /** e.g. SELECT, INSERT. */
  readonly command: string;
  readonly rowCount: number;
  readonly fields: readonly string[];
  readonly rows: readonly Readonly<Record<string, unknown>>[];
};

/** Runs one text of statements, as one implicit transaction. @throws OffshootError sql/failed */
export async function runSql(url: string, text: string, signal: AbortSignal): Promise<readonly SqlResult[]> {
  const client = await connect(url);
  const stop = () => void client.end().catch(() => {});
  signal.addEventListener('abort', stop, { once: true });
  try {
    return await query(client, text);
  } finally {
    signal.removeEventListener('abort', stop);
    await client.end().catch(() => {});
  }
}

export function sqlText({ command, rowCount, fields, rows }: SqlResult): string {
  if (fields.length === 0) return rowCount > 0 ? `${command} ${rowCount}` : command;
  const cells = rows.map(row => fields.map(f => cell(row[f])));
  return `${table(fields, cells)}\n(${rows.length} ${rows.length === 1 ? 'row' : 'rows'})`;
}

/** A small session for machines without psql: statements end with `;`, `\q` or Ctrl-D leaves. */
export async function interactiveSql(cli: Cli, url: string): Promise<void> {
  const client = await connect(url);
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
        for (const result of await query(client, text)) cli.stdout.write(`${sqlText(result)}\n`);
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

async function connect(url: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 30_000 });
  client.on('error', () => {}); // told by the query that it breaks
  try {
    await client.connect();
    return client;
  } catch (cause) {
    throw failed(cause);
  }
}

async function query(client: pg.Client, text: string): Promise<readonly SqlResult[]> {
  try {
    const result = (await client.query(text)) as pg.QueryResult | pg.QueryResult[];
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

const failed = (cause: unknown): OffshootError => {
  const { message, code, hint, position } = cause as {
    message: string;
    code?: string;
    hint?: string;
    position?: string;
  };
  return new OffshootError('sql/failed', { why: message, state: code, hint, position }, { cause });
};

function cell(value: unknown): string {
  if (value === null || value === undefined) return '';
  if (value instanceof Date) return value.toISOString();
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}
