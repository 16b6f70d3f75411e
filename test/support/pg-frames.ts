/**
 * PostgreSQL frames built and read by hand from the documentation's page "Message Formats"
 * (https://www.postgresql.org/docs/18/protocol-message-formats.html), apart from the code under test.
 */

export const int32 = (n: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(n);
  return bytes;
};
export const cstring = (text: string): Buffer => Buffer.from(`${text}\0`, 'latin1');

/** A message without a type byte: length, code, body. */
export const opening = (code: number, body: Buffer = Buffer.alloc(0)): Buffer =>
  Buffer.concat([int32(8 + body.length), int32(code), body]);

export const PROTOCOL_3_0 = 0x3_0000;
export const PROTOCOL_3_2 = 0x3_0002;

export const startupMessage = (
  params: Readonly<Record<string, string>> | readonly (readonly [string, string])[],
  version = PROTOCOL_3_0,
): Buffer => {
  const pairs = Array.isArray(params) ? params : Object.entries(params);
  return opening(version, Buffer.concat([...pairs.flat().map(cstring), Buffer.from([0])]));
};
export const sslRequest = (): Buffer => opening(80877103);
export const gssRequest = (): Buffer => opening(80877104);
export const cancelRequest = (pid: number, secret: Buffer): Buffer =>
  opening(80877102, Buffer.concat([int32(pid), secret]));

/** A message with a type byte. */
export const message = (type: string, body: Buffer = Buffer.alloc(0)): Buffer =>
  Buffer.concat([Buffer.from(type), int32(4 + body.length), body]);

export const authenticationOk = (): Buffer => message('R', int32(0));
export const parameterStatus = (name: string, value: string): Buffer =>
  message('S', Buffer.concat([cstring(name), cstring(value)]));
export const backendKeyData = (pid: number, secret: Buffer): Buffer =>
  message('K', Buffer.concat([int32(pid), secret]));
export const readyForQuery = (): Buffer => message('Z', Buffer.from('I'));
export const fatal = (code: string, text: string): Buffer =>
  message('E', Buffer.concat([...['SFATAL', `C${code}`, `M${text}`].map(cstring), Buffer.from([0])]));

export type Frame = { readonly type: string; readonly body: Buffer };

/** The whole messages in `bytes`. */
export function readFrames(bytes: Buffer): Frame[] {
  const frames: Frame[] = [];
  for (let at = 0; bytes.length >= at + 5; ) {
    const end = at + 1 + bytes.readInt32BE(at + 1);
    if (end > bytes.length) break;
    frames.push({ type: bytes.toString('latin1', at, at + 1), body: bytes.subarray(at + 5, end) });
    at = end;
  }
  return frames;
}

/** Fields of an ErrorResponse by their letter. */
export function errorFields({ type, body }: Frame): Record<string, string> {
  if (type !== 'E') throw new Error(`not an ErrorResponse but ${type}`);
  const texts = body.toString('utf8').split('\0').slice(0, -2);
  return Object.fromEntries(texts.map(text => [text.slice(0, 1), text.slice(1)]));
}

/** The parameters of a StartupMessage as pairs, in order. */
export function readStartup(packet: Buffer): {
  readonly version: number;
  readonly params: readonly (readonly [string, string])[];
} {
  const texts = packet.toString('latin1', 8, packet.length - 2).split('\0');
  const params = texts.flatMap((name, i) => (i % 2 === 0 ? [[name, texts[i + 1] ?? ''] as const] : []));
  return { version: packet.readInt32BE(4), params };
}
