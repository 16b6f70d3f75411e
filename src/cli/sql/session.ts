/** A session with a branch: statements in, results out as they come, rows for COPY both ways. */
import { once } from 'node:events';
import pg from 'pg';
import { OffshootError } from '../../model/errors.ts';

export type SqlResult = {
  /** e.g. SELECT, INSERT. */
  readonly command: string;
  readonly rowCount: number;
  readonly fields: readonly string[];
  /** In the order of `fields`, of which two may have the same name. */
  readonly rows: readonly (readonly unknown[])[];
};

/** What the statements of one text do beside running. */
export type Run = {
  /** Called with each result before the next is read. */
  readonly onResult: (result: SqlResult) => Promise<void>;
  /** Rows for COPY … FROM stdin. */
  readonly copyIn: () => AsyncIterable<Buffer>;
  /** Rows of COPY … TO stdout. */
  readonly copyOut: (rows: Buffer) => Promise<void>;
};

export type SqlSession = {
  /**
   * Runs one text of statements, in one implicit transaction unless it says otherwise.
   * @param text its bytes, in the encoding that the server was told
   * @throws OffshootError sql/failed; the signal's reason
   */
  run(text: Buffer, run: Run): Promise<void>;
  /** Goes on in another database of the branch. @throws OffshootError sql/failed; then the session stays as it was */
  connect(database: string): Promise<void>;
  /** The server's `standard_conforming_strings`. */
  standardStrings(): boolean;
  close(): Promise<void>;
};

/** @param onNotice hears of warnings and notices. @throws OffshootError sql/failed; the signal's reason */
export async function openSession(
  url: string,
  signal: AbortSignal,
  onNotice: (sentence: string) => void,
): Promise<SqlSession> {
  let current = await connected(url, signal, onNotice);
  const stop = () => void current.client.end().catch(() => {});
  signal.addEventListener('abort', stop, { once: true });
  return {
    async run(text, run) {
      signal.throwIfAborted();
      try {
        await runText(current.client, text, run);
      } catch (error) {
        signal.throwIfAborted();
        throw error instanceof pg.DatabaseError || error instanceof LostError ? failed(error) : error;
      }
    },
    async connect(database) {
      const other = new URL(url);
      other.pathname = `/${encodeURIComponent(database)}`;
      const next = await connected(other.href, signal, onNotice);
      await current.client.end().catch(() => {});
      current = next;
    },
    standardStrings: () => current.standardStrings(),
    async close() {
      signal.removeEventListener('abort', stop);
      await current.client.end().catch(() => {});
    },
  };
}

/** Runs one text of statements, as one implicit transaction. @throws as a session does */
export async function runSql(url: string, text: string, signal: AbortSignal): Promise<readonly SqlResult[]> {
  const results: SqlResult[] = [];
  const session = await openSession(url, signal, () => {});
  try {
    await session.run(Buffer.from(text), {
      onResult: async result => void results.push(result),
      async *copyIn() {},
      copyOut: async () => {},
    });
    return results;
  } finally {
    await session.close();
  }
}

// --- internal -----------------------------------------------------------------------------------

/** The connection ended in the middle of a statement. */
class LostError extends Error {}

/** The part of pg's connection that its types do not show. */
type Connection = {
  readonly stream: NodeJS.WritableStream & { readonly writableNeedDrain: boolean };
  sendCopyFromChunk(chunk: Buffer): void;
  endCopyFrom(): void;
  sendCopyFail(why: string): void;
  on(event: string, listener: (message: never) => void): void;
  off(event: string, listener: (message: never) => void): void;
};

const connectionOf = (client: pg.Client): Connection =>
  (client as unknown as { connection: Connection }).connection;

async function connected(
  url: string,
  signal: AbortSignal,
  onNotice: (sentence: string) => void,
): Promise<{ client: pg.Client; standardStrings: () => boolean }> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 30_000 });
  client.on('error', () => {}); // told by the statement that it breaks
  client.on('notice', ({ severity = 'NOTICE', message }) => onNotice(`${severity}: ${message}`));
  let standardStrings = true;
  connectionOf(client).on('parameterStatus', (message: { parameterName: string; parameterValue: string }) => {
    if (message.parameterName === 'standard_conforming_strings')
      standardStrings = message.parameterValue === 'on';
  });
  const stop = () => void client.end().catch(() => {});
  signal.addEventListener('abort', stop, { once: true });
  try {
    await client.connect();
    return { client, standardStrings: () => standardStrings };
  } catch (cause) {
    signal.throwIfAborted();
    throw failed(cause, 'see "offshoot branch list" for the state of the branch');
  } finally {
    signal.removeEventListener('abort', stop);
  }
}

