/**
 * The messages of a session (PostgreSQL, "Message Formats"), read as they are asked for: who is slow to take a result
 * holds its server back. pg does the login; its own queries know nothing of COPY and keep all rows.
 */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { delay } from '../lib/wait.ts';

/** Of the server. `type` is its letter. */
export type Message = { readonly type: string; readonly body: Buffer };

export type Wire = {
  /** What `SET`, and the server by itself, have told: client_encoding, server_version, … */
  readonly parameters: ReadonlyMap<string, string>;
  /** The next message that is here whole. @throws LostError */
  take(): Message | undefined;
  /** Resolves when more has come than `take` has seen. @throws LostError */
  more(): Promise<void>;
  /** `body` must stay as it is until it has left. @throws LostError */
  send(type: string, body: Buffer): void;
  /** Resolves with true when all that was sent has left, with false when something has come that `take` has not seen. */
  left(): Promise<boolean>;
  /** Asks the server, over a connection of its own, to end the statement that runs. Never rejects. */
  cancel(): Promise<void>;
  close(): Promise<void>;
};

/** The connection ended in the middle of a statement. */
export class LostError extends Error {}

/** @throws what pg throws; the signal's reason */
export async function openWire(url: string, signal: AbortSignal): Promise<Wire> {
  const { default: pg } = await import('pg'); // no command loads it that does not need it
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 30_000 });
  client.on('error', () => {}); // told by the statement that it breaks
  const { connection, ...inner } = client as unknown as Inner;
  const parameters = new Map<string, string>();
  connection.on('parameterStatus', ({ parameterName, parameterValue }) =>
    parameters.set(parameterName, parameterValue),
  );
  const stop = () => void client.end().catch(() => {});
  signal.addEventListener('abort', stop, { once: true });
  try {
    await client.connect();
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  } finally {
    signal.removeEventListener('abort', stop);
  }
  const { processID, secretKey } = Object.assign(inner, client as unknown as Inner);
  return { ...messages(connection.stream, parameters), cancel, close };

  async function close(): Promise<void> {
    await delay(CLOSE_MS, undefined, client.end());
    connection.stream.destroy();
  }

  async function cancel(): Promise<void> {
    const packet = Buffer.alloc(16);
    for (const [i, value] of [16, CANCEL, processID, secretKey].entries()) packet.writeInt32BE(value, 4 * i);
    const { host, port } = client;
    const socket = connect(host.startsWith('/') ? { path: `${host}/.s.PGSQL.${port}` } : { host, port });
    socket.on('error', () => {});
    socket.setTimeout(CANCEL_MS, () => socket.destroy());
    socket.end(packet);
    socket.resume();
    if (!socket.closed) await once(socket, 'close').catch(() => {});
  }
}

// --- internal -----------------------------------------------------------------------------------

/** "CancelRequest": its code, and the longest that one is waited for. */
const CANCEL = 80877102;
const CANCEL_MS = 5_000;

/** For a server to hang up when it is told that we leave. */
const CLOSE_MS = 1_000;

/** Bytes of a message: no server makes a longer one (its MaxAllocSize). */
const MOST = 2 ** 30 + 4;

/** What has come and nobody has asked for, from which on the server waits. */
const MOST_WAITING = 512 * 1024;

/** The part of pg's client that its types do not show. */
type Inner = {
  readonly processID: number;
  readonly secretKey: number;
  readonly connection: {
    readonly stream: Socket;
    on(
      event: 'parameterStatus',
      listener: (message: { parameterName: string; parameterValue: string }) => void,
    ): void;
  };
};

function messages(
  stream: Socket,
  parameters: Map<string, string>,
): Pick<Wire, 'parameters' | 'take' | 'more' | 'send' | 'left'> {
  let chunks: Buffer[] = [];
  let waiting = 0;
  let current: Buffer = Buffer.alloc(0);
  let at = 0;
  let [arrived, seen] = [0, 0];
  let lost = stream.destroyed;
  let change = Promise.withResolvers<void>();
  const changed = (): void => {
    change.resolve();
    change = Promise.withResolvers();
  };
  const end = (): void => {
    lost = true;
    changed();
  };
  stream.removeAllListeners('data'); // pg's reader: nothing of it is left when the login is over
  stream.on('data', (chunk: Buffer) => {
    chunks.push(chunk);
    waiting += chunk.length;
    arrived++;
    if (waiting > MOST_WAITING) stream.pause();
    changed();
  });
  for (const event of ['end', 'close', 'error']) stream.on(event, end);

  /** Makes `bytes` of what has come one piece. @returns false when less has come */
  const have = (bytes: number): boolean => {
    if (current.length - at >= bytes) return true;
    if (current.length - at + waiting < bytes) return false;
    current = Buffer.concat([current.subarray(at), ...chunks]);
    [chunks, waiting, at] = [[], 0, 0];
    return true;
  };

  return {
    parameters,
    take() {
      const size = have(5) ? current.readUInt32BE(at + 1) : undefined;
      if (size !== undefined && (size < 4 || size > MOST))
        throw new LostError('the server sent what is no message');
      if (size === undefined || !have(1 + size)) {
        seen = arrived;
        return undefined;
      }
      const end = at + 1 + size;
      const message = { type: String.fromCharCode(current[at]!), body: current.subarray(at + 5, end) };
      at = end;
      if (message.type !== 'S') return message;
      const [name = '', value = ''] = message.body.toString().split('\0');
      parameters.set(name, value);
      return this.take();
    },
    async more() {
      while (seen === arrived) {
        if (lost) throw new LostError('the connection was lost');
        stream.resume();
        await change.promise;
      }
    },
    send(type, body) {
      if (lost) throw new LostError('the connection was lost');
      const head = Buffer.allocUnsafe(5);
      head.write(type, 'latin1');
      head.writeUInt32BE(body.length + 4, 1);
      stream.cork();
      stream.write(head);
      stream.write(body, changed);
      stream.uncork();
    },
    async left() {
      for (;;) {
        if (seen !== arrived) return false;
        if (stream.writableLength === 0) return true;
        if (lost) throw new LostError('the connection was lost');
        await change.promise;
      }
    },
  };
}
