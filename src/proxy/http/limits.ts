import type { Book } from '../book.ts';

/** What a peer may take of bytes and time. All times in milliseconds. */
export type Limits = {
  /** Bytes of a header block, on either side. */
  readonly headerBytes: number;
  /** Until a client has sent its header block. */
  readonly headerMs: number;
  /** A client's connection without a request. */
  readonly keepAliveMs: number;
  /** Without a byte from a workload, or in a tunnel: long, because of event streams and of debuggers. */
  readonly idleMs: number;
  /** Without a byte from or to a client in the middle of a request; longer, so that a silent workload is a 504. */
  readonly clientIdleMs: number;
  /** Until a workload has accepted a connection. */
  readonly connectMs: number;
  /** A client may go on sending a body after its request was answered. */
  readonly lingerMs: number;
  /** What is in flight when its listener goes away. */
  readonly drainMs: number;
  /** Streams of one client's connection at once. */
  readonly streams: number;
  /** Bytes that are on their way before somebody has read them, per stream and per session of HTTP/2. */
  readonly streamWindowBytes: number;
  readonly sessionWindowBytes: number;
  /** What node may keep for one session of HTTP/2: 10^6 bytes. */
  readonly sessionMegabytes: number;
};

export const defaultLimits: Limits = {
  headerBytes: 64 * 1024,
  headerMs: 10_000,
  keepAliveMs: 60_000,
  idleMs: 900_000,
  clientIdleMs: 960_000,
  connectMs: 5_000,
  lingerMs: 2_000,
  drainMs: 300_000,
  streams: 250,
  streamWindowBytes: 256 * 1024,
  sessionWindowBytes: 4 * 1024 * 1024,
  sessionMegabytes: 64,
};

/** The limits as the setting says at each time; `given` counts more. */
export function limitsOf(book: Pick<Book, 'get'>, given: Partial<Limits> = {}): Limits {
  const limits = { ...defaultLimits, ...given };
  if (given.headerBytes !== undefined) return limits;
  return Object.defineProperty(limits, 'headerBytes', {
    get: () => book.get('setting', 'proxy')?.headerBytes ?? defaultLimits.headerBytes,
  });
}
