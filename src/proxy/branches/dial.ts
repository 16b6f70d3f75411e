/** The way to a branch node's door: from gateways to the servers of its branches, and for what a controller asks. */
import type { Socket } from 'node:net';
import { connect } from 'node:tls';
import { channel } from '../../lib/channel.ts';
import { type IdentitySource, isServer } from '../../lib/identity.ts';
import { readJsonLines, writeJsonLine } from '../../lib/json-lines.ts';
import { isErrorCode, OffshootError } from '../../model/errors.ts';
import type { NodeDoor } from '../../model/route.ts';
import { firstLine } from './first-line.ts';
import {
  type DoorAnswer,
  type DoorRequest,
  longestAnswer,
  longestRequest,
  nodeIdentity,
} from './messages.ts';

/**
 * A connection to the server of a branch. It lives at most until `signal` aborts.
 * @throws OffshootError what the node says; the system's error when it cannot be reached, or when it is another one
 */
export const dialBranch = (
  { branch, ...door }: NodeDoor & { readonly branch: string },
  identity: IdentitySource,
  signal: AbortSignal,
): Promise<Socket> => ask(door, { want: 'branch', id: branch }, identity, signal);

/** The one answer to a question. @throws as `dialBranch` */
export async function askNode<T>(
  door: NodeDoor,
  request: Extract<DoorRequest, { want: 'space' | 'unclaimed' | 'insight' }>,
  identity: IdentitySource,
  signal: AbortSignal,
): Promise<T> {
  const socket = await ask(door, request, identity, signal);
  try {
    return (await firstLine(socket, longestAnswer, signal)) as T;
  } finally {
    socket.destroy();
  }
}

/** Lines of a log, until it ends or the signal aborts, which is no error. @throws as `dialBranch` */
export async function* askForLog(
  door: NodeDoor,
  request: Extract<DoorRequest, { want: 'logs' }>,
  identity: IdentitySource,
  signal: AbortSignal,
): AsyncGenerator<string, void> {
  const socket = await ask(door, request, identity, signal);
  const lines = channel<string>();
  socket.once('close', lines.end);
  socket.once('end', lines.end);
  readJsonLines(socket, {
    maxLength: longestAnswer,
    onBroken: () => socket.destroy(),
    onValue(line) {
      // What is not taken fills the connection, and the node waits.
      socket.pause();
      void lines.give(String(line)).then(() => socket.resume());
    },
  });
  try {
    yield* lines;
  } finally {
    socket.destroy();
  }
}

// --- internal ------------------------------------------------------------------------------------

/** Where its pod was when it was last heard of; and if it has another one now, where that is. */
async function ask(
  door: NodeDoor,
  request: DoorRequest,
  identity: IdentitySource,
  signal: AbortSignal,
): Promise<Socket> {
  try {
    return await askAt(door, request, identity, signal);
  } catch (error) {
    if (signal.aborted || error instanceof OffshootError || door.name === undefined) throw error;
    return await askAt({ ...door, host: door.name }, request, identity, signal);
  }
}

/** For the handshake: a machine that has lost its power says nothing at all. */
const REACH_MS = 5_000;
const KEEP_ALIVE_MS = 30_000;

async function askAt(
  { host, port, node }: NodeDoor,
  request: DoorRequest,
  identity: IdentitySource,
  signal: AbortSignal,
): Promise<Socket> {
  signal.throwIfAborted();
  const { cert, key, ca } = identity.read();
  const socket = connect({
    ...{ host, port, cert, key, ca, minVersion: 'TLSv1.3' },
    // By what it is, not by where: addresses of pods come and go.
    checkServerIdentity: isServer(nodeIdentity(node)),
  });
  socket.setNoDelay(true);
  socket.setKeepAlive(true, KEEP_ALIVE_MS);
  const timer = setTimeout(() => socket.destroy(new Error(`branch node ${node} does not answer`)), REACH_MS);
  socket.once('secureConnect', () => clearTimeout(timer));
  socket.once('close', () => clearTimeout(timer));
  const failed = Promise.withResolvers<never>();
  failed.promise.catch(() => {}); // thrown below, or of no interest any more
  socket.on('error', failed.reject); // "close" follows
  const stop = () => void socket.destroy(signal.reason as Error);
  signal.addEventListener('abort', stop, { once: true });
  socket.once('close', () => signal.removeEventListener('abort', stop));
  try {
    // It waits for the handshake by itself.
    writeJsonLine(socket, request);
    const answer = (await Promise.race([
      firstLine(socket, longestRequest * 8, signal),
      failed.promise,
    ])) as DoorAnswer;
    if ('ok' in answer) return socket;
    const { code, params } = answer.error;
    throw isErrorCode(code) ? new OffshootError(code, params) : new Error(`branch node ${node} says ${code}`);
  } catch (error) {
    socket.destroy();
    throw error;
  }
}
