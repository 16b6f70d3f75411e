/**
 * The scheduler: keys in, one look at a time per key. It decides when a key is looked at, and nothing else: a
 * reconciler never sees the event that woke it, and says by its result when it wants to look again.
 *
 * A look that fails makes a pause, longer each time, which no event ends but a change of intent: whatever is
 * asked for meanwhile, a broken thing is tried a few times a minute. Who waits for something returns its topic
 * and holds nothing meanwhile.
 */
import { type Clock, realClock } from '../lib/clock.ts';
import { Heap } from '../lib/heap.ts';
import type { Log } from '../lib/log.ts';
import { Stopping } from '../lib/stopping.ts';
import { toOffshootError } from '../model/errors.ts';
import type { KindCounts } from '../model/view.ts';
import { Patience, type Pauses } from './patience.ts';
import { createTopics, type Topic, type Waits } from './topics.ts';

/** `kind name`, e.g. `branch br4f6k`. */
export type Key = `${string} ${string}`;

/** How a look ended; undefined: all is as it should be. */
export type Result =
  | undefined
  | {
      /** Look at this key once more after so many milliseconds, also when nothing happens. */
      readonly again?: number;
      /** It waits: look again when one of these is told. */
      readonly until?: readonly Topic[];
      /** Why it failed; the same as to throw it. */
      readonly failed?: unknown;
      /** How often it has failed before, when that is known from elsewhere. */
      readonly times?: number;
    };

/**
 * Slots of their own for what must not queue behind things that are being made. A key in a lane stays there until
 * a look succeeds and asks for no other. In `delete` nothing is ever given up.
 */
export type Lane = 'usual' | 'recovery' | 'delete';

export type Wish = {
  /** What is asked for has changed: what failed before says nothing any more, so it is tried at once. */
  readonly intent?: boolean;
  /** Aborts a look that is under way. */
  readonly interrupt?: boolean;
  readonly lane?: Lane;
};

export type Scheduler = {
  /** Asks for a look at `key`, soon or when its pause has passed; many asks before the look are one. */
  add(key: Key, wish?: Wish): void;
  /** See reconcile/topics.ts. */
  tell(topic: Topic, most?: number): void;
  /** Resolves when nothing runs and nothing is due now (later looks may be). */
  idle(): Promise<void>;
  counts(): Readonly<Record<string, KindCounts>>;
  /** Starts nothing more, aborts what runs, and waits for it. */
  close(): Promise<void>;
};

export type KindOptions = {
  /** @throws anything: the key is looked at again after a pause, unless the error's row says that it cannot help */
  readonly reconcile: (name: string, signal: AbortSignal) => Promise<Result>;
  /** Keys at once, in each lane. */
  readonly concurrency: number;
};

export type SchedulerOptions = {
  readonly kinds: Readonly<Record<string, KindOptions>>;
  readonly pauses: Pauses;
  readonly log: Log;
  readonly clock?: Clock;
};

