/**
 * A port that stays open while it changes who serves it: a server of this process, or somebody elsewhere to whom connections
 * are led as they are. Those that come while there is nobody wait a while.
 */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { type ConnectionOptions, connect as connectTls } from 'node:tls';
import { isOnThisMachine } from './peer.ts';
import { handshakeRecord } from './tls-socket.ts';
import { delay } from './wait.ts';

type At = { readonly host: string; readonly port: number };

export type Entrance = At & {
  /** Gives connections to `server`, which does not listen itself, also those that wait. @returns the way to stop that */
  serve(server: Server): () => void;
  /** Where to lead them while no server of ours has them; undefined: they wait. Those that were led elsewhere are ended. */
  lead(to: At | undefined): void;
  close(): Promise<void>;
};

export type EntranceOptions = At & {
  /** With this, who comes from this machine and speaks clear text is led on in TLS. */
  readonly secure?: () => ConnectionOptions;
  /** Milliseconds that a connection waits for somebody, default 20 000. */
  readonly waitMs?: number;
};

/** @throws NodeJS.ErrnoException when it cannot listen there */
export async function openEntrance(o: EntranceOptions): Promise<Entrance> {
  const { waitMs = 20_000 } = o;
  const all = new Set<Socket>();
  /** Led elsewhere. */
  const led = new Set<Socket>();
  let [own, to]: [Server | undefined, At | undefined] = [undefined, undefined];
  let changed = Promise.withResolvers<void>();

  function change(): void {
    for (const socket of led) socket.destroy();
    changed.resolve();
    changed = Promise.withResolvers<void>();
  }

  /** Until it is somebody's. */
  async function place(socket: Socket): Promise<void> {
    const tooLate = setTimeout(() => socket.destroy(), waitMs);
    socket.once('close', () => clearTimeout(tooLate));
    while (!socket.destroyed) {
      if (own !== undefined) {
        clearTimeout(tooLate);
        return void own.emit('connection', socket);
      }
      const there = to;
      const other = there === undefined ? undefined : await reach(socket, there);
      if (other !== undefined && there === to && own === undefined && !socket.destroyed) {
        clearTimeout(tooLate);
        return join(socket, other);
      }
      other?.destroy();
      if (other === undefined) await delay(AGAIN_MS, undefined, changed.promise);
    }
  }

  /** @returns undefined when nobody answers there */
  async function reach(socket: Socket, { host, port }: At): Promise<Socket | undefined> {
    const secure = isOnThisMachine(socket) ? o.secure?.() : undefined;
    const isTls = secure === undefined || (await firstByte(socket)) === handshakeRecord;
    const other = isTls
      ? connect({ host, port, noDelay: true })
      : connectTls({ ...secure, host, port }).setNoDelay();
    other.on('error', ignore); // "close" follows
    const signal = AbortSignal.timeout(CONNECT_MS);
    try {
      await once(other, isTls ? 'connect' : 'secureConnect', { signal });
      return other;
    } catch {
      other.destroy();
      return undefined;
    }
  }

  function join(socket: Socket, other: Socket): void {
    led.add(socket);
    socket.once('close', () => {
      led.delete(socket);
      other.destroy();
    });
    other.once('close', () => socket.destroy());
    socket.pipe(other);
    other.pipe(socket);
  }

  const server = createServer({ noDelay: true }, socket => {
    all.add(socket);
    socket.on('error', ignore); // "close" follows
    socket.once('close', () => all.delete(socket));
    void place(socket);
  });
  server.maxConnections = MAX_CONNECTIONS;
  await once(server.listen({ host: o.host, port: o.port }), 'listening');
  server.on('error', ignore); // one that could not be accepted is gone

  return {
    ...{ host: o.host, port: (server.address() as AddressInfo).port },
    serve(next) {
      own = next;
      change();
      return () => {
        if (own === next) own = undefined;
      };
    },
    lead(next) {
      if (next?.host === to?.host && next?.port === to?.port) return;
      to = next;
      change();
    },
    async close() {
      const closed = once(server, 'close');
      server.close();
      for (const socket of all) socket.destroy();
      await closed;
    },
  };
}

/**
 * Has `server` listen at an address, or be given the connections of an entrance.
 * @returns where that is; `leave` is to be called before the server is closed
 * @throws NodeJS.ErrnoException when it cannot listen there
 */
export async function listenAt(server: Server, at: At | Entrance): Promise<At & { leave(): void }> {
  if ('serve' in at) return { host: at.host, port: at.port, leave: at.serve(server) };
  // The first address of the name only, as gateways do.
  await once(server.listen({ host: at.host, port: at.port }), 'listening');
  return { host: at.host, port: (server.address() as AddressInfo).port, leave() {} };
}

// --- internal ------------------------------------------------------------------------------------

const MAX_CONNECTIONS = 10_000;
const CONNECT_MS = 3_000;
/** Between two tries to reach somebody. */
const AGAIN_MS = 500;

const ignore = (): void => {};

/** Leaves it where it is. @returns undefined when none comes */
async function firstByte(socket: Socket): Promise<number | undefined> {
  while (!socket.destroyed) {
    const bytes: Buffer | null = socket.read();
    if (bytes !== null) {
      socket.unshift(bytes);
      return bytes[0];
    }
    if (socket.readableEnded) socket.destroy();
    else await Promise.race([once(socket, 'readable'), once(socket, 'close')]).catch(ignore);
  }
  return undefined;
}
