/**
 * An identity by a pod's token: asked for at the start, and again when half of its time has passed; until it has ended, the
 * one before is good. See exchange.ts.
 */
import { generateKeyPairSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { connect as connectTls } from 'node:tls';
import { certificatesIn, fileIdentity, type Identity, type IdentitySource } from '../../lib/identity.ts';
import { readJsonLines, writeJsonLine } from '../../lib/json-lines.ts';
import { Listeners } from '../../lib/listeners.ts';
import type { Log } from '../../lib/log.ts';
import { backoffMs, delay } from '../../lib/wait.ts';
import { isErrorCode, OffshootError } from '../../model/errors.ts';
import type { Address } from '../../model/route.ts';
import { EXCHANGE, type ExchangeAnswer, longestExchange } from './exchange.ts';

/** As a role is told it. */
export type IdentityFrom =
  /** See lib/identity.ts. */
  | { readonly file: string }
  /** Files; `authorities` may be PEM itself. */
  | { readonly token: string; readonly authorities: string };

/** @throws an error that says which file cannot be read, or what it lacks */
export function openIdentity(from: IdentityFrom, controller: Address, log: Log): IdentitySource {
  if ('file' in from) return fileIdentity(from.file);
  const { token } = from;
  const authorities = () =>
    from.authorities.includes('-----BEGIN') ? from.authorities : readFileSync(from.authorities, 'utf8');
  if (certificatesIn(authorities()).length === 0)
    throw new Error(`there is no certificate of an authority in ${from.authorities.slice(0, 200)}`);
  return tokenIdentity({ controller, token, authorities, log });
}

export type TokenIdentityOptions = {
  readonly controller: Address;
  /** File that the kubelet writes, and renews. */
  readonly token: string;
  /** Certificates of the authorities by which the controller is known at first, PEM. What it says later counts as well. */
  readonly authorities: () => string;
  readonly log: Log;
  /** Milliseconds of the shortest and longest pause after a failure, default 100 and 10 000. */
  readonly pauseMs?: readonly [number, number];
};

/** It never gives up; `read` throws OffshootError identity/none as long as there is none. */
export function tokenIdentity(o: TokenIdentityOptions): IdentitySource {
  const { controller, log, pauseMs: [shortest, longest] = [100, 10_000] } = o;
  const stopping = new AbortController();
  const { signal } = stopping;
  const ready = Promise.withResolvers<void>();
  const renewed = new Listeners<void>();
  let current: (Identity & { readonly until: number }) | undefined;
  /** Told by the controller; what is on this machine may be older, or newer. */
  let told: readonly string[] = [];
  let why = 'it has not answered yet';

  async function run(): Promise<void> {
    for (let failures = 0; !signal.aborted; ) {
      try {
        const own = certificatesIn(o.authorities());
        const { forMs, ...identity } = await ask(o, [...new Set([...own, ...told])], signal);
        failures = 0;
        told = certificatesIn(identity.ca);
        current = { ...identity, until: performance.now() + forMs };
        ready.resolve();
        renewed.tell();
        await delay(forMs * (0.4 + Math.random() * 0.2), signal).catch(() => {});
      } catch (error) {
        if (signal.aborted) return;
        const before = why;
        why = (error as Error).message;
        log[why === before ? 'debug' : 'warn']({ why, controller }, 'no identity yet, it is tried again');
        await delay(backoffMs(failures++, shortest, longest), signal).catch(() => {});
      }
    }
  }
  void run();

  return {
    read() {
      if (current === undefined || performance.now() > current.until) {
        const { host, port } = controller;
        throw new OffshootError('identity/none', { why, controller: `${host}:${port}` });
      }
      return current;
    },
    ready: ready.promise,
    onRenewed: renewed.add,
    close: () => stopping.abort(new Error('the identity is not needed any more')),
  };
}

// --- internal ------------------------------------------------------------------------------------

const DEADLINE_MS = 20_000;

/** @throws OffshootError what the controller says; the system's error when it cannot be reached */
function ask(
  { controller: { host, port }, token }: TokenIdentityOptions,
  authorities: readonly string[],
  signal: AbortSignal,
): Promise<Identity & { readonly forMs: number }> {
  const { publicKey, privateKey } = generateKeyPairSync('ec', {
    namedCurve: 'P-256',
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  });
  const said = readFileSync(token, 'utf8').trim();
  const { promise, resolve, reject } = Promise.withResolvers<Identity & { readonly forMs: number }>();
  const socket = connectTls({
    ...{ host, port, ca: [...authorities], minVersion: 'TLSv1.3', ALPNProtocols: [EXCHANGE] },
  });
  const limit = AbortSignal.any([signal, AbortSignal.timeout(DEADLINE_MS)]);
  const stop = () => void socket.destroy(limit.reason);
  limit.addEventListener('abort', stop, { once: true });
  socket.on('error', reject);
  socket.once('close', () => {
    limit.removeEventListener('abort', stop);
    reject(new Error('the controller has ended the connection without an answer'));
  });
  socket.once('secureConnect', () => {
    // A daemon that gives no identities knows nothing of this.
    if (socket.alpnProtocol !== EXCHANGE) return void socket.destroy(new Error('it gives no identities'));
    writeJsonLine(socket, { token: said, publicKey });
  });
  readJsonLines(socket, {
    maxLength: longestExchange,
    onBroken: what => socket.destroy(new Error(`the controller says ${what}`)),
    onValue(value) {
      const answer = value as ExchangeAnswer;
      if ('error' in answer) {
        const { code, params } = answer.error;
        return reject(isErrorCode(code) ? new OffshootError(code, params) : new Error(`it says ${code}`));
      }
      const { certificate, authorities: ca, forMs } = answer;
      resolve({ cert: certificate, key: privateKey, ca, forMs });
    },
  });
  return promise.finally(() => socket.destroy());
}
