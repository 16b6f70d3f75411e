/** "SASL Authentication" (https://www.postgresql.org/docs/18/sasl-authentication.html), both ends of it. */
import { randomBytes } from 'node:crypto';
import type { Socket } from 'node:net';
import {
  checkClientFinal,
  clientFinal,
  keysOf,
  newClientFirst,
  parseClientFirst,
  serverFirst,
  type Verifier,
} from '../../lib/scram.ts';
import { OffshootError } from '../../model/errors.ts';
import { cstring, encodeMessage, int32, type Message, readMessage } from './messages.ts';

/** What a client has proved to know, and the message with which we prove it in turn. */
export type Proof = { readonly clientKey: Buffer; readonly verifier: Verifier; readonly final: Buffer };

/**
 * Asks a client for its password, without ever getting it.
 * @param verifier undefined: nothing opens, but the client cannot tell that before the end; it is asked by `instead`
 * @param endPoint what the connection can be bound to; undefined: binding is not offered
 * @throws OffshootError gateway/login-failed, gateway/bad-startup
 */
export async function challenge(
  client: Socket,
  o: {
    readonly verifier: Verifier | undefined;
    readonly instead: () => Verifier;
    readonly endPoint: Buffer | undefined;
    readonly user: string;
    readonly signal: AbortSignal;
  },
): Promise<Proof> {
  const { endPoint, user, signal } = o;
  const failed = () => new OffshootError('gateway/login-failed', { user });
  const offered = endPoint === undefined ? [PLAIN] : [PLUS, PLAIN];
  client.write(encodeMessage('R', int32(SASL), ...offered.map(cstring), Buffer.of(0)));
  const initial = await readResponse(client, signal);
  const nameEnd = initial.indexOf(0);
  const mechanism = initial.toString('latin1', 0, nameEnd);
  if (!offered.includes(mechanism)) throw bad(`the SASL mechanism ${JSON.stringify(mechanism.slice(0, 40))}`);
  const first = parseClientFirst(initial.toString('latin1', nameEnd + 5));
  if (first === undefined) throw bad('its first SASL message');
  if ((mechanism === PLUS) !== (first.binding === 'p'))
    throw bad('a channel binding that does not fit its mechanism');
  // It could bind, and thinks that we cannot: somebody in the middle has taken that from what we offered.
  if (first.binding === 'y' && endPoint !== undefined) throw bad('a channel binding that was kept from it');
  const verifier = o.verifier ?? o.instead();
  const ours = serverFirst(verifier, first.nonce + randomBytes(18).toString('base64'));
  client.write(encodeMessage('R', int32(SASL_CONTINUE), Buffer.from(ours)));
  const proof = checkClientFinal((await readResponse(client, signal)).toString('latin1'), {
    ...{ first, ours, verifier, endPoint },
  });
  if (proof === undefined || o.verifier === undefined) throw failed();
  const final = encodeMessage('R', int32(SASL_FINAL), Buffer.from(proof.answer));
  return { clientKey: proof.clientKey, verifier, final };
}

/**
 * Logs in to a server that has been sent its startup message, up to but without AuthenticationOk.
 * @param keyOf see clientFinal
 * @param request the server's first word of authentication
 * @returns undefined, or the server's refusal
 * @throws RangeError when it asks for something else; the signal's reason
 */
export async function prove(
  server: Socket,
  request: Message,
  keyOf: Parameters<typeof clientFinal>[2],
  signal: AbortSignal,
): Promise<Message | undefined> {
  if (codeOf(request) !== SASL || !request.body.toString('latin1', 4).split('\0').includes(PLAIN))
    throw new RangeError(`the server asks for authentication ${codeOf(request)}`);
  const first = newClientFirst();
  const text = Buffer.from(first.text);
  server.write(encodeMessage('p', cstring(PLAIN), int32(text.length), text));
  const theirs = await readMessage(server, signal);
  if (theirs.type === 'E') return theirs;
  const final = clientFinal(first, theirs.body.toString('latin1', 4), keyOf);
  if (codeOf(theirs) !== SASL_CONTINUE || final === undefined)
    throw new RangeError('the server does not go on with SCRAM');
  server.write(encodeMessage('p', Buffer.from(final.text)));
  const end = await readMessage(server, signal);
  if (end.type === 'E') return end;
  if (codeOf(end) !== SASL_FINAL || end.body.toString('latin1', 4) !== final.answer)
    throw new RangeError('the server does not prove that it knows the password');
  return undefined;
}

/** For `prove`. Keeps what it has worked out: it is slow, and clusters that grew from one another share their salts. */
export function withPassword(password: string): Parameters<typeof clientFinal>[2] {
  const known = new Map<string, ReturnType<typeof keysOf>>();
  return (salt, iterations) => {
    const id = `${salt.toString('base64')} ${iterations}`;
    const keys = known.get(id) ?? keysOf(password, salt, iterations);
    if (known.size > MAX_KNOWN) known.clear();
    known.set(id, keys);
    return keys;
  };
}

// --- internal ------------------------------------------------------------------------------------

const [PLAIN, PLUS] = ['SCRAM-SHA-256', 'SCRAM-SHA-256-PLUS'];

/** "AuthenticationSASL", "AuthenticationSASLContinue", "AuthenticationSASLFinal". */
const [SASL, SASL_CONTINUE, SASL_FINAL] = [10, 11, 12];

const bad = (what: string) =>
  new OffshootError('gateway/bad-startup', { why: `${what} is not what was asked for` });

const codeOf = ({ type, body }: Message): number | undefined =>
  type === 'R' && body.length >= 4 ? body.readInt32BE(0) : undefined;

/** "SASLInitialResponse", "SASLResponse": both of the type of passwords. */
async function readResponse(client: Socket, signal: AbortSignal): Promise<Buffer> {
  const { type, body } = await readMessage(client, signal).catch(error => {
    throw error instanceof RangeError ? bad(error.message) : error;
  });
  if (type !== 'p') throw bad(`a message ${JSON.stringify(type)}`);
  return body;
}

const MAX_KNOWN = 1_000;
