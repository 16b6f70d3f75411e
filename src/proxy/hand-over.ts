/**
 * How one proxy takes the place of another without a moment in which nobody listens: the old one starts the new one
 * with its listening sockets as further descriptors. Both accept from the same queues until the new one says that it
 * is ready; then the old one closes its copies.
 *
 * Between the two there is a channel, the descriptor 3 of the new one, for as long as both live: a request to cancel a
 * statement comes to the new proxy, and the statement may run in a session of the old one.
 */
import { spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { Socket } from 'node:net';
import { readJsonLines, writeJsonLine } from '../lib/json-lines.ts';
import type { Endpoint } from '../model/route.ts';
import type { Inherited } from './listeners.ts';
import type { Command } from './stream/messages.ts';

/** Keys of sessions, as the gateway keeps them. */
export type SharedKeys = {
  remember(key: Buffer, endpoint: Endpoint): () => void;
  follow(listener: (key: Buffer, endpoint?: Endpoint) => void): void;
};

/** The variable in which a new proxy finds what it inherits. */
export const inheritedVariable = 'OFFSHOOT_PROXY_INHERITED';

/**
 * Starts a successor, and resolves when it serves. From then on it learns the keys of our sessions.
 * @param outFile what it prints is added to it
 * @throws Error when it does not come up; then nothing of it is left
 */
export async function startSuccessor(
  { program, args, env }: Command,
  sockets: readonly Inherited[],
  keys: SharedKeys,
  outFile: string,
): Promise<void> {
  const inherited = sockets.map((socket, i) => ({ ...socket, fd: CHANNEL + 1 + i }));
  const out = openSync(outFile, 'a', 0o600);
  const child = spawn(program, args, {
    cwd: '/',
    detached: true,
    env: { ...env, [inheritedVariable]: JSON.stringify(inherited) },
    stdio: ['ignore', out, out, 'pipe', ...sockets.map(({ fd }) => fd)],
  });
  closeSync(out);
  const channel = child.stdio[CHANNEL] as Socket | undefined;
  try {
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`it was not ready after ${READY_MS} ms`)), READY_MS);
      const fail = (why: string) => {
        clearTimeout(timer);
        reject(new Error(why));
      };
      child.on('error', error => fail(error.message));
      child.on('exit', (code, signal) => fail(`it ended with ${signal ?? `exit code ${code}`}`));
      if (channel === undefined) return;
      channel.on('error', () => {}); // it ends, and that is heard of above
      readJsonLines(channel, {
        maxLength: 1_000,
        onValue() {
          clearTimeout(timer);
          resolve();
        },
        onBroken: fail,
      });
    });
  } catch (error) {
    child.kill('SIGKILL');
    channel?.destroy();
    throw error;
  }
  child.unref();
  keys.follow((key, endpoint) => {
    const line: KeyLine = { key: key.toString('hex'), ...(endpoint && { endpoint }) };
    writeJsonLine(channel!, line);
  });
}

/** The other side: what a predecessor has given us, and how to tell it that we serve. */
export type Predecessor = { readonly sockets: readonly Inherited[]; ready(): void };

/** @param text value of `inheritedVariable`; undefined: nobody was there before us */
export function meetPredecessor(text: string | undefined, keys: SharedKeys): Predecessor {
  if (text === undefined) return { sockets: [], ready() {} };
  const channel = new Socket({ fd: CHANNEL, readable: true, writable: true });
  const forgetters = new Map<string, () => void>();
  channel.on('error', () => {}); // "close" follows
  channel.on('close', () => {
    for (const forget of forgetters.values()) forget();
  });
  readJsonLines(channel, {
    maxLength: 10_000,
    onValue(value) {
      const { key, endpoint } = value as KeyLine;
      if (endpoint !== undefined)
        return forgetters.set(key, keys.remember(Buffer.from(key, 'hex'), endpoint));
      forgetters.get(key)?.();
      return forgetters.delete(key);
    },
    onBroken: () => channel.destroy(),
  });
  channel.unref();
  return {
    sockets: JSON.parse(text) as Inherited[],
    ready: () => writeJsonLine(channel, { ready: true }),
  };
}

// --- internal ---

/** First descriptor behind standard error. */
const CHANNEL = 3;
const READY_MS = 10_000;

type KeyLine = { readonly key: string; readonly endpoint?: Endpoint };