export function createScheduler({ kinds, pauses, log, clock = realClock }: SchedulerOptions): Scheduler {
  const entries = new Map<Key, Entry>();
  const running = new Set<Entry>();
  const topics = createTopics<Entry>(entry => {
    // One that is being looked at says at the end whether it still waits for that.
    if (entry.look !== undefined) return;
    entry.wanted = true;
    arrange(entry);
  });
  const states = new Map(Object.entries(kinds).map(([kind, options]) => [kind, stateOf(options)]));
  let tickets = 0;
  let queued = 0;
  let pumping = false;
  let closed = false;
  let waiters: (() => void)[] = [];

  const entryOf = (key: Key): Entry => {
    const known = entries.get(key);
    if (known !== undefined) return known;
    const at = key.indexOf(' ');
    const kind = states.get(key.slice(0, at));
    if (kind === undefined) throw new TypeError(`"${key}" is not of a kind that is looked at`);
    const entry: Entry = {
      key,
      name: key.slice(at + 1),
      kind,
      waits: new Map(),
      lane: 'usual',
      laneAsked: 'usual',
      wanted: false,
      changed: false,
      ticket: 0,
      queuedAt: 0,
      patience: new Patience(pauses, clock),
    };
    entries.set(key, entry);
    return entry;
  };

  /** Puts an entry that wants a look where it belongs: into its queue, or behind its pause. */
  const arrange = (entry: Entry): void => {
    if (closed || !entry.wanted || entry.look !== undefined || entry.ticket !== 0) return;
    const now = clock.now();
    if (now < entry.patience.notBefore) {
      wakeAt(entry, entry.patience.notBefore);
      return;
    }
    entry.ticket = ++tickets;
    entry.queuedAt = now;
    entry.kind.lanes[entry.lane].queue.push(entry);
    queued += 1;
    pumpSoon();
  };

  const unqueue = (entry: Entry): void => {
    if (entry.kind.lanes[entry.lane].queue.delete(entry)) queued -= 1;
    entry.ticket = 0;
  };

  const wakeAt = (entry: Entry, at: number): void => {
    if (closed || (entry.alarm !== undefined && entry.alarm.at <= at)) return;
    entry.alarm?.stop();
    const stop = clock.after(Math.max(0, at - clock.now()), () => {
      delete entry.alarm;
      entry.wanted = true;
      arrange(entry);
    });
    entry.alarm = { at, stop };
  };

  const pumpSoon = (): void => {
    if (pumping) return;
    pumping = true;
    clock.soon(pump);
  };

  /** Starts what there are slots for, a few milliseconds long; then others have their turn. */
  const pump = (): void => {
    pumping = false;
    if (closed) return;
    const end = clock.now() + sliceMs;
    for (const { options, lanes } of states.values()) {
      for (const lane of Object.values(lanes)) {
        while (lane.running < options.concurrency && lane.queue.size > 0) {
          if (clock.now() > end) {
            pumpSoon();
            return;
          }
          begin(lane.queue.pop()!, lane);
        }
      }
    }
    settleIdle();
  };

  const begin = (entry: Entry, lane: Pool): void => {
    const { counts } = entry.kind;
    counts.longestWaitMs = Math.max(counts.longestWaitMs, clock.now() - entry.queuedAt);
    counts.looks += 1;
    queued -= 1;
    lane.running += 1;
    entry.alarm?.stop();
    delete entry.alarm;
    Object.assign(entry, { wanted: false, changed: false, laneAsked: 'usual', ticket: 0 });
    entry.look = new AbortController();
    running.add(entry);
    void look(entry, entry.look.signal, lane);
  };

  const look = async (entry: Entry, signal: AbortSignal, lane: Pool): Promise<void> => {
    const begun = topics.begin();
    let until: readonly Topic[] = [];
    try {
      const result = await entry.kind.options.reconcile(entry.name, signal);
      until = result?.until ?? [];
      if (result?.again !== undefined) wakeAt(entry, clock.now() + result.again);
      if (result?.failed !== undefined) failed(entry, result.failed, result.times);
      else if (until.length === 0) succeeded(entry, result?.again !== undefined);
    } catch (thrown) {
      // Who was interrupted is looked at again; it has not failed.
      if (!signal.aborted) failed(entry, thrown);
    }
    delete entry.look;
    running.delete(entry);
    lane.running -= 1;
    if (lane.queue.size > 0) pumpSoon();
    if (topics.settle(entry, until, begun)) entry.wanted = true;
    arrange(entry);
    forget(entry);
    settleIdle();
  };

  const succeeded = (entry: Entry, goesOn: boolean): void => {
    if (!goesOn) entry.lane = entry.laneAsked;
    if (!closed) entry.patience.succeeded(() => forget(entry)); // or its timer would outlast us
  };

  const failed = (entry: Entry, thrown: unknown, times?: number): void => {
    const error = toOffshootError(thrown);
    const { patience, kind } = entry;
    const fields = {
      key: entry.key,
      code: error.code,
      attempt: patience.failures,
      err: error.cause ?? error,
    };
    kind.counts.failures += 1;
    if (entry.changed) {
      log.warn(fields, 'look failed, but something else is asked for by now');
      return;
    }
    const againMs = error.row.passes ? patience.stumbled() : patience.failed(times);
    if (error.row.retry || entry.lane === 'delete') {
      entry.wanted = true;
      log.warn({ ...fields, againMs }, 'look failed, will try again');
    } else {
      log.warn(fields, 'look failed, waits for a change');
    }
  };

  const forget = (entry: Entry): void => {
    const idle = !entry.wanted && entry.look === undefined && entry.alarm === undefined;
    if (idle && entry.patience.failures === 0 && entry.waits.size === 0) entries.delete(entry.key);
  };

  const settleIdle = (): void => {
    if (running.size > 0 || (queued > 0 && !closed)) return;
    for (const resolve of waiters) resolve();
    waiters = [];
  };

  return {
    tell: topics.tell,
    add(key, { intent = false, interrupt = false, lane = 'usual' } = {}) {
      if (closed) return;
      const entry = entryOf(key);
      entry.laneAsked = higher(entry.laneAsked, lane);
      if (higher(entry.lane, lane) !== entry.lane) {
        unqueue(entry);
        entry.lane = lane;
      }
      if (intent) {
        entry.patience.forgive();
        entry.changed = true;
      }
      if (interrupt) entry.look?.abort(new Error('the intent changed'));
      entry.wanted = true;
      arrange(entry);
    },
    idle: () =>
      running.size === 0 && queued === 0
        ? Promise.resolve()
        : new Promise(resolve => void waiters.push(resolve)),
    counts() {
      const all = new Map(
        [...states.values()].map(kind => [
          kind,
          { queued: 0, running: 0, waiting: 0, paused: 0, ...kind.counts },
        ]),
      );
      const now = clock.now();
      for (const { kind, look, ticket, waits, patience } of entries.values()) {
        const counts = all.get(kind)!;
        if (look !== undefined) counts.running += 1;
        else if (ticket !== 0) counts.queued += 1;
        else if (now < patience.notBefore) counts.paused += 1;
        else if (waits.size > 0) counts.waiting += 1;
      }
      return Object.fromEntries([...states].map(([name, kind]) => [name, all.get(kind)!]));
    },
    async close() {
      closed = true;
      for (const entry of entries.values()) {
        entry.alarm?.stop();
        entry.patience.close();
        entry.look?.abort(new Stopping());
      }
      if (running.size > 0) await new Promise<void>(resolve => void waiters.push(resolve));
    },
  };
}

