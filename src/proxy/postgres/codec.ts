/**
 * The part of PostgreSQL's wire protocol that the gateway reads and writes: bytes in, messages out, no
 * sockets. Every announced length has a cap. Formats are those of the page "Message Formats"
 * (https://www.postgresql.org/docs/18/protocol-message-formats.html), the order of messages that of
 * "Message Flow" (…/protocol-flow.html); headings of these pages stand at each function.
 */
import { OffshootError } from '../../model/errors.ts';

export type Startup = {
  /** Major version in the high, minor in the low 16 bits. */
  readonly version: number;
  /**
   * One byte per character (latin1): the encoding is not agreed upon yet, and bytes must leave as they came.
   * A name that is sent twice counts once, with its last value, as in PostgreSQL.
   */
  readonly params: ReadonlyMap<string, string>;
};

/** What a client may say first. */
export type Opening =
  | { readonly kind: 'tls' }
  | { readonly kind: 'encryption'; readonly method: 'SSL' | 'GSS' }
  | { readonly kind: 'cancel'; readonly packet: Buffer }
  | { readonly kind: 'startup'; readonly startup: Startup };

/**
 * Reads the first message of `bytes`.
 * @returns the message and how many bytes it took, or undefined when it is not complete yet.
 * @throws OffshootError gateway/bad-startup, gateway/unsupported-protocol as soon as the bytes cannot become one.
 */
export function parseOpening(
  bytes: Buffer,
): { readonly opening: Opening; readonly size: number } | undefined {
  // "SSL Session Encryption": direct TLS has no request in front; 0x16 is TLS's handshake record (RFC 8446 §5.1).
  if (bytes[0] === 0x16) return { opening: { kind: 'tls' }, size: 1 };
  if (bytes.length < 4) return undefined;
  const size = bytes.readInt32BE(0);
  if (size < 8 || size > 4 + MAX_STARTUP_PACKET_LENGTH) throw bad(`its length is ${size}`);
  if (bytes.length < 8) return undefined;
  const code = bytes.readInt32BE(4);
  checkCode(code, size);
  if (bytes.length < size) return undefined;
  return { opening: openingOf(code, bytes.subarray(0, size)), size };
}

/** "StartupMessage (F)". */
export function encodeStartup({ version, params }: Startup): Buffer {
  const text = [...params].map(([name, value]) => `${name}\0${value}\0`).join('');
  const packet = Buffer.alloc(8 + text.length + 1);
  packet.writeInt32BE(packet.length, 0);
  packet.writeInt32BE(version, 4);
  packet.write(text, 8, 'latin1');
  return packet;
}

