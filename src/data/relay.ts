/**
 * COPY from one server to another, socket to socket: rows are the same messages in both directions (PostgreSQL §54.2.6), so
 * they pass as they are, in the pieces in which they came. Who is slow keeps the other waiting.
 */
import type { Socket } from 'node:net';
import { type Session, socketOf } from './session.ts';

export type Moved = { readonly rows: number; readonly bytes: number };

export type Relay = {
  /** `COPY … TO STDOUT` and `COPY … FROM STDIN`. */
  readonly out: string;
  readonly in: string;
  /** Called with what has come so far, often. */
  readonly moved?: (so: Moved) => void;
  /** What becomes of the rows, which are of the text format then; it hands them on in any pieces. */
  readonly through?: (out: (piece: Buffer) => void) => Through;
  readonly signal: AbortSignal;
};

export type Through = { push(bytes: Buffer): void; end(): void };

/** The source's end of a copy failed: what it says may be of a row. */
export class SourceError extends Error {
  readonly code: string | undefined;
  constructor(cause: Error & { readonly code?: string }) {
    super(cause.message, { cause });
    this.code = cause.code;
  }
}

/**
 * Both sessions are idle before and afterwards; after an error neither is to be used any more.
 * @returns rows as the target counted them
 * @throws what either server said; an error when both counted differently
 */
export async function relay(source: Session, target: Session, copy: Relay): Promise<Moved> {
  const [from, to] = [takeOver(source), takeOver(target)];
  const { promise, resolve, reject } = Promise.withResolvers<Moved>();
  const state = { rows: 0, bytes: 0, sent: -1, taken: -1 };
  const done = () => {
    if (state.sent < 0 || state.taken < 0 || !from.idle || !to.idle) return;
    if (state.sent === state.taken) resolve({ rows: state.taken, bytes: state.bytes });
    else reject(new Error(`the source sent ${state.sent} rows, and ${state.taken} arrived`));
  };
  const abort = () => reject(copy.signal.reason);
  copy.signal.addEventListener('abort', abort, { once: true });
  const onDrain = () => from.socket.resume();
  to.socket.on('drain', onDrain);
  const send = (piece: Buffer): void => {
    if (!to.socket.write(piece)) from.socket.pause();
  };
  const through = copy.through?.(piece => send(copyData(piece)));
  const push = through === undefined ? send : unframed(through);
  from.listen({
    rows(piece, count) {
      state.bytes += piece.length;
      state.rows += count;
      try {
        push(piece);
      } catch (error) {
        reject(error);
        return;
      }
      copy.moved?.({ rows: state.rows, bytes: state.bytes });
    },
    message(type, body) {
      if (type === COPY_DONE) {
        try {
          through?.end();
        } catch (error) {
          return reject(error);
        }
        to.socket.write(EMPTY_COPY_DONE);
      }
      if (type === COMMAND_COMPLETE) state.sent = countOf(body);
      if (type === READY) done();
    },
    failed: error => reject(new SourceError(error)),
  });
  to.listen({
    rows() {},
    message(type, body) {
      if (type === COMMAND_COMPLETE) state.taken = countOf(body);
      if (type === READY) done();
    },
    failed: reject,
  });
  to.socket.write(queryMessage(copy.in));
  from.socket.write(queryMessage(copy.out));
  try {
    const moved = await promise;
    from.giveBack();
    to.giveBack();
    return moved;
  } catch (error) {
    from.socket.destroy();
    to.socket.destroy();
    throw error;
  } finally {
    copy.signal.removeEventListener('abort', abort);
    to.socket.off('drain', onDrain);
  }
}

// --- internal -----------------------------------------------------------------------------------

/** Bodies of CopyData messages out of pieces of them, of which the first begins with a message. */
function unframed(through: Through): (piece: Buffer) => void {
  let left = 0;
  return piece => {
    for (let at = 0; at < piece.length; ) {
      if (left === 0) {
        left = piece.readInt32BE(at + 1) - 4;
        at += 5;
      }
      const end = Math.min(at + left, piece.length);
      left -= end - at;
      if (end > at) through.push(piece.subarray(at, end));
      at = end;
    }
  };
}

