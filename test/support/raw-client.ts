/** A TCP client that says exactly the bytes it is told to: `await using client = await dial(address)`. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { until } from '../../src/lib/wait.ts';
import { errorFields, type Frame, readFrames } from './pg-frames.ts';

export type RawClient = AsyncDisposable & {
  readonly socket: Socket;
  send(...bytes: Buffer[]): void;
  /** All that was received so far. */
  received(): Buffer;
  /** Waits until `count` bytes were received. */
  bytes(count: number): Promise<Buffer>;
  /** Waits until a whole message of this type was received; only after the answers to encryption requests. */
  frame(type: string): Promise<Frame>;
  /** Waits until the other side has closed the connection. @returns all that was received. */
  closed(): Promise<Buffer>;
  /** Waits for the other side to close; the one message before that must be an ErrorResponse. @returns its fields. */
  refusal(): Promise<Record<string, string>>;
};

export async function dial(
  { host, port }: { readonly host: string; readonly port: number },
  { deadlineMs = 60_000, allowHalfOpen = false } = {},
): Promise<RawClient> {
  const socket = connect({ host, port, allowHalfOpen });
  const chunks: Buffer[] = [];
  let ended = false;
  socket.on('error', () => {});
  socket.on('data', chunk => chunks.push(chunk));
  socket.on('end', () => {
    ended = true;
  });
  socket.on('close', () => {
    ended = true;
  });
  await once(socket, 'connect');
  const received = () => Buffer.concat(chunks);
  const wait = <T>(what: string, probe: () => T | undefined) => until(probe, { what, deadlineMs });
  const closed = async () => {
    await wait('the other side closes', () => ended || undefined);
    return received();
  };
  return {
    socket,
    send: (...bytes) => void socket.write(Buffer.concat(bytes)),
    received,
    bytes: count =>
      wait(`${count} bytes`, () => (received().length >= count ? received().subarray(0, count) : undefined)),
    frame: type => wait(`message ${type}`, () => readFrames(received()).find(f => f.type === type)),
    closed,
    async refusal() {
      const all = await closed();
      const frames = readFrames(all);
      if (frames.length !== 1)
        throw new Error(`not one message but ${JSON.stringify(all.toString('latin1'))}`);
      return errorFields(frames[0]!);
    },
    async [Symbol.asyncDispose]() {
      socket.destroy();
      if (!socket.closed) await once(socket, 'close');
    },
  };
}
