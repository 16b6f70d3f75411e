/**
 * A copy in memory of all objects of one resource that are selected, kept up to date: list, then watch from there, and
 * again from where the watch has got to. It never gives up, whatever is wrong with the watch, and says how fresh it is.
 *
 * - A watch that ends, is cut, says what is no event, or says nothing for a while is begun anew where it was.
 * - A place that the cluster has forgotten (410), three watches in a row that bring nothing, and the passing of time
 *   are answered by a new list.
 * - A resource that the cluster does not define (a custom one) has no objects, where that is allowed, and is asked for again.
 * - After any failure it is asked what the cluster's counter is: one that is lower than ours is that of another past
 *   (a restored backup), of which a watch would tell nothing until it has caught up.
 *
 * What writes are answered can be put in (`offer`), so that who has written reads what he wrote. Nothing ever steps back:
 * what is older than what is known is not taken, wherever it comes from.
 */
import { type Log, silentLog } from '../lib/log.ts';
import { turn } from '../lib/turns.ts';
import { backoffMs, delay } from '../lib/wait.ts';
import { OffshootError } from '../model/errors.ts';
import { type ClusterClient, isCode, type Selection } from './client.ts';
import { compareVersions, describe, type KubernetesObject, type Resource } from './resource.ts';
import { readWatch, type WatchEvent } from './watch.ts';

/** `now` absent: it is gone. */
export type InformerChange<T> = { readonly key: string; readonly before?: T; readonly now?: T };

export type InformerOptions<T> = {
  readonly client: ClusterClient;
  readonly resource: Resource;
  /** Default: all namespaces. */
  readonly namespace?: string;
  readonly selection?: Selection;
  /**
   * What is kept of an object.
   * @param before what is kept of it until now; the same once more is no change
   * @returns undefined for one that is of no interest: as if it were not there
   */
  readonly keep: (object: KubernetesObject, before: T | undefined) => T | undefined;
  /** Told of each change, in their order. Before the first list is complete `before` is always absent. */
  readonly onChange?: (change: InformerChange<T>) => void;
  readonly log?: Log;
  /** Milliseconds of silence in a watch; servers send a bookmark about every minute. Default 150 000. */
  readonly idleMs?: number;
  /** Bytes of one event; default: see watch.ts. */
  readonly longestLine?: number;
  /** Milliseconds until everything is listed again although nothing seems wrong, a fifth more or less. Default 30 minutes. */
  readonly relistMs?: number;
  /**
   * Of a resource that need not be defined: milliseconds until it is asked for again while it is not. Absent: that is a failure
   * like any other.
   */
  readonly undefinedMs?: number;
  /** Milliseconds of the shortest and longest pause after failures, default 100 and 30 000. */
  readonly pauseMs?: readonly [number, number];
};

export type InformerState = {
  readonly resource: string;
  readonly synced: boolean;
  readonly count: number;
  readonly resourceVersion: string | undefined;
  /** Milliseconds since the server was heard; Infinity: never. What is read may be as old as that. */
  readonly staleMs: number;
  /** How often in a row it has failed, and why. */
  readonly failures: number;
  readonly failure?: OffshootError;
  readonly lists: number;
  readonly watches: number;
  /** Changes that a list has found and a watch should have told. */
  readonly missed: number;
};

export type Informer<T> = {
  /** @param key `namespace/name`, or `name` of what has no namespace */
  get(key: string): T | undefined;
  entries(): IterableIterator<readonly [string, T]>;
  /** Resolves when the first list is complete; rejects when it is closed before. */
  readonly synced: Promise<void>;
  /** Resolves when it is, or when the cluster has refused it: whoever has others, too, need not wait for this one. Rejects like `synced`. */
  readonly settled: Promise<void>;
  state(): InformerState;
  /** What a read or a write has been answered. */
  offer(object: KubernetesObject): void;
  /** We have ended it: whatever is still told of that one counts for nothing. */
  ended(object: KubernetesObject): void;
  close(): Promise<void>;
};

export const keyOf = ({ metadata: { namespace, name } }: KubernetesObject): string =>
  namespace === undefined ? name : `${namespace}/${name}`;

