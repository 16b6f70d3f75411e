/** Logins that are checked here, because they may be bound to a connection that ends here. */
import type { Socket } from 'node:net';
import type { Verifier } from '../../lib/scram.ts';
import { OffshootError } from '../../model/errors.ts';
import type { Endpoint } from '../../model/route.ts';
import { refusalCode, type Startup } from './codec.ts';
import { readMessage } from './messages.ts';
import { challenge, prove } from './sasl.ts';
import { ignore } from './socket.ts';
import { CANNOT_CONNECT_NOW, type Patience } from './starting.ts';
import type { Verifiers } from './verifiers.ts';

export type Login = {
  readonly startup: Startup;
  /** To which a client may bind its login; undefined: there is no TLS. */
  readonly endPoint: Buffer | undefined;
};

/** What a client has proved to know, and what its server knows: with both a session is opened in its name. */
export type Keys = { readonly clientKey: Buffer; readonly serverKey: Buffer };

/**
 * The connection to the server is not the client's, so a login that is bound to the client's has to end here: it is
 * checked as the server would, and what the client has proved to know opens the session there.
 * @returns what opens a session there, when the server has taken it, whose next message is AuthenticationOk; refused: what it
 * said has been passed on; starting: that is all it has said, and the client has heard nothing
 */
export async function logInFor(
  client: Socket,
  server: Socket,
  endpoint: Endpoint,
  { startup, endPoint }: Login,
  o: {
    readonly verifiers: Verifiers;
    /** By which those are asked for a password whose role has none, or is not there. */
    readonly instead: () => Verifier;
    /** See relayLogin. */
    readonly onNegotiation: (body: Buffer) => void;
    readonly patience: Patience;
    readonly stop: AbortSignal;
  },
): Promise<Keys | 'refused' | 'starting'> {
  const gone = new AbortController();
  const onGone = () => gone.abort(new Error('the server closed the connection during login'));
  server.once('close', onGone);
  const signal = AbortSignal.any([o.stop, gone.signal]);
  try {
    const user = startup.params.get('user') ?? '';
    const stored = o.verifiers(endpoint, user, signal);
    stored.catch(ignore); // the server may refuse before it is asked for
    const before: Buffer[] = [];
    let request = await readMessage(server, signal);
    for (; request.type !== 'R'; request = await readMessage(server, signal)) {
      const { type, body, whole } = request;
      if (type === 'E' && refusalCode(whole) === CANNOT_CONNECT_NOW && o.patience.patient) return 'starting';
      before.push(whole);
      if (type === 'E') client.write(Buffer.concat(before));
      if (type === 'E') return 'refused';
      if (type === 'v') o.onNegotiation(body);
    }
    o.patience.answered();
    client.write(Buffer.concat(before));
    const { clientKey, verifier, final } = await challenge(client, {
      ...{ verifier: await stored, instead: o.instead },
      ...{ endPoint, user, signal },
    });
    const keys = { clientKey, serverKey: verifier.serverKey };
    const refusal = await prove(server, request, () => keys, signal);
    // Its password was changed in this moment.
    if (refusal !== undefined) throw new OffshootError('gateway/login-failed', { user });
    client.write(final);
    return keys;
  } finally {
    server.off('close', onGone);
  }
}
