/** A session with a server: statements in, results out as they come, rows for COPY both ways. */
import { once } from 'node:events';
import type pg from 'pg';
import { OffshootError } from '../model/errors.ts';
import { decoderOf } from './encoding.ts';
import type { Field, Row } from './values.ts';
import { LostError, type Message, openWire, type Wire } from './wire.ts';

/** What comes of statements, in order; while one call goes on, the server waits. */
export type Sink = {
  /** A result with columns begins. */
  fields(fields: readonly Field[]): Promise<void>;
  rows(rows: readonly Row[]): Promise<void>;
  /** A statement is done. @param tag e.g. `INSERT 0 2` */
  done(tag: string): Promise<void>;
  /** Rows for COPY … FROM stdin. */
  copyIn(): AsyncIterable<Buffer>;
  /** Rows of COPY … TO stdout. */
  copyOut(rows: Buffer): Promise<void>;
};

export type SqlSession = {
  /**
   * Runs one text of statements, in one implicit transaction unless it says otherwise. When the signal aborts, or what takes the
   * results fails, the statement is cancelled in the server.
   * @param text its bytes, in the encoding that the server was told
   * @throws OffshootError sql/failed; the signal's reason; what the sink throws
   */
  run(text: Buffer, sink: Sink): Promise<void>;
  /** Ends the statement that runs, if one does: the server lets it fail. */
  cancel(): void;
  /** Goes on in another database of the branch. @throws OffshootError sql/failed; then the session stays as it was */
  connect(database: string): Promise<void>;
  /** What the server has told, e.g. `server_version`. */
  parameter(name: string): string | undefined;
  /** I: none, T: a transaction, E: one that has failed. */
  transaction(): 'I' | 'T' | 'E';
  readonly database: string;
  readonly role: string;
  close(): Promise<void>;
};

export type SessionOptions = {
  /** Hears of warnings and notices. */
  readonly onNotice: (sentence: string) => void;
  /** Transactions only read, unless the statements themselves say otherwise. */
  readonly readOnly?: boolean;
};

/** @throws OffshootError sql/failed; the signal's reason */
export async function openSession(
  url: string,
  signal: AbortSignal,
  { onNotice, readOnly = false }: SessionOptions,
): Promise<SqlSession> {
  let wire: Wire;
  let state: 'I' | 'T' | 'E' = 'I';
  let interrupt = new AbortController();
  let database = decodeURIComponent(new URL(url).pathname.slice(1));
  await open(url);
  const session: SqlSession = {
    async run(text, sink) {
      signal.throwIfAborted();
      interrupt = new AbortController();
      try {
        await runText(
          wire,
          text,
          sink,
          around(interrupt.signal, now => (state = now)),
        );
      } catch (error) {
        signal.throwIfAborted();
        throw error instanceof LostError ? failed({ message: error.message }) : error;
      }
    },
    cancel: () => interrupt.abort(),
    async connect(other) {
      const before = wire;
      const to = new URL(url);
      to.pathname = `/${encodeURIComponent(other)}`;
      await open(to.href);
      await before.close();
      database = other;
    },
    parameter: name => wire.parameters.get(name),
    transaction: () => state,
    get database() {
      return database;
    },
    role: decodeURIComponent(new URL(url).username).split('.')[0]!,
    close: () => wire.close(),
  };
  return session;

  async function open(to: string): Promise<void> {
    let next: Wire;
    try {
      next = await openWire(to, signal);
    } catch (cause) {
      signal.throwIfAborted();
      const {
        message,
        code,
        hint = 'see "offshoot branch list" for the state of the branch',
      } = cause as pg.DatabaseError;
      throw failed({ message, code, hint }, cause);
    }
    try {
      if (readOnly) await runText(next, Buffer.from(READ_ONLY), nowhere, around(signal));
    } catch (error) {
      await next.close();
      throw error instanceof LostError ? failed({ message: error.message }) : error;
    }
    wire = next;
    state = 'I';
  }

  function around(interrupted: AbortSignal, onReady: Around['onReady'] = () => {}): Around {
    return { onNotice, signal, interrupt: AbortSignal.any([signal, interrupted]), onReady };
  }
}

/** Takes results of statements whose results nobody wants. */
export const nowhere: Sink = {
  fields: async () => {},
  rows: async () => {},
  done: async () => {},
  async *copyIn() {},
  copyOut: async () => {},
};

/** The rows of the last result of `text`, for small ones. @throws as `run` */
export async function rowsOf(
  session: SqlSession,
  text: string,
): Promise<{ fields: readonly Field[]; rows: readonly Row[] }> {
  let fields: readonly Field[] = [];
  let rows: Row[] = [];
  await session.run(Buffer.from(text), {
    ...nowhere,
    async fields(found) {
      [fields, rows] = [found, []];
    },
    rows: async more => void rows.push(...more),
  });
  return { fields, rows };
}

// --- internal -----------------------------------------------------------------------------------

const READ_ONLY = 'SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY';

/** So long a server that was asked to end a statement may need for it, before we leave it alone. */
const CANCELLED_MS = 5_000;

type Around = {
  readonly onNotice: (sentence: string) => void;
  readonly signal: AbortSignal;
  /** Aborts when `signal` does, or this statement alone is to end. */
  readonly interrupt: AbortSignal;
  readonly onReady: (state: 'I' | 'T' | 'E') => void;
};

