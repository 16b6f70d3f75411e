/**
 * What those hear who name a branch, or a role, that is not there: what one that is there would say, until they have
 * answered with a password.
 */
import { createHmac } from 'node:crypto';
import type { Verifier } from '../../lib/scram.ts';
import type { Startup } from './codec.ts';
import { cstring, encodeMessage, int32 } from './messages.ts';

export type Pretence = {
  /** What a role might have stored: the same for the same names, as a real one. */
  verifier(branch: string, role: string): Verifier;
  /** NegotiateProtocolVersion where servers have one for such a startup message, else nothing. */
  greeting(startup: Startup): Buffer;
  /** @param answer the body of NegotiateProtocolVersion by which a server has answered; undefined: it took it as it was */
  learn(startup: Startup, answer?: Buffer): void;
};

/** @param secret that stays the same after a restart, as what servers have stored does; asked for when it is needed first */
export function createPretence(secret: () => string): Pretence {
  let key: string | undefined;
  let newest = NEWEST_MINOR;
  return {
    verifier(branch, role) {
      key ??= secret();
      const of = (what: string) => createHmac('sha256', key!).update(`${what}\0${branch}\0${role}`).digest();
      return {
        iterations: 4096,
        salt: of('salt').subarray(0, 16),
        storedKey: of('key'),
        serverKey: of('server'),
      };
    },
    greeting({ version, params }) {
      const unknown = [...params.keys()].filter(name => name.startsWith(OPTION));
      if (minorOf(version) <= newest && unknown.length === 0) return Buffer.alloc(0);
      // "NegotiateProtocolVersion (B)"; PostgreSQL puts the whole version where the page says its minor part.
      const said = MAJOR | Math.min(minorOf(version), newest);
      return encodeMessage('v', int32(said), int32(unknown.length), ...unknown.map(cstring));
    },
    learn({ version }, answer) {
      if (answer === undefined) newest = Math.max(newest, minorOf(version));
      else if (answer.length >= 4 && minorOf(version) > minorOf(answer.readInt32BE(0)))
        newest = minorOf(answer.readInt32BE(0));
    },
  };
}

// --- internal ------------------------------------------------------------------------------------

/** Of PostgreSQL 18, until a server has said another. */
const NEWEST_MINOR = 2;
const MAJOR = 3 << 16;
const minorOf = (version: number): number => version & 0xffff;

/** Names of protocol extensions ("StartupMessage (F)"). */
const OPTION = '_pq_.';
