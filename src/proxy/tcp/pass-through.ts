/**
 * Connections that carry no routing key pass through to the baseline, byte for byte. Where nobody has said what a port
 * speaks, the first bytes do, whoever sends them: a client of HTTP speaks first, and its workload never does; so
 * the workload is connected to at once, hears nothing while it is not clear, and a greeting of it makes it clear.
 */
import type { Socket } from 'node:net';
import { type Dial, dial as dialHere } from '../../lib/dial.ts';
import type { Log } from '../../lib/log.ts';
import { OffshootError } from '../../model/errors.ts';
import { type Address, addressKey, type DestinationKey, type Found } from '../../model/route.ts';
import type { Book } from '../book.ts';
import { splice } from '../splice.ts';
import { isHttp2Greeting, mayBeHttp, readFirstBytes } from './first-bytes.ts';
import { defaultPassLimits, KEEP_ALIVE_MS, type PassLimits } from './limits.ts';

/** Sees every connection of a port; `serve` lets HTTP have it. */
export type Intercept = (client: Socket, serve: () => void) => void;

export type PassThroughOptions = {
  readonly book: Book;
  readonly log: Log;
  readonly limits?: Partial<PassLimits>;
  /** How workloads are connected to. */
  readonly dial?: Dial;
  /** Called when it is other than before. HTTP wins: one client that is confused does not change what a port is. */
  readonly onFound?: (destination: DestinationKey, found: Found) => void;
};

export type PassThrough = {
  /** @param destination where a listener leads, asked for with every connection */
  interceptFor(destination: () => DestinationKey): Intercept;
  /** Clients that were not given to HTTP. */
  connections(): number;
  /** What was found so far. */
  found(): ReadonlyMap<DestinationKey, Found>;
};

export function createPassThrough({ book, log, onFound, ...o }: PassThroughOptions): PassThrough {
  const { dial = dialHere } = o;
  const limits = { ...defaultPassLimits, ...o.limits };
  const clients = new Set<Socket>();
  const found = new Map<DestinationKey, Found>();
  /** What was said last of a destination that refuses connections, and when. */
  const said = new Map<DestinationKey, { readonly message: string; readonly at: number }>();
  let turn = 0;

  const learn = (destination: DestinationKey, what: Found): void => {
    if (found.get(destination) === what || found.get(destination) === 'http') return;
    found.set(destination, what);
    onFound?.(destination, what);
  };

  /** A reset: what is there is no end, and a client that tries again is right. */
  const refuse = (client: Socket, destination: DestinationKey, error: OffshootError): void => {
    client.resetAndDestroy();
    const last = said.get(destination);
    if (last?.message === error.message && performance.now() - last.at < REPEAT_MS) return;
    said.set(destination, { message: error.message, at: performance.now() });
    log.warn({ destination, code: error.code, error: error.message }, 'connection refused');
  };

  /** @throws OffshootError proxy/no-destination, proxy/baseline-not-ready, proxy/upstream-failed */
  const reach = async (destination: DestinationKey, client: Socket): Promise<Socket> => {
    const { label, baseline } = book.destination(destination) ?? {};
    if (label === undefined) throw new OffshootError('proxy/no-destination', { destination });
    const target = baseline!();
    if (!target.ready) {
      const { reason, message } = target;
      throw new OffshootError('proxy/baseline-not-ready', { label, reason, message });
    }
    const { addresses } = target;
    const first = turn++;
    let failure: unknown;
    for (let i = 0; i < addresses.length && !client.destroyed; i++) {
      const address = addresses[(first + i) % addresses.length]!;
      try {
        return await dialFor(dial, address, limits.connectMs, client);
      } catch (cause) {
        failure ??= new OffshootError(
          'proxy/upstream-failed',
          { upstream: `${label} at ${addressKey(address)}`, why: (cause as Error).message },
          { cause },
        );
      }
    }
    throw failure ?? new Error('the client has gone');
  };

  /** @param said what was read of the client already */
  const pass = async (
    client: Socket,
    destination: DestinationKey,
    dialled: Promise<Socket>,
    { said = Buffer.alloc(0), onAnswer }: { said?: Buffer; onAnswer?: (first: Buffer) => void } = {},
  ): Promise<void> => {
    let upstream: Socket;
    try {
      upstream = await dialled;
    } catch (error) {
      if (!client.destroyed) refuse(client, destination, error as OffshootError);
      return;
    }
    if (client.destroyed) return void upstream.destroy();
    if (onAnswer !== undefined) upstream.once('data', onAnswer);
    if (said.length > 0) upstream.write(said);
    await splice(client, upstream, undefined);
  };

  const detect = async (client: Socket, destination: DestinationKey, serve: () => void): Promise<void> => {
    let dialled: Promise<Socket> | undefined;
    const ask = () => {
      dialled ??= reach(destination, client);
      return dialled;
    };
    const { first, said } = await whoSpeaks(client, ask, {
      ...limits,
      silenceMs: found.get(destination) === 'http' ? limits.silenceMs : 0,
    });
    const letGo = () => void dialled?.then(upstream => upstream.destroy()).catch(() => {});
    if (first === 'nobody') return letGo();
    if (first === 'http') {
      learn(destination, 'http');
      letGo();
      if (said.length > 0) client.unshift(said);
      return serve();
    }
    const onAnswer = (bytes: Buffer) => {
      if (!bytes.subarray(0, HTTP_ANSWER.length).equals(HTTP_ANSWER)) learn(destination, 'tcp');
    };
    await pass(client, destination, ask(), { said, onAnswer });
  };

  return {
    interceptFor: destination => (client, serve) => {
      const key = destination();
      const speaks = book.get('service', key)?.speaks;
      if (speaks === 'http') return serve();
      client.on('error', () => {}); // "close" follows
      client.setKeepAlive(true, KEEP_ALIVE_MS);
      if (clients.size >= limits.connections)
        return refuse(
          client,
          key,
          new OffshootError('proxy/too-many-connections', { limit: limits.connections }),
        );
      clients.add(client);
      const leave = () => clients.delete(client);
      client.once('close', leave);
      const over =
        speaks === 'tcp'
          ? pass(client, key, reach(key, client))
          : detect(client, key, () => {
              leave();
              client.off('close', leave);
              serve();
            });
      over.catch(err => {
        log.error({ err, destination: key }, 'a connection could not be passed through');
        client.destroy();
      });
    },
    connections: () => clients.size,
    found: () => found,
  };
}

