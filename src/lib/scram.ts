/**
 * SCRAM-SHA-256 (RFC 5802, RFC 7677) as PostgreSQL has it: its stored form of a password, made on our side so that the
 * password itself never reaches the server's log, and both ends of the exchange.
 */
import { createHash, createHmac, pbkdf2, pbkdf2Sync, randomBytes, timingSafeEqual } from 'node:crypto';
import { promisify } from 'node:util';

/**
 * `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>` (pg_authid.rolpassword; keys as in RFC 5802 §3).
 * `password` must be ASCII, so that SASLprep changes nothing.
 */
export async function scramVerifier(password: string, iterations = 4096): Promise<string> {
  if (!/^[\x21-\x7e]+$/.test(password)) throw new TypeError('the password must be printable ASCII');
  const salt = randomBytes(16);
  const salted = await promisify(pbkdf2)(password, salt, iterations, 32, 'sha256');
  const storedKey = hash(mac(salted, 'Client Key')).toString('base64');
  const serverKey = mac(salted, 'Server Key').toString('base64');
  return `SCRAM-SHA-256$${iterations}:${salt.toString('base64')}$${storedKey}:${serverKey}`;
}

/** What is needed to check who knows a password, and to prove to him that we do (RFC 5802 §3). */
export type Verifier = {
  readonly iterations: number;
  readonly salt: Buffer;
  readonly storedKey: Buffer;
  readonly serverKey: Buffer;
};

/** @param text as `scramVerifier` makes it. @returns undefined for other kinds of stored passwords */
export function parseVerifier(text: string): Verifier | undefined {
  const [, iterations, salt, storedKey, serverKey] =
    /^SCRAM-SHA-256\$(\d{1,9}):([^$]+)\$([^:]+):(.+)$/.exec(text) ?? [];
  if (serverKey === undefined) return undefined;
  const bytes = (base64: string | undefined) => Buffer.from(base64!, 'base64');
  return {
    ...{ iterations: Number(iterations), salt: bytes(salt) },
    ...{ storedKey: bytes(storedKey), serverKey: bytes(serverKey) },
  };
}

/** The first message of who logs in: `gs2-header client-first-message-bare` (RFC 5802 §7). */
export type ClientFirst = {
  readonly header: string;
  readonly bare: string;
  readonly nonce: string;
  /** n: it cannot bind. y: it could, but thinks that we cannot. p: it does. */
  readonly binding: 'n' | 'y' | 'p';
};

/** @returns undefined when it is none; a user name in it is passed over, as PostgreSQL does */
export function parseClientFirst(text: string): ClientFirst | undefined {
  const [, header, flag, bare, nonce] =
    /^((n|y|p=tls-server-end-point),,)(n=[^,]*,r=([\x21-\x2b\x2d-\x7e]+))$/.exec(text) ?? [];
  if (header === undefined || flag === undefined) return undefined;
  return { header, bare: bare!, nonce: nonce!, binding: flag[0] as 'n' | 'y' | 'p' };
}

/** @param nonce the client's, with ours behind it */
export const serverFirst = ({ salt, iterations }: Verifier, nonce: string): string =>
  `r=${nonce},s=${salt.toString('base64')},i=${iterations}`;

/**
 * Checks the last message of who logs in.
 * @param endPoint what a binding must be bound to
 * @returns what the client has proved to know, and the answer that proves to it who we are; undefined: it has not
 */
export function checkClientFinal(
  text: string,
  o: {
    readonly first: ClientFirst;
    readonly ours: string;
    readonly verifier: Verifier;
    readonly endPoint?: Buffer | undefined;
  },
): { readonly clientKey: Buffer; readonly answer: string } | undefined {
  const [, without, channel, nonce, proof] = /^(c=([^,]*),r=([^,]*)),p=([^,]*)$/.exec(text) ?? [];
  if (without === undefined) return undefined;
  const bound = Buffer.from(o.first.header);
  const expected =
    o.first.binding === 'p' && o.endPoint !== undefined ? Buffer.concat([bound, o.endPoint]) : bound;
  if (channel !== expected.toString('base64') || !o.ours.startsWith(`r=${nonce},`)) return undefined;
  const message = `${o.first.bare},${o.ours},${without}`;
  const clientKey = xor(Buffer.from(proof!, 'base64'), mac(o.verifier.storedKey, message));
  if (clientKey === undefined || !timingSafeEqual(hash(clientKey), hashSized(o.verifier.storedKey)))
    return undefined;
  return { clientKey, answer: `v=${mac(o.verifier.serverKey, message).toString('base64')}` };
}

/**
 * The last message of who logs in, without a password: what a client proves to us is enough to prove it to another
 * who has stored the same.
 * @returns undefined when `theirs` is no answer to `first`
 */
export function clientFinal(
  first: ClientFirst,
  theirs: string,
  keyOf: (salt: Buffer, iterations: number) => { readonly clientKey: Buffer; readonly serverKey: Buffer },
): { readonly text: string; readonly answer: string } | undefined {
  const [, nonce, salt, iterations] = /^r=([^,]+),s=([^,]+),i=(\d{1,9})$/.exec(theirs) ?? [];
  if (iterations === undefined || !nonce!.startsWith(first.nonce)) return undefined;
  const { clientKey, serverKey } = keyOf(Buffer.from(salt!, 'base64'), Number(iterations));
  const without = `c=${Buffer.from(first.header).toString('base64')},r=${nonce}`;
  const message = `${first.bare},${theirs},${without}`;
  const proof = xor(clientKey, mac(hash(clientKey), message))!.toString('base64');
  return { text: `${without},p=${proof}`, answer: `v=${mac(serverKey, message).toString('base64')}` };
}

/** The keys that a password comes to; slow on purpose. Another's salt and iterations. */
export function keysOf(password: string, salt: Buffer, iterations: number) {
  const salted = pbkdf2Sync(password, salt, iterations, 32, 'sha256');
  return { clientKey: mac(salted, 'Client Key'), serverKey: mac(salted, 'Server Key') };
}

/** For the one who begins. */
export function newClientFirst(): ClientFirst & { readonly text: string } {
  const nonce = randomBytes(18).toString('base64');
  const [header, bare] = ['n,,', `n=,r=${nonce}`];
  return { header, bare, nonce, binding: 'n', text: header + bare };
}

// --- internal ------------------------------------------------------------------------------------

const mac = (key: Buffer, text: string): Buffer => createHmac('sha256', key).update(text).digest();
const hash = (bytes: Buffer): Buffer => createHash('sha256').update(bytes).digest();

/** Of the length of a hash, whatever was stored. */
const hashSized = (bytes: Buffer): Buffer => (bytes.length === 32 ? bytes : Buffer.alloc(32));

/** @returns undefined when they are of different lengths */
function xor(one: Buffer, other: Buffer): Buffer | undefined {
  if (one.length !== other.length) return undefined;
  return Buffer.from(one.map((byte, i) => byte ^ other[i]!));
}