/** By the simple query protocol (PostgreSQL, "Message Flow"). Returns, or throws, when the server is ready for more. */
async function runText(wire: Wire, text: Buffer, sink: Sink, around: Around): Promise<void> {
  const { onNotice, signal, interrupt, onReady } = around;
  const decode = (bytes: Buffer) => decoderOf(wire.parameters.get('client_encoding') ?? 'UTF8')(bytes);
  let read = decode;
  let failure: unknown;
  let rows: Row[] = [];
  let copied: Buffer[] = [];
  let timer: NodeJS.Timeout | undefined;
  const stop = (): void => {
    if (signal.aborted) failure ??= signal.reason;
    void wire.cancel();
    if (failure !== undefined) timer ??= setTimeout(() => void wire.close(), CANCELLED_MS);
  };
  /** After a failure of the sink its statement is of no use to anybody. */
  const give = async (task: () => Promise<void>): Promise<void> => {
    if (failure !== undefined) return;
    try {
      await task();
    } catch (error) {
      failure ??= error;
      stop();
    }
  };
  const flush = async (): Promise<void> => {
    if (rows.length > 0) {
      const taken = rows;
      rows = [];
      await give(() => sink.rows(taken));
    }
    if (copied.length > 0) {
      const taken = Buffer.concat(copied);
      copied = [];
      await give(() => sink.copyOut(taken));
    }
  };
  const act = async ({ type, body }: Message): Promise<boolean> => {
    switch (type) {
      case 'T':
        read = decoderOf(wire.parameters.get('client_encoding') ?? 'UTF8');
        await give(() => sink.fields(fieldsOf(body, read)));
        break;
      case 'C': {
        await flush();
        await give(() => sink.done(decode(body.subarray(0, -1))));
        break;
      }
      case 'G':
        await copyRows();
        break;
      case 'E':
        failure ??= failed(saidIn(body, decode));
        break;
      case 'N':
        onNotice(noticeText(saidIn(body, decode)));
        break;
      case 'Z':
        onReady(String.fromCharCode(body[0]!) as 'I' | 'T' | 'E');
        return true;
    }
    return false;
  };

  /** Sends the rows until they end, or the server has refused one of them. */
  const copyRows = async (): Promise<void> => {
    const rows = sink.copyIn()[Symbol.asyncIterator]();
    const interrupted = once(interrupt, 'abort').then(() => undefined);
    try {
      for (;;) {
        const next = interrupt.aborted ? undefined : await Promise.race([rows.next(), interrupted]);
        if (next === undefined) return wire.send('f', Buffer.from('interrupted\0'));
        if (next.done) break;
        for (let at = 0; at < next.value.length; at += PIECE) {
          wire.send('d', next.value.subarray(at, at + PIECE));
          while (!(await wire.left()))
            for (let message = wire.take(); message !== undefined; message = wire.take()) {
              await act(message);
              if (message.type === 'E') return void (await rows.return?.());
            }
        }
      }
      wire.send('c', Buffer.alloc(0));
    } catch (error) {
      failure ??= error;
      wire.send('f', Buffer.from('the rows cannot be read\0'));
    }
  };

  interrupt.addEventListener('abort', stop, { once: true });
  try {
    wire.send('Q', Buffer.concat([text, ZERO]));
    for (let ready = false; !ready; ) {
      const message = wire.take();
      if (message === undefined) {
        await flush();
        await wire.more();
      } else if (message.type === 'D') rows.push(rowOf(message.body, read));
      else if (message.type === 'd') copied.push(message.body);
      else {
        if (message.type === 'E') await flush();
        ready = await act(message);
      }
    }
  } catch (error) {
    failure ??= error;
  } finally {
    interrupt.removeEventListener('abort', stop);
    clearTimeout(timer);
  }
  if (failure !== undefined) throw failure;
}

const ZERO = Buffer.from([0]);
const PIECE = 256 * 1024;

function fieldsOf(body: Buffer, read: (bytes: Buffer) => string): Field[] {
  const fields: Field[] = [];
  for (let at = 2; fields.length < body.readUInt16BE(0); ) {
    const end = body.indexOf(0, at);
    fields.push({ name: read(body.subarray(at, end)), type: body.readUInt32BE(end + 7) });
    at = end + 19;
  }
  return fields;
}

function rowOf(body: Buffer, read: (bytes: Buffer) => string): Row {
  const count = body.readUInt16BE(0);
  const row = new Array<string | null>(count);
  for (let i = 0, at = 2; i < count; i++) {
    const length = body.readInt32BE(at);
    at += 4;
    row[i] = length < 0 ? null : read(body.subarray(at, at + length));
    at += Math.max(0, length);
  }
  return row;
}

type Said = {
  readonly severity?: string | undefined;
  readonly message: string;
  readonly code?: string | undefined;
  readonly detail?: string | undefined;
  readonly hint?: string | undefined;
  /** In characters of the text, from 1. */
  readonly position?: string | undefined;
  readonly where?: string | undefined;
};

/** PostgreSQL, "Error and Notice Message Fields". */
function saidIn(body: Buffer, decode: (bytes: Buffer) => string): Said {
  const fields = Object.fromEntries(
    decode(body)
      .split('\0')
      .filter(Boolean)
      .map(field => [field[0]!, field.slice(1)]),
  );
  const { V, S, M = '', C, D, H, P, W } = fields;
  return { severity: V ?? S, message: M, code: C, detail: D, hint: H, position: P, where: W };
}

const noticeText = ({ severity = 'NOTICE', message, detail, hint }: Said): string =>
  [
    `${severity}: ${message}`,
    ...(detail ? [`DETAIL: ${detail}`] : []),
    ...(hint ? [`HINT: ${hint}`] : []),
  ].join('\n');

function failed({ message, code, detail, hint, position, where }: Said, cause?: unknown): OffshootError {
  const output = [...(detail ? [`DETAIL: ${detail}`] : []), ...(where ? [`CONTEXT: ${where}`] : [])].join(
    '\n',
  );
  return new OffshootError(
    'sql/failed',
    { why: message, state: code, hint, position },
    { cause, ...(output !== '' && { output }) },
  );
}
