/**
 * What the first bytes of a client say: HTTP, whose requests can be told apart by key, or something else. A protocol
 * whose first line looks like HTTP's is taken for it (RFC 9112 §3, RFC 9113 §3.4); its port has a name then, or it
 * should get one.
 */

export type FirstBytes = 'http' | 'other' | 'more';

/** @param bytes all that came so far */
export function readFirstBytes(bytes: Buffer): FirstBytes {
  const line = firstLine(bytes);
  for (let i = 0; i < line.length; i++) {
    if (line[i] === SPACE && i > 0) return readVersion(line);
    if (i >= MAX_METHOD || !isTokenCharacter(line[i]!)) return 'other';
  }
  return 'more';
}

/** Whether a first line that does not come to its end would be one of HTTP. */
export const mayBeHttp = (bytes: Buffer): boolean =>
  /^\S+ (\/|\*|https?:)/i.test(firstLine(bytes).toString('latin1', 0, MAX_METHOD + 10));

/**
 * With what a server of HTTP/2 may begin before its client has said anything: a frame of settings (RFC 9113 §3.4, §6.5).
 * It is the one that speaks first although it is HTTP.
 */
export function isHttp2Greeting(bytes: Buffer): boolean {
  if (bytes.length < 9) return false;
  const [length, type, flags, stream] = [bytes.readUIntBE(0, 3), bytes[3], bytes[4], bytes.readUInt32BE(5)];
  return type === SETTINGS && flags === 0 && stream === 0 && length % 6 === 0 && length <= 6 * 32;
}

// --- internal ---

const SETTINGS = 4;

const [LF, CR, SPACE] = [0x0a, 0x0d, 0x20];
/** Registered methods have up to 17 letters. */
const MAX_METHOD = 64;
/** Of a request line; more than our server takes. */
const MAX_LINE = 32 * 1024;

/** RFC 9112 §2.2: empty lines before a request are passed over. */
function firstLine(bytes: Buffer): Buffer {
  let start = 0;
  while (bytes[start] === CR || bytes[start] === LF) start++;
  return bytes.subarray(start, start + MAX_LINE);
}

/** RFC 9110 §5.6.2, tchar. */
const isTokenCharacter = (code: number): boolean =>
  /[!#$%&'*+.^_`|~0-9A-Za-z-]/.test(String.fromCharCode(code));

/** A word and a space begin many protocols, but only the lines of HTTP end with its version. */
function readVersion(line: Buffer): FirstBytes {
  const end = line.indexOf(LF);
  if (end >= 0) return / HTTP\/\d(\.\d)?[ \t]*\r?$/.test(line.toString('latin1', 0, end)) ? 'http' : 'other';
  if (line.length < MAX_LINE) return 'more';
  return mayBeHttp(line) ? 'http' : 'other';
}
