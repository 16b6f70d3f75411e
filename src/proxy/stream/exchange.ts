/**
 * How a program of ours gets its identity where its pod has proved who it is: it shows a token of its cluster, on a
 * connection on which only the controller has proved itself, with a key that it has made; and is told for that key a
 * certificate of a few hours. One question a connection, JSON lines. Who asks says nothing of what it wants to be.
 */
import { createPublicKey, type KeyObject } from 'node:crypto';
import type { Socket } from 'node:net';
import { readJsonLines, writeJsonLine } from '../../lib/json-lines.ts';
import type { Log } from '../../lib/log.ts';
import { OffshootError, toOffshootError } from '../../model/errors.ts';
import type { WireError } from './messages.ts';

/** By which the door knows what a connection is for (ALPN, RFC 7301). */
export const EXCHANGE = 'offshoot-identity/1';

export type ExchangeRequest = {
  /** Of the service account, for the audience `offshoot`. */
  readonly token: string;
  /** PEM, of the curve P-256. */
  readonly publicKey: string;
};

export type ExchangeAnswer =
  | {
      /** What the certificate says. */
      readonly name: string;
      readonly certificate: string;
      /** Certificates of all authorities that are trusted from now on, PEM. */
      readonly authorities: string;
      /** Milliseconds that the certificate is good for: the clock of who asks may be another one. */
      readonly forMs: number;
    }
  | { readonly error: WireError };

export type ExchangeOptions = {
  /** What a token proves. @throws OffshootError identity/refused, kubernetes/… */
  readonly identify: (token: string, signal: AbortSignal) => Promise<string>;
  readonly certify: (name: string, publicKey: KeyObject) => Exclude<ExchangeAnswer, { error: WireError }>;
  readonly log: Log;
};

/** Longest line either side takes, in characters; tokens have some 1 500. */
export const longestExchange = 64 * 1024;

/** @returns who answers such connections */
export function answerExchanges({ identify, certify, log }: ExchangeOptions): (socket: Socket) => void {
  const patience = new Patience();
  let running = 0;

  async function answer(peer: string, request: unknown, signal: AbortSignal): Promise<ExchangeAnswer> {
    if (!patience.allows(peer) || running >= MAX_AT_ONCE) throw new OffshootError('identity/too-often', {});
    const { token, publicKey } = asRequest(request);
    const key = readKey(publicKey);
    running += 1;
    try {
      const name = await identify(token, signal);
      log.info({ name, peer }, 'a pod has proved who it is');
      return certify(name, key);
    } finally {
      running -= 1;
    }
  }

  return socket => {
    const peer = socket.remoteAddress ?? '';
    const abort = new AbortController();
    const timer = setTimeout(() => socket.destroy(), DEADLINE_MS);
    let asked = false;
    socket.once('close', () => {
      clearTimeout(timer);
      abort.abort(new Error('who asked has left'));
    });
    readJsonLines(socket, {
      maxLength: longestExchange,
      onBroken: () => socket.destroy(),
      onValue(request) {
        if (asked) return void socket.destroy();
        asked = true;
        void answer(peer, request, abort.signal)
          .catch((thrown): ExchangeAnswer => {
            const { code, params, cause } = toOffshootError(thrown);
            if (!abort.signal.aborted)
              log.warn(
                { code, params, peer, ...(code === 'internal' && { err: cause }) },
                'no identity is given',
              );
            return { error: { code, params } };
          })
          .then(said => {
            writeJsonLine(socket, said);
            socket.end();
          });
      },
    });
  };
}

// --- internal ------------------------------------------------------------------------------------

const DEADLINE_MS = 15_000;
/** Questions to the cluster. */
const MAX_AT_ONCE = 32;
/** Of one peer: so many at once, then one in so many milliseconds. A pod asks every few hours. */
const BURST = 20;
const REFILL_MS = 2_000;
const MAX_PEERS = 10_000;

/** @throws OffshootError identity/refused */
function asRequest(value: unknown): ExchangeRequest {
  const { token, publicKey } = (value ?? {}) as Record<string, unknown>;
  const isText = (text: unknown, most: number): text is string =>
    typeof text === 'string' && text.length > 0 && text.length <= most;
  if (!isText(token, 32_768) || !isText(publicKey, 1_024))
    throw new OffshootError('identity/refused', { why: 'it showed no token and key' });
  return { token, publicKey };
}

/** @throws OffshootError identity/refused for whatever is not a key of our curve */
function readKey(pem: string): KeyObject {
  const wrong = () => new OffshootError('identity/refused', { why: 'its key is none of the curve P-256' });
  // A private key is read as its public part, too, and nobody should send one.
  if (!/^-----BEGIN PUBLIC KEY-----/.test(pem)) throw wrong();
  let key: KeyObject;
  try {
    key = createPublicKey(pem);
  } catch {
    throw wrong();
  }
  if (key.asymmetricKeyDetails?.namedCurve !== 'prime256v1') throw wrong();
  return key;
}

/** How often each peer may ask: a bucket that fills again. Peers that have not asked for long are forgotten. */
class Patience {
  readonly #until = new Map<string, number>();

  allows(peer: string): boolean {
    const now = performance.now();
    const full = Math.max(this.#until.get(peer) ?? 0, now) + REFILL_MS;
    if (full - now > BURST * REFILL_MS) return false;
    this.#until.delete(peer); // to the end: the first is the one that has been silent for longest
    this.#until.set(peer, full);
    if (this.#until.size > MAX_PEERS) this.#until.delete(this.#until.keys().next().value!);
    return true;
  }
}
