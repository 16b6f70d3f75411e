/** Connections to workloads: one pool per address, as long as the route table has the address. */
import { buildConnector, Pool } from 'undici';
import type { Address, RouteTable } from '../../model/route.ts';
import type { Limits } from './limits.ts';
import { readOnAfterFailedWrite } from './read-on.ts';
import { RESET } from './upstream-error.ts';

export type Upstreams = {
  to(address: Address): Pool;
  /** Lets go of the addresses that are not in `table`; what is in flight there goes on to its end. */
  retain(table: RouteTable): void;
  /** Ends everything, also what is in flight. */
  destroy(): Promise<void>;
};

export function createUpstreams(limits: Limits): Upstreams {
  const pools = new Map<string, Pool>();
  const ending = new Set<Pool>();

  return {
    to(address) {
      const origin = originOf(address);
      let pool = pools.get(origin);
      if (pool === undefined) {
        pool = new Pool(origin, {
          connect: connector(limits.connectMs),
          headersTimeout: limits.idleMs,
          bodyTimeout: limits.idleMs,
          maxHeaderSize: limits.headerBytes,
        });
        pools.set(origin, pool);
      }
      return pool;
    },
    retain(table) {
      const wanted = new Set(addressesOf(table).map(originOf));
      for (const [origin, pool] of pools) {
        if (wanted.has(origin)) continue;
        pools.delete(origin);
        ending.add(pool);
        const gone = () => ending.delete(pool);
        pool.close().then(gone, gone);
      }
    },
    async destroy() {
      await Promise.all([...pools.values(), ...ending].map(pool => pool.destroy()));
    },
  };
}

/** `host:port`, with the brackets of an IPv6 host. */
export const hostPort = ({ host, port }: Address): string =>
  host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;

// --- internal ---

const originOf = (address: Address): string => `http://${hostPort(address)}`;

function addressesOf(table: RouteTable): Address[] {
  return Object.values(table.destinations)
    .flatMap(({ baseline, forks }) => [baseline, ...Object.values(forks)])
    .flatMap(target => (target.ready ? target.addresses : []));
}

/**
 * undici takes a reset connection for the end of a body that has no length, so a truncated response would
 * look complete. It asks for the error's code; our listener comes first and gives it another one.
 */
function connector(timeout: number): buildConnector.connector {
  const connect = buildConnector({ timeout });
  return (options, callback) =>
    connect(options, (...result) => {
      const socket = result[1];
      socket?.on('error', (error: NodeJS.ErrnoException) => {
        if (error.code === 'ECONNRESET') error.code = RESET;
      });
      if (socket) readOnAfterFailedWrite(socket);
      callback(...result);
    });
}
