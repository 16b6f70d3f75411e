/** Connections to workloads: one pool per address, as long as the route book has the address. */
import type { buildConnector } from 'undici';
import { type Dial, dial as dialHere } from '../../lib/dial.ts';
import { type Address, addressKey, type RouteChanged } from '../../model/route.ts';
import { readOnAfterFailedWrite } from '../read-on.ts';
import { createSessions, type Sessions } from './http2-sessions.ts';
import type { Limits } from './limits.ts';
import type { Pool } from './undici.ts';
import { dialInTime, RESET } from './upstream-error.ts';

export type Upstreams = {
  /** Whether addresses can be asked; who asks before `load` has resolved fails. */
  isLoaded(): boolean;
  /** It is done when somebody asks: a sidecar that nobody asks is 4 MB smaller. */
  load(): Promise<void>;
  to(address: Address): Pool;
  /** The same for HTTP/2. */
  sessionsTo(address: Address): Sessions;
  /** Lets go of the addresses that are in nothing of the book any more; what is in flight there goes on to its end. */
  follow(changed: readonly RouteChanged[]): void;
  /** Ends everything, also what is in flight. */
  destroy(): Promise<void>;
};

export function createUpstreams(limits: Limits, dial: Dial = dialHere): Upstreams {
  let undici: typeof import('./undici.ts') | undefined;
  const pools = new Map<string, Pool>();
  const sessions = new Map<string, Sessions>();
  const ending = new Set<Pool>();
  /** How many workloads and forks of the book have an address. */
  const uses = new Map<string, number>();

  const count = (address: Address, by: number): void => {
    const origin = originOf(address);
    const left = (uses.get(origin) ?? 0) + by;
    if (left > 0) uses.set(origin, left);
    else uses.delete(origin);
  };

  return {
    isLoaded: () => undici !== undefined,
    async load() {
      undici = await import('./undici.ts');
    },
    to(address) {
      const origin = originOf(address);
      let pool = pools.get(origin);
      if (pool === undefined) {
        pool = new undici!.Pool(origin, {
          connect: connector(dial, limits.connectMs),
          headersTimeout: limits.idleMs,
          bodyTimeout: limits.idleMs,
          maxHeaderSize: limits.headerBytes,
        });
        pools.set(origin, pool);
      }
      return pool;
    },
    sessionsTo(address) {
      const origin = originOf(address);
      let found = sessions.get(origin);
      if (found === undefined) {
        found = createSessions(address, limits, dial);
        sessions.set(origin, found);
      }
      return found;
    },
    follow(changed) {
      const lost = changed.flatMap(change => addressesOf(change, 'before'));
      for (const change of changed) for (const address of addressesOf(change, 'value')) count(address, 1);
      for (const address of lost) count(address, -1);
      for (const origin of lost.map(originOf)) {
        if (uses.has(origin)) continue;
        sessions.get(origin)?.close();
        sessions.delete(origin);
        const pool = pools.get(origin);
        if (pool === undefined) continue;
        pools.delete(origin);
        ending.add(pool);
        const gone = () => ending.delete(pool);
        pool.close().then(gone, gone);
      }
    },
    async destroy() {
      for (const one of sessions.values()) one.destroy();
      await Promise.all([...pools.values(), ...ending].map(pool => pool.destroy()));
    },
  };
}

// --- internal ---

const originOf = (address: Address): string => `http://${addressKey(address)}`;

function addressesOf(change: RouteChanged, when: 'before' | 'value'): readonly Address[] {
  if (change.kind !== 'workload' && change.kind !== 'fork') return [];
  const target = change[when]?.target;
  return target?.ready ? Object.values(target.ports).flat() : [];
}

/**
 * undici takes a reset connection for the end of a body that has no length, so a truncated response would
 * look complete. It asks for the error's code; our listener comes first and gives it another one.
 */
function connector(dial: Dial, connectMs: number): buildConnector.connector {
  return ({ hostname, port }, callback) => {
    dialInTime(dial, { host: hostname, port: Number(port || 80) }, connectMs).then(
      socket => {
        socket.on('error', (error: NodeJS.ErrnoException) => {
          if (error.code === 'ECONNRESET') error.code = RESET;
        });
        readOnAfterFailedWrite(socket);
        callback(null, socket);
      },
      error => callback(error, null),
    );
  };
}
