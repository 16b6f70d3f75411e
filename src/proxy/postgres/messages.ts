/** Whole messages from a socket that nobody else reads, before its bytes are piped. */
import { once } from 'node:events';
import type { Socket } from 'node:net';

export type Message = {
  readonly type: string;
  readonly body: Buffer /** With type and length. */;
  readonly whole: Buffer;
};

/** Longest message that is read so, in bytes; as for a login in codec.ts. */
const MAX_MESSAGE = 64 * 1024;

/**
 * The next message ("Message Formats": type, length, body); what stands behind it stays in `socket`. The two ends of a
 * login speak in turn, so little ever does.
 * @throws RangeError on a length that none has; the signal's reason. Waits for ever when the other side has ended.
 */
export async function readMessage(socket: Socket, signal: AbortSignal): Promise<Message> {
  let bytes: Buffer = Buffer.alloc(0);
  for (;;) {
    const more: Buffer | null = socket.read();
    if (more === null) {
      await once(socket, 'readable', { signal });
      continue;
    }
    bytes = Buffer.concat([bytes, more]);
    if (bytes.length < 5) continue;
    const length = bytes.readInt32BE(1);
    if (length < 4 || length > MAX_MESSAGE) throw new RangeError(`a message of ${length} bytes`);
    const end = 1 + length;
    if (bytes.length < end) continue;
    if (bytes.length > end) socket.unshift(bytes.subarray(end));
    const whole = bytes.subarray(0, end);
    return { type: String.fromCharCode(whole[0]!), body: whole.subarray(5), whole };
  }
}

/** A message of `type`. */
export function encodeMessage(type: string, ...parts: readonly Uint8Array[]): Buffer {
  const body = Buffer.concat(parts);
  const head = Buffer.alloc(5);
  head.write(type, 'latin1');
  head.writeInt32BE(4 + body.length, 1);
  return Buffer.concat([head, body]);
}

export const int32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value);
  return bytes;
};

export const cstring = (text: string): Buffer => Buffer.from(`${text}\0`, 'latin1');
