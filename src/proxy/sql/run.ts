/** Runs the statements of one request in a session of their own, and ends it. */
import type { Socket } from 'node:net';
import type { FieldDef, QueryConfig } from 'pg';
import { OffshootError } from '../../model/errors.ts';
import type { Login, SqlRequest, Statement } from './request.ts';
import { asJson, asText } from './values.ts';

/** One statement's, as clients of SQL over HTTP read it. */
export type Answer = {
  /** The first word of PostgreSQL's command tag. */
  readonly command: string;
  readonly rowCount: number | null;
  readonly fields: readonly FieldDef[];
  readonly rows: readonly unknown[];
  readonly rowAsArray: boolean;
};

export type SqlLimits = {
  /** Milliseconds that a statement may take; the server cancels it then. */
  readonly statementMs: number;
  /** Milliseconds until a session has begun, waking its branch included. */
  readonly loginMs: number;
  /** Bytes of the texts of all values together. */
  readonly answerBytes: number;
};

/**
 * @param open gives an end of a new connection to the gateway
 * @returns as many answers as there are statements
 * @throws pg.DatabaseError what the server or the gateway says; OffshootError sql/answer-too-large; the signal's reason
 */
export async function runSql(
  { login, statements, begin, rawText }: SqlRequest,
  open: () => Socket,
  limits: SqlLimits,
  signal: AbortSignal,
): Promise<readonly Answer[]> {
  const { default: pg } = await import('pg');
  signal.throwIfAborted();
  const socket = open();
  const client = new pg.Client({ ...configOf(login), ...timesOf(limits), ssl: false, stream: () => socket });
  client.on('error', () => {}); // what waits is told, too
  const cut = () => void socket.destroy();
  signal.addEventListener('abort', cut);
  let excess: OffshootError | undefined;
  const refuse = () => {
    excess ??= new OffshootError('sql/answer-too-large', { max: limits.answerBytes });
    cut();
  };
  // pg puts a row together whole before anybody sees it, and dies of a value that is longer than a string may be.
  let received = 0;
  socket.on('data', (chunk: Buffer) => {
    received += chunk.length;
    if (received > WIRE_BYTES + 4 * limits.answerBytes) refuse();
  });
  const read = rawText ? asText : asJson;
  let bytes = 0;
  const one = ({ text, values, asArray }: Statement): Promise<Answer> =>
    new Promise((resolve, reject) => {
      const rows: unknown[] = [];
      const types = {
        getTypeParser(oid: number) {
          const readText = read(oid);
          return (value: string) => {
            bytes += value.length;
            return readText(value);
          };
        },
      };
      const config = {
        text,
        values: [...values],
        types,
        queryMode: 'extended',
        ...(asArray && { rowMode: 'array' }),
      };
      const query = new pg.Query(config as QueryConfig);
      query.on('row', row => {
        // An empty value is not free either.
        bytes += ROW_BYTES;
        if (bytes <= limits.answerBytes) return void rows.push(row);
        refuse();
      });
      query.on('error', reject);
      query.on('end', ({ command, rowCount, fields }) =>
        resolve({ command, rowCount, fields, rows, rowAsArray: asArray }),
      );
      client.query(query);
    });
  const inTime = async <T>(work: Promise<T>): Promise<T> => {
    const late = setTimeout(cut, limits.statementMs + SPARE_MS);
    return await work.finally(() => clearTimeout(late));
  };
  try {
    await client.connect();
    if (begin === undefined) return [await inTime(one(statements[0]!))];
    await inTime(client.query(begin));
    const answers: Answer[] = [];
    // Ending the session rolls it back.
    for (const statement of statements) answers.push(await inTime(one(statement)));
    await inTime(client.query('COMMIT'));
    return answers;
  } catch (error) {
    throw signal.aborted ? signal.reason : (excess ?? error);
  } finally {
    signal.removeEventListener('abort', cut);
    void client.end().catch(() => {});
  }
}

// --- internal ------------------------------------------------------------------------------------

/** What a row costs besides its values. */
const ROW_BYTES = 16;
/** Of the protocol besides values: what the server says of itself, of columns, and notices. */
const WIRE_BYTES = 2 ** 20;
/** After which a statement is not waited for that the server has not ended: it was told not to, or does not answer. */
const SPARE_MS = 5_000;

const configOf = ({ user, password, database = user, options, applicationName }: Login) => ({
  ...{ user, password, database },
  ...(options !== undefined && { options }),
  ...(applicationName !== undefined && { application_name: applicationName }),
});

const timesOf = ({ statementMs, loginMs }: SqlLimits) => ({
  statement_timeout: statementMs,
  connectionTimeoutMillis: loginMs,
});
