/**
 * What pods in a network of their own want of others: the rules of their bridge send it here, and the kernel knows where
 * it was to go. A Service is served as if it had been asked at its address; all else is connected to from this machine.
 */
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { libc } from '../lib/libc.ts';
import type { Log } from '../lib/log.ts';
import { nameServer } from '../lib/name-server.ts';
import { isLoopback } from '../lib/peer.ts';
import { OffshootError } from '../model/errors.ts';
import type { Address } from '../model/route.ts';
import { fdOf, listen } from './listen.ts';
import type { Server } from './listeners.ts';
import type { Pods } from './pods.ts';
import { splice } from './splice.ts';

export type WayOutOptions = {
  readonly pods: Pods;
  /** What serves a Service at this address. */
  readonly serverAt: (address: Address) => Server | undefined;
  readonly log: Log;
};

/** @throws OffshootError proxy/listen-failed */
export async function openWayOut(
  where: Address & { readonly fd?: number | undefined },
  { pods, serverAt, log }: WayOutOptions,
): Promise<Server> {
  const { host, port } = where;
  const what = 'pods';
  const out = new Set<Socket>();
  const failed = (cause: NodeJS.ErrnoException) =>
    new OffshootError(
      'proxy/listen-failed',
      { host, port, what, why: cause.code ?? cause.message },
      { cause },
    );
  const calls = await libc().catch(error => {
    throw failed(error);
  });
  const fd = where.fd ?? (await pods.listener({ host, port }).catch(error => Promise.reject(failed(error))));

  const pass = async (client: Socket, to: Address): Promise<void> => {
    const address = destinationOf(to, host, port);
    try {
      if (address === undefined) throw new Error('nobody is there');
      const other = await pods.dial(address, AbortSignal.timeout(CONNECT_MS));
      if (client.destroyed) return void other.destroy();
      other.setNoDelay(true).setKeepAlive(true, KEEP_ALIVE_MS);
      await splice(client, other, undefined);
    } catch (err) {
      log.debug({ err, to }, 'a connection of a pod leads nowhere');
      client.resetAndDestroy();
    }
  };

  const server = createServer(
    { allowHalfOpen: true, noDelay: true, keepAlive: true, keepAliveInitialDelay: KEEP_ALIVE_MS },
    client => {
      client.on('error', () => {}); // "close" follows
      let to: Address;
      try {
        to = calls.originalDestination(fdOf(client));
      } catch {
        return void client.destroy(); // it has gone
      }
      const service = serverAt(to) ?? serverAt({ ...to, port: to.port + LOW_PORTS_AT });
      if (service?.accept !== undefined) return service.accept(client);
      out.add(client);
      client.once('close', () => out.delete(client));
      void pass(client, to);
    },
  );
  await listen(server, { host, port, fd }, what);
  server.on('error', () => {}); // e.g. EMFILE while accepting: that client is lost, the others are not
  const closed = new Promise<void>(resolve => {
    server.once('close', resolve);
  });
  return {
    host,
    port: (server.address() as AddressInfo).port,
    fd: fdOf(server),
    connections: () => out.size,
    drain() {
      server.close();
      return closed;
    },
    async close(graceMs) {
      server.close();
      const timer = setTimeout(() => {
        for (const client of out) client.destroy();
      }, graceMs);
      await closed;
      clearTimeout(timer);
    },
  };
}

// --- internal ---

const CONNECT_MS = 30_000;
const KEEP_ALIVE_MS = 60_000;
/** Services of an ordinary user have 8080 for 80 on this machine; pods may ask for 80. */
const LOW_PORTS_AT = 8_000;

/** @returns undefined when a pod has nothing to look for there */
function destinationOf({ host, port }: Address, gateway: string, own: number): Address | undefined {
  if (host !== gateway) return isLoopback(host) ? undefined : { host, port };
  if (port === own) return undefined; // ourselves
  // What the rules let through to the bridge is shared: names, and ports of this machine's 127.0.0.1.
  return port === NAMES ? { host: nameServer(), port } : { host: '127.0.0.1', port };
}

const NAMES = 53;