// --- internal -----------------------------------------------------------------------------------

type Entry = {
  readonly key: Key;
  readonly name: string;
  readonly kind: KindState;
  readonly waits: Waits;
  lane: Lane;
  /** The highest lane that was asked for since the last look began. */
  laneAsked: Lane;
  /** A look is wanted. */
  wanted: boolean;
  /** The intent changed since the last look began. */
  changed: boolean;
  /** Its number in the queue, from 1; 0 when it is not in it. */
  ticket: number;
  queuedAt: number;
  readonly patience: Patience;
  look?: AbortController;
  alarm?: { readonly at: number; stop(): void };
};

type Pool = { running: number; readonly queue: Heap<Entry> };

type KindState = {
  readonly options: KindOptions;
  readonly lanes: Readonly<Record<Lane, Pool>>;
  readonly counts: { looks: number; failures: number; longestWaitMs: number };
};

function stateOf(options: KindOptions): KindState {
  const pool = (): Pool => ({ running: 0, queue: new Heap((a, b) => a.ticket < b.ticket) });
  return {
    options,
    lanes: { delete: pool(), recovery: pool(), usual: pool() },
    counts: { looks: 0, failures: 0, longestWaitMs: 0 },
  };
}

const rank: Readonly<Record<Lane, number>> = { usual: 0, recovery: 1, delete: 2 };
const higher = (a: Lane, b: Lane): Lane => (rank[b] > rank[a] ? b : a);

/** Milliseconds that looks are begun for at a stretch: sockets and timers must not wait for a crowd of keys. */
const sliceMs = 4;
