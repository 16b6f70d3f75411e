/**
 * Prepared servers: copies of a parent that run already, before anybody asks, so that a branch of it is a hand-over. Each has
 * the id that its branch will have, and nobody's password. One is handed over only while its parent's answer to how far it
 * has come is the one that it was copied with: then all is in it that is committed there. They are made for
 * parents of which branches are made again and again, one at a time, while nothing else starts and memory is left.
 */
import { isDeepStrictEqual } from 'node:util';
import type { Log } from '../../lib/log.ts';
import { randomName } from '../../lib/random.ts';
import { shared } from '../../lib/shared.ts';
import { orAborted } from '../../lib/wait.ts';
import { type BranchLike, branchIdOf } from '../../model/branch.ts';
import type { Positions, ServerDriver, VolumeDriver } from '../branch-parts.ts';
import type { Ctx } from '../contract.ts';
import { timedCopy } from './timed-copy.ts';

export type PreparedOptions = {
  readonly volumes: VolumeDriver;
  readonly servers: ServerDriver;
  /** Of all parents, at a time; 0: there are none. */
  readonly most: number;
  /** @returns the way to give back the place for a copy of `parent`; undefined: no copy may be made of it now */
  readonly copyPlace: (parent: string) => (() => void) | undefined;
  /** Whether others start servers, which are waited for. */
  readonly isBusy: () => boolean;
  readonly log: Log;
};

export type Prepared = {
  /** See BranchNode.reserve. */
  take(parent: string, like: BranchLike): Promise<string | undefined>;
  /** It was taken, and no branch came of it. */
  giveBack(id: string): void;
  /** It is a branch's from now on. @returns false when it is none of those that were taken */
  claim(id: string): boolean;
  /** A branch of `parent` is there: another may follow. */
  made(parent: string, like: BranchLike): void;
  /** Others start nothing any more. */
  goOn(): void;
  /** Whether `id` is, or is just becoming, one that no branch has yet. */
  has(id: string): boolean;
  /** The server of `id` has ended by itself. */
  lost(id: string): void;
  /** When it returns there is none of `parent` any more. */
  drop(parent: string): Promise<void>;
  /** Gives the room of all back. */
  clear(): Promise<void>;
};