// --- internal ---

/** The same reason is logged again after so many milliseconds. */
const REPEAT_MS = 60_000;

/** With which a server of HTTP gives up a client that has not said anything. */
const HTTP_ANSWER = Buffer.from('HTTP/');

/** @throws the system's error, or one that says that it took too long */
async function dialFor(dial: Dial, address: Address, connectMs: number, client: Socket): Promise<Socket> {
  const over = new AbortController();
  const timer = setTimeout(() => over.abort(new Error('it did not accept in time')), connectMs);
  const leave = () => over.abort(new Error('the client has gone'));
  client.once('close', leave);
  try {
    const socket = await dial(address, over.signal);
    return socket.setNoDelay(true).setKeepAlive(true, KEEP_ALIVE_MS);
  } finally {
    clearTimeout(timer);
    client.off('close', leave);
  }
}

/**
 * Waits for the first bytes from either side. Those of the workload are left to be read.
 * @param ask connects to the workload
 * @returns who spoke, and what the client has said; `other` also when nobody can be asked and the client has said nothing: then there is nothing to wait for
 */
function whoSpeaks(
  client: Socket,
  ask: () => Promise<Socket>,
  { silenceMs, firstBytesMs }: Pick<PassLimits, 'silenceMs' | 'firstBytesMs'>,
): Promise<{ first: 'http' | 'other' | 'nobody'; said: Buffer }> {
  return new Promise(resolve => {
    let said: Buffer = Buffer.alloc(0);
    let upstream: Socket | undefined;
    let timer: NodeJS.Timeout | undefined;
    let over = false;
    const decide = (first: 'http' | 'other' | 'nobody') => {
      if (over) return;
      over = true;
      clearTimeout(timer);
      client.off('data', onData).off('end', onEnd).off('close', onClose).pause();
      upstream?.off('readable', onGreeting);
      resolve({ first, said });
    };
    const within = (ms: number, then: () => void) => {
      clearTimeout(timer);
      timer = setTimeout(then, ms);
    };
    const onData = (chunk: Buffer) => {
      said = said.length === 0 ? chunk : Buffer.concat([said, chunk]);
      const says = readFirstBytes(said);
      if (says !== 'more') return decide(says);
      within(firstBytesMs, () => decide(mayBeHttp(said) ? 'http' : 'other'));
    };
    const onEnd = () => decide('other'); // it may wait for an answer all the same
    const onClose = () => decide('nobody');
    const onGreeting = () => {
      const bytes: Buffer | null = upstream?.read() ?? null;
      if (bytes !== null) upstream?.unshift(bytes);
      decide(bytes !== null && isHttp2Greeting(bytes) ? 'http' : 'other');
    };
    const askNow = () =>
      ask().then(
        socket => {
          if (over) return;
          upstream = socket;
          socket.once('readable', onGreeting);
        },
        () => {
          // Whoever speaks HTTP is told why.
          if (!over && said.length === 0) within(firstBytesMs, () => decide('other'));
        },
      );
    client.on('data', onData).once('end', onEnd).once('close', onClose);
    if (silenceMs === 0) void askNow();
    else within(silenceMs, askNow);
  });
}