/** "ErrorResponse (B)" with the fields of "Error and Notice Message Fields" that a client shows. Always FATAL. */
export function encodeFatal(error: OffshootError): Buffer {
  const fields: readonly (readonly [string, string | undefined])[] = [
    ['S', 'FATAL'],
    ['V', 'FATAL'],
    ['C', error.row.sqlstate ?? 'XX000'],
    ['M', error.message],
    ['H', error.hint],
  ];
  const body = fields
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${name}${value}\0`)
    .join('');
  const packet = Buffer.alloc(5 + Buffer.byteLength(body) + 1);
  packet.write('E');
  packet.writeInt32BE(packet.length - 1, 1);
  packet.write(body, 5);
  return packet;
}

export type LoginScan = {
  /** Bytes of the whole messages in front; what follows is an incomplete one. */
  readonly size: number;
  /** The body of BackendKeyData when it was among them. */
  readonly cancelKey: Buffer | undefined;
  /** The body of NegotiateProtocolVersion when it was among them. */
  readonly negotiation: Buffer | undefined;
  /** ready: the session begins. refused: the server said no and hangs up. */
  readonly outcome: 'ready' | 'refused' | undefined;
  /** Where the message begins by which the server said no. */
  readonly refusalAt: number | undefined;
};

/**
 * Looks through what the server sends between StartupMessage and ReadyForQuery ("Start-up").
 * @throws RangeError on a message that no login contains.
 */
export function scanLogin(bytes: Buffer): LoginScan {
  let size = 0;
  let cancelKey: Buffer | undefined;
  let negotiation: Buffer | undefined;
  let outcome: LoginScan['outcome'];
  let refusalAt: number | undefined;
  while (outcome !== 'ready' && bytes.length >= size + 5) {
    const type = String.fromCharCode(bytes[size]!);
    const length = bytes.readInt32BE(size + 1);
    if (length < 4 || length > MAX_LOGIN_MESSAGE)
      throw new RangeError(`login message ${type} of ${length} bytes`);
    const end = size + 1 + length;
    if (bytes.length < end) break;
    if (type === 'K') cancelKey = backendKey(bytes.subarray(size + 5, end));
    if (type === 'v') negotiation = bytes.subarray(size + 5, end);
    if (type === 'E') [outcome, refusalAt] = ['refused', refusalAt ?? size];
    if (type === 'Z') outcome = 'ready';
    size = end;
  }
  return { size, cancelKey, negotiation, outcome, refusalAt };
}

/** SQLSTATE of a whole ErrorResponse ("Error and Notice Message Fields"). */
export const refusalCode = (message: Buffer): string | undefined =>
  /(?:^|\0)C(\w{5})\0/.exec(message.toString('latin1', 5, message.readInt32BE(1) + 1))?.[1];

/** "CancelRequest (F)". @param key as `keyOfCancel` has it */
export function encodeCancel(key: Buffer): Buffer {
  const packet = Buffer.alloc(8 + key.length);
  packet.writeInt32BE(packet.length, 0);
  packet.writeInt32BE(CANCEL_REQUEST, 4);
  key.copy(packet, 8);
  return packet;
}

/** The key of a CancelRequest, laid out as the body of BackendKeyData: process id, then secret. */
export const keyOfCancel = (packet: Buffer): Buffer => packet.subarray(8);

// --- internal ------------------------------------------------------------------------------------

/** As in PostgreSQL (src/include/libpq/pqcomm.h), which does not count the length word itself. */
const MAX_STARTUP_PACKET_LENGTH = 10_000;
/** libpq takes 30 000 bytes for most message types (fe-protocol3.c); notices of a login trigger may be longer. */
const MAX_LOGIN_MESSAGE = 64 * 1024;
/** Process id, then a secret of 4 bytes (protocol 3.0) to 256 bytes (3.2): "BackendKeyData (B)", "CancelRequest (F)". */
const MIN_KEY = 4 + 4;
const MAX_KEY = 4 + 256;

/** 1234 in the high 16 bits, where a version would be: "CancelRequest (F)", "SSLRequest (F)", "GSSENCRequest (F)". */
const CANCEL_REQUEST = 80877102;
const SSL_REQUEST = 80877103;
const GSSENC_REQUEST = 80877104;

const bad = (why: string) => new OffshootError('gateway/bad-startup', { why });

function checkCode(code: number, size: number): void {
  if (code === SSL_REQUEST || code === GSSENC_REQUEST) {
    if (size !== 8) throw bad(`an encryption request of ${size} bytes`);
  } else if (code === CANCEL_REQUEST) {
    if (size < 8 + MIN_KEY || size > 8 + MAX_KEY) throw bad(`a cancel request of ${size} bytes`);
  } else if (code >>> 16 !== 3) {
    // The minor version is left to the server, which may answer NegotiateProtocolVersion.
    throw new OffshootError('gateway/unsupported-protocol', { version: `${code >>> 16}.${code & 0xffff}` });
  }
}

function openingOf(code: number, packet: Buffer): Opening {
  if (code === SSL_REQUEST) return { kind: 'encryption', method: 'SSL' };
  if (code === GSSENC_REQUEST) return { kind: 'encryption', method: 'GSS' };
  if (code === CANCEL_REQUEST) return { kind: 'cancel', packet };
  return { kind: 'startup', startup: { version: code, params: parseParams(packet) } };
}

/** "StartupMessage (F)": pairs of strings, each ending with a zero byte, then one more zero byte as the very last. */
function parseParams(packet: Buffer): Map<string, string> {
  const params = new Map<string, string>();
  let at = 8;
  while (at < packet.length - 1) {
    const nameEnd = packet.indexOf(0, at);
    const valueEnd = nameEnd <= at ? -1 : packet.indexOf(0, nameEnd + 1);
    if (valueEnd === -1) throw bad('its parameters are not pairs of strings');
    params.set(packet.toString('latin1', at, nameEnd), packet.toString('latin1', nameEnd + 1, valueEnd));
    at = valueEnd + 1;
  }
  if (at !== packet.length - 1 || packet[at] !== 0) throw bad('its last byte is not the terminator');
  return params;
}

function backendKey(body: Buffer): Buffer {
  if (body.length < MIN_KEY || body.length > MAX_KEY)
    throw new RangeError(`cancel key of ${body.length} bytes`);
  return body;
}
