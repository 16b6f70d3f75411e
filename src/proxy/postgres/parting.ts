/** A session that outlives its servers: long silent and holding nothing, it parts from its own, and has another when it speaks. */
import { once } from 'node:events';
import type { Socket } from 'node:net';
import type { Message } from './messages.ts';
import { holdsNothing, type Watch } from './silence.ts';
import { closed, ignore } from './socket.ts';

export type PartingOptions = {
  /** Milliseconds of silence after which it is asked. */
  readonly silentMs: number;
  readonly watch: Watch;
  /** The server is not its any more; nobody uses the branch for its sake. */
  readonly part: () => void;
  /** Logs in anew, as who it is. */
  readonly again: () => Promise<Socket>;
  readonly signal: AbortSignal;
};

/**
 * Joins them until one has left. @param first paused, behind ReadyForQuery
 * @returns the last server's last words
 * @throws what `again` does; the signal's reason
 */
export async function joinWithPartings(client: Socket, first: Socket, o: PartingOptions): Promise<Buffer> {
  let server = first;
  for (;;) {
    const last = await joined(client, server, o);
    if (last !== undefined) return last;
    server.end(TERMINATE);
    server.resume();
    o.part();
    await untilHeard(client, o.signal);
    if (client.readableLength === 0) return Buffer.alloc(0); // it has said its last word
    server = await o.again();
  }
}

// --- internal ------------------------------------------------------------------------------------

/** Until a client that nobody reads has said something, or its last word. */
async function untilHeard(client: Socket, outer: AbortSignal): Promise<void> {
  if (client.readableLength > 0 || client.readableEnded) return;
  const heard = new AbortController();
  const signal = AbortSignal.any([outer, heard.signal]);
  const either = ['readable', 'end'].map(event => once(client, event, { signal }));
  try {
    await Promise.race(either);
  } finally {
    for (const one of either) one.catch(ignore);
    heard.abort();
  }
}

/** "Terminate (F)". */
const TERMINATE = Buffer.of(0x58, 0, 0, 0, 4);
/** Milliseconds for the answer to our question. */
const ASK_MS = 10_000;

/** @returns its last words when the server has closed; undefined when the session is silent and holds nothing */
async function joined(client: Socket, server: Socket, o: PartingOptions): Promise<Buffer | undefined> {
  const { silentMs, watch, signal } = o;
  let last: Buffer = Buffer.alloc(0);
  let heard = performance.now();
  let silent = Promise.withResolvers<'silent'>();
  const over = closed(server).then(() => 'over' as const);
  const onClient = (chunk: Buffer) => {
    heard = performance.now();
    watch.client(chunk);
  };
  const onServer = (chunk: Buffer) => {
    heard = performance.now();
    last = chunk;
    watch.server(chunk);
  };
  const join = () => {
    client.on('data', onClient);
    server.on('data', onServer);
    client.pipe(server);
    server.pipe(client, { end: false });
  };
  const separate = () => {
    client.unpipe(server);
    server.unpipe(client);
    client.off('data', onClient);
    server.off('data', onServer);
    client.pause();
    server.pause();
  };
  const look = () => {
    const left = heard + silentMs - performance.now();
    if (left <= 0 && watch.isBound()) return; // it is never asked
    if (left <= 0 && watch.isIdle()) return silent.resolve('silent');
    timer = setTimeout(look, Math.max(left, 10));
  };
  let timer: NodeJS.Timeout | undefined;
  try {
    for (;;) {
      join();
      heard = performance.now();
      timer = setTimeout(look, silentMs);
      // Nothing comes between its look and ours.
      if ((await Promise.race([over, silent.promise])) === 'over') return last;
      separate();
      const pass = ({ whole }: Message) => void client.write(whole);
      const gone = new AbortController();
      void over.then(() => gone.abort(new Error('the server has hung up')));
      const within = AbortSignal.any([signal, gone.signal, AbortSignal.timeout(ASK_MS)]);
      const nothing = await holdsNothing(server, pass, within).catch(error => {
        server.destroy(); // what it says next belongs to our question
        throw error;
      });
      if (nothing && client.readableLength === 0 && !client.readableEnded) return undefined;
      silent = Promise.withResolvers();
    }
  } finally {
    clearTimeout(timer);
    client.off('data', onClient);
    server.off('data', onServer);
  }
}
