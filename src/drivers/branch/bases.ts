/**
 * Clean bases: a copy of a running parent that has recovered and ended in order, once for many. A branch that begins as a
 * copy of one needs no checkpoint of its parent, no recovery and none of their flushes. A base is in stock for branches
 * that were asked for before it was begun: what was committed until then is in it. It is a volume that no branch claims; what a
 * killed process leaves of it is removed as anything half-made is.
 */
import type { Log } from '../../lib/log.ts';
import { randomName } from '../../lib/random.ts';
import type { BranchRecord } from '../../model/branch.ts';
import type { LiveParent, ServerDriver, VolumeDriver, VolumeSpec } from '../branch-parts.ts';
import type { Ctx } from '../contract.ts';
import { timedCopy } from './timed-copy.ts';

export type Base = {
  /** Of its volume. */
  readonly id: string;
  readonly emptied?: BranchRecord['emptied'];
};

export type Bases = {
  /**
   * A base of `parent` with all that was committed until `moment` (performance.now()), to copy from: it stays until
   * `release` is called. If nothing has been committed since it was made, it is as good as new.
   */
  take(
    parent: string,
    moment: number,
    ctx: Ctx,
  ): Promise<{ readonly base: Base; release(): void } | undefined>;
  isMaking(parent: string): boolean;
  /**
   * Makes one in the place of the one that there is.
   * @param record of a branch of the project
   * @param since what was committed until then is to be in it
   * @returns whether there is one now
   */
  make(parent: string, record: BranchRecord, since: number, ctx: Ctx): Promise<boolean>;
  /**
   * The same of a parent whose server does not run: of its files, as a crash has left them. What is wrong with them is
   * not held against the next try.
   * @param copied called when the server may start
   */
  makeOfFiles(
    parent: string,
    record: BranchRecord,
    copied: () => void,
    since: number,
    ctx: Ctx,
  ): Promise<boolean>;
  /** When it returns there is none of `parent` any more. */
  drop(parent: string): Promise<void>;
  /** Gives the room of all bases back. */
  clear(): Promise<void>;
  /** Whether the volume `id` is, or is just becoming, a base. */
  has(id: string): boolean;
};

export function keepBases({ volumes, servers, log }: Parts): Bases {
  const bases = new Map<string, Kept>();
  const making = new Map<string, Promise<boolean>>();
  /** All of this process, until they are gone. */
  const ids = new Set<string>();
  /** Parents of which none could be made, and when. */
  const refused = new Map<string, number>();

  const drop: Bases['drop'] = async parent => {
    await making.get(parent)?.catch(() => {});
    await dropKept(parent);
  };
  return {
    drop,
    isMaking: parent => making.has(parent),
    has: id => ids.has(id),

    async take(parent, moment, ctx) {
      const found = bases.get(parent);
      if (found !== undefined && found.since < moment) await renew(parent, found, ctx);
      const kept = bases.get(parent);
      if (kept === undefined || kept.since < moment) return undefined;
      kept.timer.refresh();
      kept.copies += 1;
      const release = () => {
        kept.copies -= 1;
        if (kept.copies === 0) kept.unused?.();
      };
      return { base: kept.base, release };
    },

    async make(parent, record, since, ctx) {
      const last = refused.get(parent);
      if (last !== undefined && performance.now() - last < PAUSE_MS) return false;
      try {
        return await announced(parent, async () => {
          const live = await servers.live(parent, ctx, since);
          return live !== undefined && (await make(parent, record, since, live, ctx));
        });
      } catch (error) {
        ctx.signal.throwIfAborted();
        log.warn({ branch: parent, error }, 'no base could be made'); // each branch is a copy of its own, then
        refused.set(parent, performance.now());
        return false;
      }
    },

    makeOfFiles: (parent, record, copied, since, ctx) =>
      announced(parent, () => make(parent, record, since, copied, ctx))
        .catch(() => false)
        .finally(copied),

    async clear() {
      await Promise.all([...new Set([...bases.keys(), ...making.keys()])].map(drop));
    },
  };

  /** For all who ask while an answer is on its way, it comes too early to be theirs, unless they had asked before. */
  async function renew(parent: string, kept: Kept, ctx: Ctx): Promise<void> {
    if (kept.position === undefined) return;
    const begun = performance.now();
    const now = await servers.position(parent, ctx).catch(() => undefined);
    if (now?.at === kept.position) kept.since = Math.max(kept.since, begun);
    else delete kept.position;
  }

  async function announced(parent: string, work: () => Promise<boolean>): Promise<boolean> {
    const begun = work();
    making.set(parent, begun);
    try {
      return await begun;
    } finally {
      making.delete(parent);
    }
  }

  async function make(
    parent: string,
    record: BranchRecord,
    since: number,
    from: From,
    ctx: Ctx,
  ): Promise<boolean> {
    const id = `base-${randomName(12)}`;
    ids.add(id);
    const timed =
      typeof from === 'function' ? undefined : timedCopy(from, () => servers.position(parent, ctx));
    try {
      const spec = specOf(id, parent, record, timed?.live ?? from, servers);
      const { record: made } = await volumes.ensure(id, spec, ctx);
      await dropKept(parent);
      const timer = setTimeout(() => void dropKept(parent), IDLE_MS).unref();
      const base = { id, ...(made.emptied && { emptied: made.emptied }) };
      const position = timed?.at(made);
      bases.set(parent, { base, since, timer, copies: 0, ...(position !== undefined && { position }) });
    } catch (error) {
      ids.delete(id);
      throw error;
    }
    const [oldest] = bases.keys();
    if (bases.size > MOST) await dropKept(oldest!);
    return true;
  }

  async function dropKept(parent: string): Promise<void> {
    const kept = bases.get(parent);
    if (kept === undefined) return;
    bases.delete(parent);
    clearTimeout(kept.timer);
    if (kept.copies > 0) await new Promise<void>(resolve => (kept.unused = resolve));
    const { id } = kept.base;
    try {
      await volumes.remove(id, { signal: AbortSignal.timeout(REMOVE_MS), log });
    } catch (error) {
      log.warn({ volume: id, error }, 'a base could not be removed'); // from now on it is a leftover like any other
    }
    ids.delete(id);
  }
}

// --- internal ------------------------------------------------------------------------------------

type Parts = { readonly volumes: VolumeDriver; readonly servers: ServerDriver; readonly log: Log };

/** The parent's server, or who is to be told that its files are copied. */
type From = LiveParent | (() => void);

type Kept = {
  readonly base: Base;
  /** What was committed until then is in it. */
  since: number;
  /** Where its parent stood then; absent: nobody knows, or it has gone on. */
  position?: string;
  readonly timer: NodeJS.Timeout;
  /** That are being made from it. */
  copies: number;
  /** Called when they are, once nobody begins another. */
  unused?: () => void;
};

/** Of different parents, at a time: each keeps what its parent has written over since. */
const MOST = 4;
/** So long one is kept that nobody copies from. */
const IDLE_MS = 60_000;
/** After a failure. */
const PAUSE_MS = 60_000;
const REMOVE_MS = 60_000;

function specOf(
  id: string,
  parent: string,
  record: BranchRecord,
  from: From,
  servers: ServerDriver,
): VolumeSpec {
  const live = typeof from === 'function' ? undefined : from;
  return {
    record: { ...record, id, branch: `base of ${parent}`, parent, stock: 'base' },
    source: { id: parent, ...(live && { live }) },
    async prepare(dataDir, ctx) {
      if (typeof from === 'function') from();
      await servers.adopt(dataDir, ctx, live?.unlogged.held);
      await servers.recover(id, dataDir, ctx);
    },
  };
}