export function keepPrepared(options: PreparedOptions): Prepared {
  const { volumes, servers, copyPlace, isBusy, log } = options;
  const most = volumes.copyOnWrite ? options.most : 0;
  const stocks = new Map<string, Stock>();
  /** All of this process that no branch has. */
  const ids = new Set<string>();
  const taken = new Map<string, { readonly parent: string; readonly one: Ready }>();
  let making: Promise<void> | undefined;
  /** Those that nobody gets any more, until they are gone. */
  const ending = new Set<Promise<void>>();

  const drop: Prepared['drop'] = async parent => {
    const stock = stocks.get(parent);
    if (stock === undefined) return;
    stocks.delete(parent);
    clearTimeout(stock.timer);
    stock.stop.abort(new Error('its parent changes'));
    const { ready } = stock;
    stock.ready = [];
    for (const { id } of ready) end(id);
    await stock.making;
    await stock.line?.close().catch(() => {}); // its server may have ended
    await Promise.all(ending);
  };

  return {
    drop,
    goOn: begin,
    has: id => ids.has(id),

    async take(parent, like) {
      const stock = stocks.get(parent);
      if (stock === undefined || stock.ready.length === 0 || !isDeepStrictEqual(stock.like, like))
        return undefined;
      const at = await orAborted(stock.position(), AbortSignal.timeout(ANSWER_MS)).catch(() => undefined);
      if (stocks.get(parent) !== stock) return undefined;
      const stale = stock.ready.filter(one => one.at !== at);
      stock.ready = stock.ready.filter(one => one.at === at);
      for (const { id } of stale) end(id);
      const one = stock.ready.shift();
      if (one !== undefined) {
        stock.inVain = 0;
        taken.set(one.id, { parent, one });
      } else if (stale.length > 0) {
        stock.inVain += 1;
        stock.owed = Math.min(2 ** stock.inVain, MOST_OWED);
      }
      return one?.id;
    },

    giveBack(id) {
      const { parent, one } = taken.get(id) ?? {};
      taken.delete(id);
      if (one === undefined) return;
      const stock = stocks.get(parent!);
      if (stock === undefined) end(id);
      else stock.ready.push(one);
    },

    claim(id) {
      ids.delete(id);
      return taken.delete(id);
    },

    made(parent, like) {
      if (most === 0) return;
      let stock = stocks.get(parent);
      if (stock !== undefined && !isDeepStrictEqual(stock.like, like)) {
        void drop(parent);
        stock = undefined;
      }
      stock ??= newStock(parent, like);
      stocks.set(parent, stock);
      stock.owed = Math.max(0, stock.owed - 1);
      stock.asked = [...stock.asked, performance.now()].slice(-MOST_OF_ONE);
      stock.timer.refresh();
      // Whoever has asked for it has something to ask it first.
      setTimeout(begin, SETTLE_MS).unref();
    },

    lost(id) {
      for (const stock of stocks.values()) {
        if (!stock.ready.some(one => one.id === id)) continue;
        stock.ready = stock.ready.filter(one => one.id !== id);
        end(id);
      }
    },

    async clear() {
      await Promise.all([...stocks.keys()].map(drop));
      await Promise.all(ending);
    },
  };

  function newStock(parent: string, like: BranchLike): Stock {
    const stock: Stock = {
      ...{ like, ready: [], asked: [], inVain: 0, owed: 0, stop: new AbortController() },
      position: shared(async () => (await stock.line?.read())?.at),
      timer: setTimeout(() => void drop(parent), WARM_MS).unref(),
    };
    return stock;
  }

  /** Makes one where it lacks, if this is the time for it. */
  function begin(): void {
    if (making !== undefined || isBusy() || process.availableMemory() < LEAST_FREE) return;
    const there = [...stocks.values()].reduce((sum, { ready }) => sum + ready.length, taken.size);
    const next = [...stocks].find(([, stock]) => stock.ready.length < wanted(stock));
    if (next === undefined || there >= most) return;
    const [parent, stock] = next;
    making = make(parent, stock).finally(() => {
      making = undefined;
      begin();
    });
    stock.making = making;
  }

  async function make(parent: string, stock: Stock): Promise<void> {
    const id = branchIdOf(randomName(12));
    const ctx = { signal: AbortSignal.any([stock.stop.signal, AbortSignal.timeout(MAKE_MS)]), log };
    ids.add(id);
    try {
      const at = await start(id, parent, stock.like, ctx);
      ctx.signal.throwIfAborted();
      await listen(parent, stock, ctx);
      stock.ready.push({ id, at });
    } catch (error) {
      stock.owed = MOST_OWED;
      if (!stock.stop.signal.aborted) log.info({ branch: parent, error }, 'no server could be prepared');
      end(id);
    }
  }

  /** @returns where its parent stood when it was copied */
  async function start(id: string, parent: string, like: BranchLike, ctx: Ctx): Promise<string> {
    const { project, role, database, rolePasswords: others, settings } = like;
    const release = copyPlace(parent);
    if (release === undefined) throw new Error('no copy can be made of its parent now');
    let at: string | undefined;
    let dataDir: string;
    try {
      const live = await servers.live(parent, ctx, performance.now() - FLUSHED_MS);
      if (live === undefined) throw new Error('the server of its parent does not run');
      const timed = timedCopy(live, () => servers.position(parent, ctx));
      servers.prepare?.(id, { settings, like: parent });
      const createdAt = new Date().toISOString();
      const made = await volumes.ensure(
        id,
        {
          record: { id, project, branch: id, parent, createdAt, role, database, stock: 'prepared' },
          source: { id: parent, live: timed.live },
          prepare: (dir, c) => servers.adopt(dir, c, live.unlogged.held),
        },
        ctx,
      );
      at = timed.at(made.record);
      dataDir = made.dataDir;
    } finally {
      release();
    }
    if (at === undefined) throw new Error('its parent did not stand still');
    await servers.ensure(id, { dataDir, settings }, ctx);
    const access = { role, database, inherited: true, ...(others && { others }) };
    await servers.grantAhead(id, access, ctx);
    return at;
  }

  /** Whoever asks later finds somebody who asks the parent at once. */
  async function listen(parent: string, stock: Stock, ctx: Ctx): Promise<void> {
    const answers = await stock.line?.read().catch(() => undefined);
    if (answers === undefined) stock.line = await servers.positions(parent, ctx);
    if (stock.stop.signal.aborted) await stock.line?.close();
    ctx.signal.throwIfAborted();
  }

  function end(id: string): void {
    const work = remove(id).finally(() => ending.delete(work));
    ending.add(work);
  }

  async function remove(id: string): Promise<void> {
    const ctx = { signal: AbortSignal.timeout(END_MS), log };
    try {
      await servers.remove(id, ctx);
      await volumes.remove(id, ctx);
    } catch (error) {
      log.warn({ volume: id, error }, 'a prepared server could not be removed'); // a leftover like any other
    }
    ids.delete(id);
  }
}

// --- internal ------------------------------------------------------------------------------------

type Ready = {
  readonly id: string;
  /** Where its parent stood. */
  readonly at: string;
};

/** What is kept of one parent. */
type Stock = {
  readonly like: BranchLike;
  ready: Ready[];
  /** When the last branches of it were made; performance.now(). */
  asked: readonly number[];
  /** How often in a row its parent had gone on before anybody came. */
  inVain: number;
  /** So many branches are to be made before another try: what is always stale is not worth its making. */
  owed: number;
  making?: Promise<void>;
  readonly stop: AbortController;
  /** To its parent, which answers how far it is. */
  line?: Positions | undefined;
  /** Where its parent stands: one question for all who ask together. */
  readonly position: () => Promise<string | undefined>;
  readonly timer: NodeJS.Timeout;
};

/** As many as were asked for within a minute; one as long as there is one now and then; none for the very first branch. */
function wanted({ asked, owed }: Stock): number {
  if (asked.length < 2 || owed > 0) return 0;
  const now = performance.now();
  return Math.max(1, asked.filter(at => now - at < 60_000).length);
}

const MOST_OF_ONE = 4;
const MOST_OWED = 16;
/** So long after its last branch a parent has some still. */
const WARM_MS = 5 * 60_000;
const SETTLE_MS = 50;
/** A checkpoint that is no older keeps a recovery short. */
const FLUSHED_MS = 60_000;
/** A parent that says nothing for so long is not what it was. */
const ANSWER_MS = 1_000;
const MAKE_MS = 60_000;
const END_MS = 60_000;
/** Bytes of memory that others must have left. */
const LEAST_FREE = 512 * 2 ** 20;