export function informer<T>(options: InformerOptions<T>): Informer<T> {
  const { client, resource, namespace, selection = {}, keep, onChange, log = silentLog } = options;
  const { undefinedMs } = options;
  const { idleMs = 150_000, relistMs = 1_800_000, pauseMs: [shortest, longest] = [100, 30_000] } = options;
  const place = namespace === undefined ? {} : { namespace };
  const what = describe(resource, place);
  const known = new Map<string, Entry<T>>();
  /** uids of what we have ended, until the cluster says so, too. */
  const over = new Set<string>();
  const stopping = new AbortController();
  /** Everything up to here is known; undefined: list. */
  let version: string | undefined;
  /** The newest that ever was. */
  let reached: string | undefined;
  let [isSynced, heardAt, listedAt, lists, watches, missed, failures] = [false, -Infinity, 0, 0, 0, 0, 0];
  let failure: OffshootError | undefined;
  const { promise: synced, resolve: isNowSynced, reject: neverSynced } = Promise.withResolvers<void>();
  synced.catch(() => {}); // who does not wait for it need not hear
  const { promise: refused, resolve: isRefused } = Promise.withResolvers<void>();
  const settled = Promise.race([synced, refused]);
  settled.catch(() => {});

  function put(key: string, entry: Entry<T> | undefined): void {
    const before = known.get(key)?.value;
    if (entry === undefined) known.delete(key);
    else known.set(key, entry);
    const now = entry?.value;
    if (before === now) return;
    try {
      onChange?.({ key, ...(before !== undefined && { before }), ...(now !== undefined && { now }) });
    } catch (err) {
      log.error({ err, resource: what, key }, 'a listener of an informer failed');
    }
  }

  /** The one that is known already, when it is the same. */
  function entryOf(key: string, object: KubernetesObject): Entry<T> {
    const { uid = '', resourceVersion = '' } = object.metadata;
    const before = known.get(key);
    if (before?.uid === uid && before.version === resourceVersion) return before;
    const value = keep(object, before?.value);
    return { uid, version: resourceVersion, ...(value !== undefined && { value }) };
  }

  function take(object: KubernetesObject): void {
    const key = keyOf(object);
    const { uid = '', resourceVersion } = object.metadata;
    const before = known.get(key);
    if (over.has(uid) || (before !== undefined && compareVersions(resourceVersion, before.version) <= 0))
      return;
    put(key, entryOf(key, object));
  }

  async function list(): Promise<void> {
    /** Taken when all have come: half a list says nothing of what is gone. */
    const listed = new Map<string, Entry<T>>();
    let at: string | undefined;
    for await (const page of client.pages(resource, place, selection, { signal: stopping.signal })) {
      heardAt = performance.now();
      at ??= page.resourceVersion;
      for (const object of page.items) {
        const key = keyOf(object);
        listed.set(key, entryOf(key, object));
        await turn();
      }
    }
    /** The cluster counts from a lower number than it once did: nothing that we know is newer than this. */
    const another = compareVersions(at, reached) < 0;
    const isNewer = (entry: Entry<T> | undefined) =>
      entry !== undefined && !another && compareVersions(entry.version, at) > 0;
    const untold: string[] = [];
    for (const [key, entry] of listed) {
      const before = known.get(key);
      if (over.has(entry.uid) || entry === before || isNewer(before)) continue;
      if (reached !== undefined && compareVersions(entry.version, reached) <= 0 && !another) untold.push(key);
      put(key, entry);
      await turn();
    }
    for (const [key, entry] of [...known]) if (!listed.has(key) && !isNewer(entry)) put(key, undefined);
    const uids = new Set([...listed.values()].map(({ uid }) => uid));
    for (const uid of over) if (!uids.has(uid)) over.delete(uid);
    if (another)
      log.warn({ resource: what, reached, now: at }, 'the cluster has gone back to an earlier state');
    if (untold.length > 0) {
      missed += untold.length;
      log.warn({ resource: what, keys: untold.slice(0, 10), missed }, 'a watch had not told of changes');
    }
    version = reached = at;
    listedAt = performance.now();
    lists += 1;
    nowSynced();
  }

  /** The cluster does not know what they are. */
  function none(): void {
    for (const key of [...known.keys()]) put(key, undefined);
    over.clear();
    version = reached = failure = undefined;
    failures = 0;
    heardAt = performance.now();
    nowSynced();
  }

  function nowSynced(): void {
    if (isSynced) return;
    isSynced = true;
    isNowSynced();
  }

  function onEvent({ type, object }: WatchEvent): void {
    const { resourceVersion, uid = '' } = object.metadata;
    if (compareVersions(resourceVersion, version) <= 0) {
      // Twice, or a bookmark of nothing new. One from before where we are is of another past.
      if (type !== 'BOOKMARK' || compareVersions(resourceVersion, version) === 0) return;
      version = undefined;
      throw new OffshootError('kubernetes/expired', { verb: 'watch', what });
    }
    version = reached = resourceVersion!;
    failures = 0;
    failure = undefined;
    if (type === 'ADDED' || type === 'MODIFIED') take(object);
    if (type !== 'DELETED') return;
    over.delete(uid);
    const key = keyOf(object);
    const before = known.get(key);
    if (before !== undefined && compareVersions(before.version, resourceVersion) <= 0) put(key, undefined);
  }

  /** Until the watch ends or everything is to be listed again. @throws what is wrong */
  async function follow(): Promise<void> {
    const begun = performance.now();
    const from = version!;
    const untilRelist = listedAt + relistMs * (0.8 + Math.random() * 0.4) - begun;
    const signal = AbortSignal.any([
      stopping.signal,
      AbortSignal.timeout(Math.max(1, Math.ceil(untilRelist))),
    ]);
    // The server's own end of it comes before ours; not that of all watches at once.
    const timeoutSeconds = 240 + Math.floor(Math.random() * 240);
    try {
      const answer = await client.watch(
        resource,
        place,
        { ...selection, resourceVersion: from, timeoutSeconds },
        { signal },
      );
      watches += 1;
      heardAt = performance.now();
      failure = undefined; // of a quiet place nothing else would tell
      const onHeard = () => {
        heardAt = performance.now();
      };
      const { longestLine } = options;
      await readWatch(answer, {
        resource,
        place,
        idleMs,
        onEvent,
        onHeard,
        ...(longestLine && { longestLine }),
      });
    } catch (error) {
      if (stopping.signal.aborted || !signal.aborted) throw error;
      version = undefined; // the time has come to list
      return;
    }
    if (version === from && performance.now() - begun < 1_000)
      throw new OffshootError('kubernetes/unavailable', { verb: 'watch', what, why: 'it ended at once' });
    failures = 0;
    failure = undefined;
  }

  /** After something went wrong: whether the cluster is still the one that we know. */
  async function lookBack(): Promise<void> {
    const now = await client.now(resource, place, { signal: stopping.signal });
    heardAt = performance.now();
    if (compareVersions(now, version) < 0) version = undefined;
  }

  async function run(): Promise<void> {
    while (!stopping.signal.aborted) {
      try {
        if (failures > 0 && version !== undefined) await lookBack();
        if (version === undefined) await list();
        await follow();
      } catch (error) {
        if (stopping.signal.aborted) return;
        if (undefinedMs !== undefined && isCode(error, 'kubernetes/absent')) {
          none();
          await delay(undefinedMs, stopping.signal).catch(() => {});
          continue;
        }
        failure =
          error instanceof OffshootError ? error : new OffshootError('internal', {}, { cause: error });
        failures += 1;
        if (isCode(error, 'kubernetes/forbidden')) isRefused();
        if (isCode(error, 'kubernetes/expired') || failures >= 3) version = undefined;
        const { retryAfterMs } = failure.params;
        const own = backoffMs(failures - 1, shortest, longest);
        const pauseMs =
          isCode(error, 'kubernetes/unavailable') &&
          typeof retryAfterMs === 'number' &&
          failure.params.status === 429
            ? Math.max(own, retryAfterMs)
            : own;
        log[failures === 3 ? 'warn' : 'debug'](
          { err: failure, resource: what, failures, pauseMs },
          'watching failed; it goes on',
        );
        await delay(pauseMs, stopping.signal).catch(() => {});
      }
    }
  }

  const running = run();

  return {
    get: key => known.get(key)?.value,
    *entries() {
      for (const [key, { value }] of known) if (value !== undefined) yield [key, value] as const;
    },
    ...{ synced, settled },
    state: () => ({
      ...{ resource: what, synced: isSynced, count: known.size, resourceVersion: version ?? reached },
      ...{ staleMs: performance.now() - heardAt, failures, lists, watches, missed },
      ...(failure !== undefined && { failure }),
    }),
    offer: object => take(object),
    ended(object) {
      const key = keyOf(object);
      const { uid = '' } = object.metadata;
      over.add(uid);
      if (known.get(key)?.uid === uid) put(key, undefined);
    },
    async close() {
      const closed = new Error(`the informer of ${what} was closed`);
      stopping.abort(closed);
      neverSynced(closed);
      await running;
    },
  };
}

// --- internal -----------------------------------------------------------------------------------

/** `value` absent: of no interest, and remembered only so that older news of it are known for what they are. */
type Entry<T> = { readonly uid: string; readonly version: string; readonly value?: T };