type Field = { readonly name: string; readonly dataTypeID: number };
type Row = readonly (string | null)[];

/**
 * By the simple query protocol (PostgreSQL, "Message Flow"), as a submittable of pg: its own queries know nothing of
 * COPY and keep all rows.
 */
async function runText(client: pg.Client, text: Buffer, run: Run): Promise<void> {
  const connection = connectionOf(client);
  const { promise: done, resolve, reject } = Promise.withResolvers<void>();
  let failure: unknown;
  /** What has to be done in order, while the server may send on. */
  let work: Promise<unknown> = Promise.resolve();
  const next = (task: () => Promise<void>): void => {
    work = work.then(async () => {
      if (failure === undefined) await task();
    });
    work.catch(error => {
      failure ??= error;
    });
  };
  let fields: readonly Field[] = [];
  let rows: unknown[][] = [];

  const statement = {
    submit() {
      const head = Buffer.alloc(5);
      head.write('Q');
      head.writeUInt32BE(text.length + 5, 1);
      connection.stream.write(Buffer.concat([head, text, ZERO]));
    },
    handleRowDescription(message: { fields: readonly Field[] }) {
      ({ fields } = message);
    },
    handleDataRow(message: { fields: Row }) {
      rows.push(message.fields.map((value, i) => (value === null ? null : parsed(fields[i]!, value))));
    },
    handleCommandComplete(message: { text: string }) {
      const [command = ''] = message.text.split(' ', 1);
      const rowCount = Number(/ (\d+)$/.exec(message.text)?.[1] ?? 0);
      const result = { command, rowCount, fields: fields.map(field => field.name), rows };
      fields = [];
      rows = [];
      next(() => run.onResult(result));
    },
    handleCopyInResponse() {
      next(async () => {
        try {
          for await (const chunk of run.copyIn()) {
            if (failure !== undefined) return;
            connection.sendCopyFromChunk(chunk);
            if (connection.stream.writableNeedDrain)
              await Promise.race([once(connection.stream, 'drain'), ended]);
          }
          connection.endCopyFrom();
        } catch (error) {
          connection.sendCopyFail('the rows cannot be read');
          throw error;
        }
      });
    },
    handleCopyData(message: { chunk: Buffer }) {
      const copied = Buffer.from(message.chunk);
      next(() => run.copyOut(copied));
    },
    handleEmptyQuery() {},
    handlePortalSuspended() {},
    handleError(error: Error) {
      failure ??= error;
    },
    handleReadyForQuery() {
      resolve();
    },
  };
  // A socket that ends tells pg's own queries; ours hears of it itself.
  const lost = () => reject(new LostError('the connection was lost'));
  const ended = done.then(
    () => {},
    () => {},
  );
  // After an error pg forgets whose query it was, so the end of it is heard here too.
  const ready = () => resolve();
  connection.on('end', lost);
  connection.on('readyForQuery', ready);
  try {
    client.query(statement as unknown as pg.Submittable);
    await done;
    await work;
  } finally {
    connection.off('end', lost);
    connection.off('readyForQuery', ready);
  }
  if (failure !== undefined) throw failure;
}

const ZERO = Buffer.from([0]);

/**
 * Types that pg would turn into values of this machine's time zone, or into objects: they stay as PostgreSQL
 * prints them. bytea, date, timestamp, timestamptz, interval and arrays of them; pg_type.dat has the numbers.
 */
const asText: ReadonlySet<number> = new Set([17, 1001, 1082, 1182, 1114, 1115, 1184, 1185, 1186, 1187]);

const parsed = ({ dataTypeID }: Field, value: string): unknown =>
  asText.has(dataTypeID) ? value : pg.types.getTypeParser(dataTypeID, 'text')(value);

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
