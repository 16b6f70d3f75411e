/** Sessions of HTTP/2 with one workload: as many as its limit of streams asks for. */
import type {
  ClientHttp2Session,
  ClientHttp2Stream,
  ClientSessionRequestOptions,
  OutgoingHttpHeaders,
} from 'node:http2';
import type { Socket } from 'node:net';
import type { Dial } from '../../lib/dial.ts';
import { http2 } from '../../lib/http2.ts';
import type { Address } from '../../model/route.ts';
import type { Limits } from './limits.ts';
import { dialInTime, NO_HTTP2 } from './upstream-error.ts';

export type Sessions = {
  /** Begins a stream. Rejects when the workload cannot be reached, or speaks something else. */
  request(headers: OutgoingHttpHeaders, options: ClientSessionRequestOptions): Promise<ClientHttp2Stream>;
  /** Opens no more streams; those that are open go on to their end. */
  close(): void;
  destroy(): void;
};

export function createSessions({ host, port }: Address, limits: Limits, dial: Dial): Sessions {
  const open = new Set<Opened>();
  let over: 'close' | 'destroy' | undefined;

  const begin = (): Opened => {
    const { promise: ready, resolve, reject } = Promise.withResolvers<void>();
    ready.catch(() => {}); // who has taken it is told
    const one: Opened = { session: undefined, ready, streams: 0, waiting: 0, isReady: false };
    open.add(one);
    const failed = (failure: Error | undefined) => {
      open.delete(one);
      // The system's errors, and ours, say more than that it was no HTTP/2.
      const code = (failure as NodeJS.ErrnoException | undefined)?.code ?? 'ERR_HTTP2';
      reject(code.startsWith('ERR_HTTP2') ? notHttp2(failure) : failure);
    };
    dialInTime(dial, { host, port }, limits.connectMs).then(socket => {
      one.session = speak(socket, one, resolve, failed);
      if (over !== undefined) one.session[over]();
    }, failed);
    return one;
  };

  const speak = (
    socket: Socket,
    one: Opened,
    ready: () => void,
    failed: (failure: Error | undefined) => void,
  ): ClientHttp2Session => {
    const session = http2().connect(`http://${host.includes(':') ? `[${host}]` : host}:${port}`, {
      createConnection: () => socket,
      settings: { enablePush: false, initialWindowSize: limits.streamWindowBytes },
      maxSessionMemory: limits.sessionMegabytes,
      maxHeaderListPairs: MAX_HEADERS,
    } as object);
    let failure: Error | undefined;
    const timer = setTimeout(
      () =>
        session.destroy(Object.assign(new Error('no settings in time'), { code: 'UND_ERR_CONNECT_TIMEOUT' })),
      limits.connectMs,
    );
    session.once('remoteSettings', () => {
      clearTimeout(timer);
      one.isReady = true;
      // The window of the whole session: many streams share it.
      session.setLocalWindowSize(limits.sessionWindowBytes);
      session.setTimeout(limits.keepAliveMs, () => {
        if (one.streams === 0) session.close();
      });
      ready();
    });
    session.on('error', error => {
      failure = error;
    });
    // It takes no more streams, though those that are open go on.
    session.once('goaway', () => open.delete(one));
    session.once('close', () => {
      clearTimeout(timer);
      failed(failure);
    });
    return session;
  };

  const room = ({ session, streams, waiting, isReady }: Opened): boolean =>
    isReady
      ? streams < Math.min(session?.remoteSettings.maxConcurrentStreams ?? MAX_STREAMS, MAX_STREAMS)
      : waiting < MAX_STREAMS;

  const choose = (): Opened => {
    const usable = [...open].filter(({ session }) => !session?.closed && !session?.destroyed);
    const free = usable.find(room);
    if (free !== undefined) return free;
    if (usable.length < MAX_SESSIONS) return begin();
    return usable.toSorted((a, b) => a.streams - b.streams)[0]!; // it waits for its turn there
  };

  return {
    async request(headers, options) {
      for (let attempt = 0; ; attempt++) {
        const one = choose();
        if (!one.isReady) {
          one.waiting++;
          await one.ready.finally(() => one.waiting--);
          // Only now it is known how many it takes.
          if (attempt < MAX_SESSIONS) continue;
        }
        try {
          const stream = one.session!.request(headers, options);
          one.streams++;
          stream.once('close', () => one.streams--);
          return stream;
        } catch (error) {
          // It was told to go; nothing of the stream has left.
          if (attempt >= MAX_SESSIONS || !GONE.has((error as NodeJS.ErrnoException).code ?? '')) throw error;
        }
      }
    },
    close() {
      over = 'close';
      for (const { session } of open) session?.close();
    },
    destroy() {
      over = 'destroy';
      for (const { session } of open) session?.destroy();
    },
  };
}

// --- internal ---

type Opened = {
  /** Absent while it is connected to. */
  session: ClientHttp2Session | undefined;
  /** Resolves with its first settings. */
  readonly ready: Promise<void>;
  isReady: boolean;
  streams: number;
  /** Who will look again when it is ready. */
  waiting: number;
};

/** Streams on one session, whatever the workload allows. */
const MAX_STREAMS = 100;
const MAX_SESSIONS = 64;
/** Their size is limited. */
const MAX_HEADERS = 2_000;

/** Codes of a session that takes no streams any more. */
const GONE: ReadonlySet<string> = new Set(['ERR_HTTP2_GOAWAY_SESSION', 'ERR_HTTP2_INVALID_SESSION']);

const notHttp2 = (cause?: Error): Error =>
  Object.assign(new Error('it does not speak HTTP/2', { cause }), { code: NO_HTTP2 });
