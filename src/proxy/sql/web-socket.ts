/** A session over WebSocket: binary messages with the bytes of PostgreSQL's protocol, in any portions. */
import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Log } from '../../lib/log.ts';
import { parseOpening } from '../postgres/codec.ts';
import { encodeMessage, readMessage } from '../postgres/messages.ts';
import { prove, withPassword } from '../postgres/sasl.ts';

/** Takes the connection over from `response`. */
export function serveWebSocket(
  request: IncomingMessage,
  response: ServerResponse,
  head: Buffer,
  { join, log, loginMs }: { join: (peer: string) => Socket; log: Log; loginMs: number },
): void {
  const { socket } = request;
  const peer = socket.remoteAddress ?? '';
  response.detachSocket(socket);
  void accept(request, head)
    .then(client => meet(client, join(peer), AbortSignal.timeout(loginMs)))
    .catch(error => {
      log.debug({ err: error }, 'a session over WebSocket ended');
      socket.destroy();
    });
}

// --- internal ------------------------------------------------------------------------------------

/** Largest message, in bytes: clients cut what they send as they like. */
const MAX_MESSAGE = 32 << 20;

async function accept(request: IncomingMessage, head: Buffer): Promise<Duplex> {
  const { WebSocketServer, createWebSocketStream } = await import('ws');
  const server = new WebSocketServer({ noServer: true, perMessageDeflate: false, maxPayload: MAX_MESSAGE });
  return await new Promise((resolve, reject) => {
    request.socket.once('close', () => reject(new Error('the client left')));
    server.handleUpgrade(request, request.socket, head, client => {
      resolve(createWebSocketStream(client, { readableObjectMode: false }));
    });
  });
}

/** Joins a client and the gateway. Rejects when one of them breaks off. */
async function meet(client: Duplex, gateway: Socket, signal: AbortSignal): Promise<void> {
  const cut = () => {
    client.destroy();
    gateway.destroy();
  };
  // What waits for a message is not told when there will be none.
  const left = new AbortController();
  const leave = () => left.abort(new Error('one side has hung up'));
  for (const side of [client, gateway]) side.on('error', cut).once('end', leave).once('close', leave);
  try {
    await begin(client, gateway, AbortSignal.any([signal, left.signal]));
  } catch (error) {
    cut();
    throw error;
  }
  client.once('close', () => gateway.destroySoon());
  gateway.pipe(client);
  client.pipe(gateway);
}

/**
 * Passes the startup message on. A client that has sent its password behind it, before anybody has asked, saves the
 * round trips of a login: it is logged in by SCRAM, and hears of the outcome alone.
 */
async function begin(client: Duplex, gateway: Socket, signal: AbortSignal): Promise<void> {
  let bytes: Buffer = Buffer.alloc(0);
  let parsed: ReturnType<typeof parseOpening>;
  while (parsed === undefined) {
    bytes = Buffer.concat([bytes, await readSome(client, signal)]);
    parsed = parseOpening(bytes); // throws on what cannot become one, and on what is too long
  }
  const { size } = parsed;
  const rest = bytes.subarray(size);
  gateway.write(bytes.subarray(0, size));
  const isPassword = parsed.opening.kind === 'startup' && rest[0] === PASSWORD;
  if (rest.length > 0) client.unshift(rest);
  if (!isPassword) return;
  const { body } = await readMessage(client as Socket, signal);
  const password = body.toString('utf8', 0, body.length - 1);
  let request = await readMessage(gateway, signal);
  // NegotiateProtocolVersion, or a refusal.
  for (; request.type !== 'R' && request.type !== 'E'; request = await readMessage(gateway, signal))
    client.write(request.whole);
  const refusal =
    request.type === 'E' ? request : await prove(gateway, request, withPassword(password), signal);
  if (refusal !== undefined) client.write(encodeMessage('E', refusal.body));
}

/** "PasswordMessage (F)". */
const PASSWORD = 'p'.charCodeAt(0);

async function readSome(client: Duplex, signal: AbortSignal): Promise<Buffer> {
  for (;;) {
    const bytes: Buffer | null = client.read();
    if (bytes !== null) return bytes;
    await once(client, 'readable', { signal });
  }
}
