/**
 * Which server issued which cancel key. A CancelRequest comes on a connection of its own and names no
 * branch, only the key ("Canceling Requests in Progress", https://www.postgresql.org/docs/18/protocol-flow.html).
 */
import type { Endpoint } from '../../model/route.ts';
import { encodeCancel, keyOfCancel } from './codec.ts';
import { type Connect, closed, connectAs } from './socket.ts';

export type CancelKeys = {
  /**
   * @param endpoint of the server that issued `key`, or `issued` in its place: a client that has another server now keeps its key
   * @returns forgets it again
   */
  remember(key: Buffer, endpoint: Endpoint, issued?: Buffer): () => void;
  /**
   * Hands a CancelRequest to the server that issued its key and resolves when that server has dealt with it.
   * Never rejects: as with PostgreSQL, who cancels does not learn whether there was something to cancel.
   */
  forward(packet: Buffer): Promise<void>;
  /** Calls `listener` for every key that is known, and from then on for each that is learnt or (without an endpoint) forgotten. */
  follow(listener: (key: Buffer, endpoint?: Endpoint) => void): void;
};

export function createCancelKeys(connect: Connect = connectAs()): CancelKeys {
  const issuers = new Map<string, { readonly endpoint: Endpoint; readonly issued: Buffer }>();
  const listeners: ((key: Buffer, endpoint?: Endpoint) => void)[] = [];
  return {
    remember(key, endpoint, issued = key) {
      const id = key.toString('hex');
      const issuer = { endpoint, issued: Buffer.from(issued) };
      issuers.set(id, issuer);
      for (const listener of listeners) listener(key, endpoint);
      return () => {
        if (issuers.get(id) !== issuer) return;
        issuers.delete(id);
        for (const listener of listeners) listener(key);
      };
    },
    follow(listener) {
      for (const [id, { endpoint }] of issuers) listener(Buffer.from(id, 'hex'), endpoint);
      listeners.push(listener);
    },
    async forward(packet) {
      const issuer = issuers.get(keyOfCancel(packet).toString('hex'));
      if (issuer === undefined) return;
      const server = await connect(issuer.endpoint, AbortSignal.timeout(DEADLINE_MS)).catch(() => undefined);
      if (server === undefined) return; // it has just stopped, and its queries with it
      server.end(encodeCancel(issuer.issued));
      server.resume();
      await closed(server);
    },
  };
}

// --- internal ------------------------------------------------------------------------------------

const DEADLINE_MS = 10_000;
