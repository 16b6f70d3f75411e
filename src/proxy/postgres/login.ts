/**
 * The login between client and server. Passwords and SCRAM messages pass untouched; the gateway only reads
 * along on the server's side until the session begins.
 */
import type { Socket } from 'node:net';
import { refusalCode, scanLogin } from './codec.ts';
import { CANNOT_CONNECT_NOW, type Patience } from './starting.ts';

/**
 * Passes the server's messages to the client up to ReadyForQuery, whole messages only, so that the gateway may
 * put in an error of its own at any time.
 * @param on gets the bodies of BackendKeyData and NegotiateProtocolVersion
 * @returns ready, with `server` paused; refused when the server has said no and has hung up; wrong-password when it
 * says so, which the client has not heard: it must not sound other than for a branch that is not there; starting when there is
 * time to ask again, and the client has heard nothing.
 * @throws RangeError on bytes that are no login; Error when the server hangs up without a word.
 */
export function relayLogin(
  server: Socket,
  client: Socket,
  on: {
    readonly cancelKey: (body: Buffer) => void;
    readonly negotiation: (body: Buffer) => void;
    /** Absent when the client has been told something by us. */
    readonly patience?: Patience | undefined;
    /** What the server has said behind ReadyForQuery, which the client has been told. */
    readonly rest?: (bytes: Buffer) => void;
  },
): Promise<'ready' | 'refused' | 'wrong-password' | 'starting'> {
  return new Promise((resolve, reject) => {
    let held: Buffer = Buffer.alloc(0);
    let refused = false;
    let { patience } = on;
    const stop = () => {
      server.off('data', onData);
      server.off('close', onClose);
    };
    const onData = (chunk: Buffer) => {
      try {
        held = Buffer.concat([held, chunk]);
        const { size, cancelKey, negotiation, outcome, refusalAt } = scanLogin(held);
        const code = refusalAt === undefined ? undefined : refusalCode(held.subarray(refusalAt));
        if (patience !== undefined) {
          // What is negotiated comes first, also before a no.
          const saidNothing = size === 0 || size === HEAD_BYTES + (negotiation?.length ?? 0);
          if (saidNothing) return;
          if (code === CANNOT_CONNECT_NOW && patience.patient) {
            stop();
            return resolve('starting');
          }
          patience.answered();
          patience = undefined;
        }
        if (code === INVALID_PASSWORD) {
          client.write(held.subarray(0, refusalAt));
          stop();
          return resolve('wrong-password');
        }
        if (negotiation !== undefined) on.negotiation(negotiation);
        if (cancelKey !== undefined) on.cancelKey(cancelKey);
        const ready = outcome === 'ready';
        // What follows ReadyForQuery belongs to the session, where messages are not told apart any more.
        if (!client.write(held.subarray(0, ready ? undefined : size))) {
          server.pause();
          client.once('drain', () => server.resume());
        }
        held = held.subarray(size);
        refused ||= outcome === 'refused';
        if (!ready) return;
        stop();
        on.rest?.(held);
        server.pause(); // nobody listens until the sockets are joined
        resolve('ready');
      } catch (error) {
        stop();
        reject(error);
      }
    };
    const onClose = () => {
      stop();
      if (refused) resolve('refused');
      else reject(new Error('the server closed the connection during login'));
    };
    server.on('data', onData);
    server.on('close', onClose);
  });
}

// --- internal ------------------------------------------------------------------------------------

/** invalid_password (appendix "PostgreSQL Error Codes"). */
const INVALID_PASSWORD = '28P01';

/** Type and length of a message. */
const HEAD_BYTES = 5;
