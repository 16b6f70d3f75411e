/** Asks a server what it has stored of a role's password: the one statement that the gateway ever runs by itself. */
import { KeyedLock } from '../../lib/lock.ts';
import { parseVerifier, type Verifier } from '../../lib/scram.ts';
import { adminRole } from '../../model/branch.ts';
import type { Endpoint } from '../../model/route.ts';
import { encodeStartup, refusalCode } from './codec.ts';
import { cstring, encodeMessage, int32, readMessage } from './messages.ts';
import { prove, withPassword } from './sasl.ts';
import { connectAs } from './socket.ts';

/** @param role as the client has sent it, one byte per character. @returns undefined when nothing could open it */
export type Verifiers = (
  endpoint: Endpoint,
  role: string,
  signal: AbortSignal,
) => Promise<Verifier | undefined>;

/** @param secret of the superuser, asked for when it is needed first. Rejects when the server does not answer as it should. */
export function askForVerifiers(secret: () => string, connect = connectAs()): Verifiers {
  let keys: ReturnType<typeof withPassword> | undefined;
  const turns = new KeyedLock();
  const ask = async (
    endpoint: Endpoint,
    role: string,
    outer: AbortSignal,
    options = OPTIONS,
  ): Promise<Verifier | undefined> => {
    outer.throwIfAborted();
    const signal = AbortSignal.any([outer, AbortSignal.timeout(DEADLINE_MS)]);
    const server = await connect(endpoint, signal);
    // What waits for a message is not told when there will be none.
    const gone = new AbortController();
    server.once('close', () => gone.abort(new Error('the server has hung up')));
    const live = AbortSignal.any([signal, gone.signal]);
    let ready = 0;
    try {
      server.write(
        encodeStartup({ version: 0x3_0000, params: new Map(Object.entries({ ...STARTUP, options })) }),
      );
      keys ??= withPassword(secret());
      const refusal = await prove(server, await readMessage(server, live), keys, live);
      if (refusal !== undefined) throw new Error(`the server refuses ${adminRole}`);
      server.write(question(role));
      let found: string | undefined;
      for (; ready < 2; ) {
        const { type, body, whole } = await readMessage(server, live);
        // Bytes that are no text there cannot be the name of a role.
        if (type === 'E' && refusalCode(whole) !== NO_TEXT)
          throw new Error('the server does not say what it has stored');
        if (type === 'D' && body.readInt32BE(2) >= 0) found = body.toString('latin1', 6);
        if (type === 'Z') ready++; // after the login, and after the statement
      }
      server.end(encodeMessage('X'));
      return found === undefined ? undefined : parseVerifier(found);
    } catch (error) {
      // Before version 17 there are no event triggers at a login, and a setting that a server does not know ends the session.
      if (ready > 0 || options !== OPTIONS || outer.aborted) throw error;
      return await ask(endpoint, role, outer, OPTIONS_BEFORE_17);
    } finally {
      server.destroySoon();
    }
  };
  // One at a time for each server: of the places that it has for sessions a crowd of logins would take twice as many.
  return (endpoint, role, signal) => turns.run(JSON.stringify(endpoint), () => ask(endpoint, role, signal));
}

// --- internal ------------------------------------------------------------------------------------

const DEADLINE_MS = 10_000;

/** character_not_in_repertoire (appendix "PostgreSQL Error Codes"). */
const NO_TEXT = '22021';

/** Nothing that owners of databases can set gets between. */
const STARTUP = {
  user: adminRole,
  database: 'postgres',
  client_encoding: 'SQL_ASCII',
  application_name: 'offshoot gateway',
};

const OPTIONS_BEFORE_17 = '-c search_path=pg_catalog -c default_transaction_read_only=on';
const OPTIONS = `${OPTIONS_BEFORE_17} -c event_triggers=off`;

/** The server cuts names as it does for a login. */
const STATEMENT = 'select rolpassword from pg_catalog.pg_authid where rolname = $1::name';

/** "Extended Query": Parse, Bind, Execute, Sync; the role is a parameter. */
function question(role: string): Buffer {
  const value = Buffer.from(role, 'latin1');
  const [none, one] = [Buffer.of(0, 0), Buffer.of(0, 1)];
  return Buffer.concat([
    encodeMessage('P', cstring(''), cstring(STATEMENT), none),
    encodeMessage('B', cstring(''), cstring(''), none, one, int32(value.length), value, none),
    encodeMessage('E', cstring(''), int32(1)),
    encodeMessage('S'),
  ]);
}
