/** Both ends of the stream between a daemon and a proxy, in this process. */
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { silentLog } from '../../src/lib/log.ts';
import { until } from '../../src/lib/wait.ts';
import { OffshootError } from '../../src/model/errors.ts';
import type { RouteChange } from '../../src/model/route.ts';
import { type Book, createBook } from '../../src/proxy/book.ts';
import { type Feed, type FeedOptions, type ListenerReport, openFeed } from '../../src/proxy/stream/feed.ts';
import { type Follower, type FollowerOptions, follow } from '../../src/proxy/stream/follower.ts';
import { unixWay, type Way } from '../../src/proxy/stream/way.ts';
import { tempDir } from './temp.ts';

/** A path for the socket of a test's daemons. */
export async function feedPath(t: TestContext): Promise<string> {
  const dir = await tempDir();
  t.after(() => dir[Symbol.asyncDispose]());
  return join(dir.path, 'proxy', 'feed.sock');
}

export type TestFeed = Feed & { readonly reports: (readonly ListenerReport[])[] };

/** A daemon's end, until the end of the test. */
export async function startFeed(
  t: TestContext,
  socket: string,
  options: Partial<FeedOptions> = {},
): Promise<TestFeed> {
  const reports: (readonly ListenerReport[])[] = [];
  const feed = await openFeed({
    ...{ socket, version: '1.2.3', log: silentLog },
    async awake(branch) {
      throw new OffshootError('gateway/branch-unknown', { branch });
    },
    onListeners: states => void reports.push(states),
    onFound() {},
    onProxies() {},
    isAlive: () => true,
    async dropTable() {},
    ...options,
  });
  t.after(() => feed.close());
  return { ...feed, reports };
}

export type TestFollower = Follower & { readonly book: Book };

/** A proxy's end, until the end of the test. */
export function startFollower(
  t: TestContext,
  socket: string | Way,
  { pid = 1, ...options }: Partial<FollowerOptions> & { readonly pid?: number } = {},
): TestFollower {
  const book = createBook();
  const follower = follow({
    ...{
      way: typeof socket === 'string' ? unixWay(socket) : socket,
      book,
      log: silentLog,
      kept: async () => {},
    },
    proxy: { version: '1.2.2', pid, startTime: '7', startedAt: '2030-01-01T00:00:00.000Z' },
    onReplace() {},
    onStop() {},
    ...options,
  });
  t.after(() => follower.close());
  return { ...follower, book };
}

export const key = (name: string): RouteChange => ({ kind: 'key', name, value: {} });
export const gone = (name: string): RouteChange => ({ kind: 'key', name });

/** Waits until the book holds exactly these keys. */
export const untilKeys = (book: Book, ...wanted: readonly string[]): Promise<true> =>
  until(() => String([...book.names('key')].toSorted()) === String(wanted) || undefined, {
    what: `the keys ${wanted}`,
    deadlineMs: 60_000,
  });