function copyData(body: Buffer): Buffer {
  const message = Buffer.allocUnsafe(5 + body.length);
  message[0] = COPY_DATA;
  message.writeInt32BE(4 + body.length, 1);
  body.copy(message, 5);
  return message;
}

const code = (letter: string): number => letter.charCodeAt(0);
const [COPY_DATA, COPY_DONE, COMMAND_COMPLETE, READY, ERROR] = ['d', 'c', 'C', 'Z', 'E'].map(code) as [
  number,
  number,
  number,
  number,
  number,
];
const EMPTY_COPY_DONE = Buffer.from([COPY_DONE, 0, 0, 0, 4]);

/** Bytes of a message that is not a row: nothing that a server says here is longer. */
const MOST = 1 << 20;

type Listener = {
  /** Whole rows, or parts of one. @param count rows that begin in it */
  rows(piece: Buffer, count: number): void;
  message(type: number, body: Buffer): void;
  failed(error: Error): void;
};

type Taken = {
  readonly socket: Socket;
  /** The server waits for the next query. */
  readonly idle: boolean;
  listen(listener: Listener): void;
  giveBack(): void;
};

/** The socket of a session, without the session's own parser, which would look at each row. */
function takeOver(session: Session): Taken {
  const socket = socketOf(session);
  const theirs = socket.rawListeners('data') as ((chunk: Buffer) => void)[];
  socket.removeAllListeners('data');
  let idle = false;
  let listener: Listener | undefined;
  /** Bytes of a row that are still to come. */
  let left = 0;
  let rest: Buffer = Buffer.alloc(0);
  const onData = (chunk: Buffer): void => {
    const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    rest = Buffer.alloc(0);
    let at = Math.min(left, bytes.length);
    left -= at;
    let [begin, count] = [0, 0];
    const flush = () => {
      if (at > begin) listener?.rows(bytes.subarray(begin, at), count);
      [begin, count] = [at, 0];
    };
    while (at < bytes.length) {
      if (bytes.length - at < 5) break;
      const type = bytes[at]!;
      const size = 1 + bytes.readInt32BE(at + 1);
      if (size < 5 || (type !== COPY_DATA && size > MOST)) {
        listener?.failed(new Error('the server sent what is no message'));
        return;
      }
      if (type === COPY_DATA) {
        const there = Math.min(size, bytes.length - at);
        left = size - there;
        at += there;
        count += 1;
        continue;
      }
      flush();
      if (bytes.length - at < size) break;
      const body = bytes.subarray(at + 5, at + size);
      at += size;
      begin = at;
      if (type === READY) idle = true;
      if (type === ERROR) listener?.failed(serverError(body));
      else listener?.message(type, body);
    }
    flush();
    if (at < bytes.length) rest = Buffer.from(bytes.subarray(at));
  };
  const onEnd = () => listener?.failed(new Error('the connection was closed'));
  const onError = (error: Error) => listener?.failed(error);
  socket.on('data', onData);
  socket.on('close', onEnd);
  socket.on('error', onError);
  return {
    socket,
    get idle() {
      return idle;
    },
    listen(next) {
      listener = next;
    },
    giveBack() {
      socket.off('data', onData);
      socket.off('close', onEnd);
      socket.off('error', onError);
      for (const each of theirs) socket.on('data', each);
      socket.resume();
    },
  };
}

function queryMessage(sql: string): Buffer {
  const text = Buffer.from(`${sql}\0`);
  const head = Buffer.alloc(5);
  head[0] = code('Q');
  head.writeInt32BE(4 + text.length, 1);
  return Buffer.concat([head, text]);
}

/** `COPY 42` */
const countOf = (body: Buffer): number => Number(/^COPY (\d+)/.exec(body.toString('latin1'))?.[1] ?? -1);

/** Fields of an ErrorResponse: a letter and a text each. */
function serverError(body: Buffer): Error {
  const fields = new Map(
    body
      .toString('utf8')
      .split('\0')
      .filter(field => field !== '')
      .map(field => [field[0]!, field.slice(1)]),
  );
  const where = fields.get('W')?.split('\n')[0];
  const message = `${fields.get('M') ?? 'an error'}${where === undefined ? '' : ` (${where.slice(0, 200)})`}`;
  return Object.assign(new Error(message), { code: fields.get('C') });
}
