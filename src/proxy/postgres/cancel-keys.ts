/**
 * Which server issued which cancel key. A CancelRequest comes on a connection of its own and names no
 * branch, only the key ("Canceling Requests in Progress", https://www.postgresql.org/docs/18/protocol-flow.html).
 */
import { keyOfCancel } from './codec.ts';
import { closed, connectTo } from './socket.ts';

export type CancelKeys = {
  /** @param socket of the server that issued `key`. @returns forgets it again. */
  remember(key: Buffer, socket: string): () => void;
  /**
   * Hands a CancelRequest to the server that issued its key and resolves when that server has dealt with it.
   * Never rejects: as with PostgreSQL, who cancels does not learn whether there was something to cancel.
   */
  forward(packet: Buffer): Promise<void>;
};

export function createCancelKeys(): CancelKeys {
  const issuers = new Map<string, { readonly socket: string }>();
  return {
    remember(key, socket) {
      const id = key.toString('hex');
      const issuer = { socket };
      issuers.set(id, issuer);
      return () => {
        if (issuers.get(id) === issuer) issuers.delete(id);
      };
    },
    async forward(packet) {
      const issuer = issuers.get(keyOfCancel(packet).toString('hex'));
      if (issuer === undefined) return;
      const server = await connectTo(issuer.socket, AbortSignal.timeout(DEADLINE_MS)).catch(() => undefined);
      if (server === undefined) return; // it has just stopped, and its queries with it
      server.end(packet);
      server.resume();
      await closed(server);
    },
  };
}

// --- internal ------------------------------------------------------------------------------------

const DEADLINE_MS = 10_000;
