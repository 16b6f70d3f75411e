/** Whether an engine answers at one of the sockets, now; found by itself when it comes, comes back or goes. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { Listeners } from '../../lib/listeners.ts';
import type { Log } from '../../lib/log.ts';
import { repeat } from '../../lib/repeat.ts';
import { delay, orAborted } from '../../lib/wait.ts';
import { type EngineApi, engineApi } from './api.ts';
import type { FoundEngine } from './contract.ts';

export type There = FoundEngine & { readonly api: EngineApi };

export type Presence = {
  current(): There | undefined;
  /** The last one that there was. */
  last(): FoundEngine | undefined;
  away(): string | undefined;
  whenThere(signal: AbortSignal): Promise<There>;
  onChange(listener: () => void): () => void;
  /** Resolves when it is known whether there is one at first. */
  readonly looked: Promise<void>;
  /** Somebody has seen that it does not answer. */
  lookNow(): void;
  stop(): void;
};

export type PresenceOptions = {
  /** The first that answers is the one; `why`: there is to be none. */
  readonly sockets: readonly string[] | { readonly why: string };
  /** Keeps which one there was, for the next daemon. */
  readonly file: string;
  readonly log: Log;
  /** See door.ts. */
  hasDoors(api: EngineApi): Promise<boolean>;
  /** Called with each that is there anew, before anybody else hears of it. */
  arrived(engine: There): Promise<void>;
};

/** Has looked once when it resolves, for 5 s at most; what takes longer is there later. */
export async function openPresence({ file, log, arrived, ...o }: PresenceOptions): Promise<Presence> {
  const sockets = 'why' in o.sockets ? [] : o.sockets;
  const listeners = new Listeners<void>();
  let current: There | undefined;
  let last: FoundEngine | undefined = 'why' in o.sockets ? undefined : readLast(file);
  let why = 'why' in o.sockets ? o.sockets.why : 'nobody has looked yet';
  let waiting = Promise.withResolvers<There>();
  waiting.promise.catch(() => {});
  const first = Promise.withResolvers<void>();

  if (sockets.length === 0) first.resolve();
  const looking = repeat(
    async () => {
      await look();
      first.resolve();
      return current === undefined ? AWAY_EVERY_MS : THERE_EVERY_MS;
    },
    err => log.warn({ err }, 'cannot look for a container engine'),
  );
  await delay(FIRST_MS, undefined, first.promise);

  return {
    current: () => current,
    last: () => last,
    away: () => (current === undefined ? why : undefined),
    onChange: listeners.add,
    looked: first.promise,
    lookNow: looking.now,
    async whenThere(signal) {
      signal.throwIfAborted();
      return current ?? (await orAborted(waiting.promise, signal));
    },
    stop: () => void looking.stop(),
  };

  async function look(): Promise<void> {
    if (current !== undefined) {
      try {
        await current.api.ping();
        return;
      } catch (error) {
        gone(current, error as Error);
      }
    }
    for (const socket of sockets) {
      if (!existsSync(socket)) continue;
      const api = engineApi(socket);
      try {
        const title = await api.title();
        // Podman enters a network by its path, Docker that of another container of its own.
        const byPath = title.startsWith('Podman');
        const byDoors = !byPath && (await o.hasDoors(api));
        const found = { title, socket, api, joinsNetworks: byPath || byDoors, ...(byDoors && { byDoors }) };
        await arrived(found);
        came(found);
        return;
      } catch (error) {
        why = `${socket} does not answer (${(error as NodeJS.ErrnoException).code ?? (error as Error).message})`;
      }
    }
    if (sockets.length > 0 && !sockets.some(existsSync)) why = `there is nothing at ${sockets.join(', ')}`;
  }

  function came(found: There): void {
    current = found;
    const { api, ...words } = found;
    last = words;
    try {
      writeFileSync(file, JSON.stringify(words), { mode: 0o600 });
    } catch (err) {
      log.warn({ err }, 'cannot note which container engine there is');
    }
    log.info(words, 'images without an entry run in a container engine');
    waiting.resolve(found);
    listeners.tell();
  }

  function gone({ socket }: There, error: Error): void {
    current = undefined;
    why = `${socket} does not answer (${(error as NodeJS.ErrnoException).code ?? error.message})`;
    waiting = Promise.withResolvers<There>();
    waiting.promise.catch(() => {});
    log.warn({ socket, err: error }, 'the container engine does not answer');
    listeners.tell();
  }
}

// --- internal -----------------------------------------------------------------------------------

const FIRST_MS = 5_000;
const AWAY_EVERY_MS = 500;
const THERE_EVERY_MS = 2_000;

function readLast(file: string): FoundEngine | undefined {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as FoundEngine;
  } catch {
    return undefined; // there was none
  }
}
