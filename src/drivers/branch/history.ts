/**
 * History of branches: snapshots of their volumes on a schedule, and all of their log (WAL) in between, in a volume beside
 * the branch's that no child inherits. A branch that is to hold what another held at a moment begins as a copy of the newest
 * snapshot before it, with the log up to then in its own pg_wal, recovers once, and knows nothing of ours afterwards.
 *
 * Volumes: `<id>-at-<n>` is a snapshot, as a crash would have left the branch: no server ever runs on it. `<id>-wal` holds
 * `history.json` and a folder of segments per era.
 */
import { existsSync } from 'node:fs';
import { chmod, chown, lstat, mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { KeyedLock } from '../../lib/lock.ts';
import type { Log } from '../../lib/log.ts';
import { randomName } from '../../lib/random.ts';
import { type Repeated, repeat } from '../../lib/repeat.ts';
import { syncDirectory } from '../../lib/sync.ts';
import type { BranchRecord } from '../../model/branch.ts';
import { OffshootError } from '../../model/errors.ts';
import { type HistorySpec, inUtc, isReached, type Reach, type Span, spansText } from '../../model/history.ts';
import { isShort } from '../../model/room.ts';
import type { LiveParent, ServerDriver, VolumeDriver, VolumeSpec } from '../branch-parts.ts';
import type { Ctx } from '../contract.ts';
import {
  type Era,
  readEras,
  type Snapshot,
  withoutOld,
  withoutOldest,
  withoutUnreached,
  writeEras,
} from './history-record.ts';
import { copySegment, isWritten, nextSegment, segmentsIn } from './segments.ts';

export type HistoryOptions = {
  readonly volumes: VolumeDriver;
  readonly servers: ServerDriver;
  /** Runs `work` while nobody starts, ends or replaces the branch. */
  readonly alone: <T>(id: string, work: () => Promise<T>) => Promise<T>;
  /** Copies the volume of `id`, if one may be made of it now. @returns false: not now */
  readonly snapshot: (id: string, make: () => Promise<unknown>) => Promise<boolean>;
  /** Milliseconds between two looks at each branch, default 10 000. */
  readonly lookMs?: number;
  readonly now?: () => Date;
  readonly log: Log;
};

export type History = {
  /** What is to be kept from now on; undefined: nothing, and what there is goes. May be repeated. */
  want(id: string, spec: HistorySpec | undefined): void;
  /**
   * What a branch begins as that is to hold what `id` held at a moment.
   * @throws OffshootError history/none, history/out-of-range
   */
  source(id: string, name: string, moment: string, ctx: Ctx): Promise<MomentSource>;
  /** The server of `id` has ended and its volume is about to be replaced: what it has written is kept. */
  leave(id: string, ctx: Ctx): Promise<void>;
  /** Undefined: none is kept. */
  of(id: string, ctx: Ctx): Promise<Reach | undefined>;
  /** Nothing is left of it. */
  remove(id: string, ctx: Ctx): Promise<void>;
  /** Room is short: the oldest snapshot of all goes, and at last all of them. */
  giveWay(): Promise<void>;
  close(): Promise<void>;
};

export type MomentSource = Pick<VolumeSpec, 'prepare'> & {
  readonly source: { readonly id: string };
  /** To be called when the copy is made. */
  readonly release: () => void;
};

/** The branch that a volume of history is for; any other id is its own. */
export const historyOf = (id: string): string => /^(.+?)-(?:wal|at-\d+)$/.exec(id)?.[1] ?? id;

export function openHistory(options: HistoryOptions): History {
  const { volumes, servers, log, now = () => new Date(), lookMs = LOOK_MS } = options;
  const locks = new KeyedLock();
  const keepers = new Map<string, Keeper>();
  /** What is just given up. */
  let giving: Promise<void> | undefined;
  /** Snapshots that are being copied. */
  const used = new Map<string, number>();
  const at = () => inUtc(now().toISOString());

  const history: History = {
    want(id, spec) {
      const keeper = keepers.get(id);
      if (keeper !== undefined) {
        const before = keeper.spec;
        keeper.spec = spec;
        const isOther =
          before?.everySeconds !== spec?.everySeconds || before?.keepSeconds !== spec?.keepSeconds;
        if (isOther || keeper.replaced) keeper.looking.now();
        keeper.replaced = false;
        return;
      }
      if (spec === undefined) return;
      const failed = (error: unknown) =>
        log.warn({ branch: id, error }, 'the history of a branch is not kept');
      keepers.set(id, { spec, replaced: false, looking: repeat(() => look(id), failed, lookMs) });
    },

    async source(id, name, moment, ctx) {
      const text = inUtc(moment);
      const found = await locks.run(id, async () => {
        const eras = withoutUnreached(await erasOf(id, ctx));
        if (eras.length === 0) throw new OffshootError('history/none', { name });
        const reach = { spans: eras.map(spanOf), snapshots: [], bytes: 0 };
        if (!isReached(reach, text, now()))
          throw new OffshootError('history/out-of-range', {
            name,
            moment: text,
            range: spansText(reach.spans),
          });
        const era = eras.findLast(e => e.snapshots[0]!.at <= text && text <= (e.endedAt ?? '9'))!;
        const snapshot = era.snapshots.findLast(s => s.at <= text)!;
        const volume = snapshotOf(id, snapshot);
        used.set(volume, (used.get(volume) ?? 0) + 1);
        return { era, snapshot, volume };
      });
      const { era, snapshot, volume } = found;
      return {
        source: { id: volume },
        release: () => void used.set(volume, used.get(volume)! - 1),
        async prepare(dataDir, c) {
          await servers.adopt(dataDir, c);
          const ends = await locks.run(id, () => giveLog(id, era.n, snapshot, dataDir, c));
          await servers.recoverTo(
            `${id}-moment-${randomName(6)}`,
            dataDir,
            { moment: text, wal: KEPT_WAL, ends },
            c,
          );
        },
      };
    },

    leave: (id, ctx) =>
      locks.run(id, async () => {
        const keeper = keepers.get(id);
        if (keeper !== undefined) keeper.replaced = true;
        const eras = await erasOf(id, ctx);
        const era = eras.at(-1);
        if (era === undefined || era.endedAt !== undefined) return;
        const dataDir = (await volumes.observe(id, ctx))?.dataDir;
        const wal = join(dataDir ?? '', 'pg_wal');
        if (dataDir !== undefined)
          for (const name of await missingOf(id, era, wal, ctx))
            await copySegment(wal, await folderOf(id, era, ctx), name, { durable: true });
        await write(id, [...eras.slice(0, -1), { ...era, endedAt: at() }], ctx);
      }),

    async of(id, ctx) {
      const eras = withoutUnreached(await erasOf(id, ctx));
      if (eras.length === 0) return undefined;
      const usages = await volumes.usages();
      const ours = [walOf(id), ...eras.flatMap(e => e.snapshots).map(s => snapshotOf(id, s))];
      return {
        spans: eras.map(spanOf),
        snapshots: eras.flatMap(e => e.snapshots.map(s => s.at)),
        bytes: ours.reduce((sum, volume) => sum + (usages.get(volume)?.bytes ?? 0), 0),
      };
    },

    async remove(id, ctx) {
      const keeper = keepers.get(id);
      keepers.delete(id);
      void keeper?.looking.stop(); // a look may be waiting for us
      await locks.run(id, () => removeAll(id, ctx));
    },

    giveWay() {
      // It is asked for again and again, also while one goes.
      giving ??= giveOldest()
        .catch(error => log.warn({ error }, 'no history could be given up'))
        .finally(() => {
          giving = undefined;
        });
      return giving;
    },

    async close() {
      await Promise.all([...keepers.values()].map(({ looking }) => looking.stop()));
      keepers.clear();
    },
  };
  return history;

  async function giveOldest(): Promise<void> {
    const ctx = within(GIVE_WAY_MS);
    const kept = await Promise.all(
      [...keepers.keys()].map(async id => ({ id, eras: await erasOf(id, ctx) })),
    );
    const [oldest] = kept
      .filter(({ eras }) => eras.length > 0)
      .sort((a, b) => (a.eras[0]!.snapshots[0]!.at < b.eras[0]!.snapshots[0]!.at ? -1 : 1));
    if (oldest === undefined) return;
    await locks.run(oldest.id, async () =>
      prune(oldest.id, withoutOldest(await erasOf(oldest.id, ctx)), ctx),
    );
    log.warn({ branch: oldest.id }, 'the oldest snapshot of a history is given up for want of room');
  }

  /** @returns milliseconds until the next */
  async function look(id: string): Promise<number> {
    const ctx = within(LOOK_DEADLINE_MS);
    await options.alone(id, () =>
      locks.run(id, async () => {
        const keeper = keepers.get(id);
        if (keeper === undefined) return;
        if (keeper.spec === undefined) {
          const dataDir = (await volumes.observe(id, ctx))?.dataDir;
          if (dataDir !== undefined) await servers.wal.drop(id, dataDir, ctx);
          await removeAll(id, ctx);
          keepers.delete(id);
          void keeper.looking.stop();
          return;
        }
        await keep(id, keeper.spec, ctx);
      }),
    );
    return lookMs;
  }

  async function keep(id: string, { keepSeconds, everySeconds }: HistorySpec, ctx: Ctx): Promise<void> {
    const eras = await copyNew(id, await erasOf(id, ctx), ctx);
    const cutoff = inUtc(new Date(now().getTime() - keepSeconds * 1000).toISOString());
    const kept = await prune(id, withoutOld(withoutUnreached(eras), cutoff), ctx);
    if (isShort(await volumes.room())) {
      // What there is gives way instead, and the server is not to keep for us what nobody has room for.
      const dataDir = kept.length === 0 ? (await volumes.observe(id, ctx))?.dataDir : undefined;
      if (dataDir !== undefined) await servers.wal.drop(id, dataDir, ctx);
      return;
    }
    const era = kept.at(-1);
    const open = era?.endedAt === undefined ? era : undefined;
    const newest = open?.snapshots.at(-1);
    const slot = open?.slot ?? randomName(8);
    const wal = await servers.wal.hold(id, slot, ctx);
    if (wal === undefined) return; // asleep: nothing is written
    const age = newest === undefined ? Number.POSITIVE_INFINITY : now().getTime() - Date.parse(newest.at);
    if (newest !== undefined && (age < everySeconds * 1000 || newest.lsn === wal.lsn)) return;
    await takeSnapshot(id, kept, { slot, first: wal.first }, ctx);
  }

  /** Segments that are complete come to us, and the server may reuse them. An era that lacks one has ended before it. */
  async function copyNew(id: string, eras: readonly Era[], ctx: Ctx): Promise<readonly Era[]> {
    const era = eras.at(-1);
    if (era === undefined || era.endedAt !== undefined) return eras;
    const found = await volumes.observe(id, ctx);
    const wal = found && (await servers.wal.hold(id, era.slot, ctx));
    if (found === undefined || wal === undefined) return eras;
    const folder = await folderOf(id, era, ctx);
    const source = join(found.dataDir, 'pg_wal');
    if (wal.held) {
      const missing = (await missingOf(id, era, source, ctx)).filter(name => name < wal.current);
      const [any] = await segmentsIn(source, wal.current); // the one that is being written may not be there yet
      const size = any === undefined ? 0 : await sizeOfSegments(source, any);
      let expected = await nextOf(folder, era, size);
      for (const name of missing) {
        if (name !== expected) break;
        await copySegment(source, folder, name, { durable: true });
        expected = nextSegment(name, size);
      }
      await syncDirectory(folder);
      if (expected >= wal.current) {
        if (missing.length > 0) await servers.wal.free(id, era.slot, wal.current, ctx);
        return eras;
      }
      log.warn({ branch: id, expected }, 'a segment of the log is not there any more: a new history begins');
    } else
      log.warn({ branch: id, slot: era.slot }, 'the server has kept no log for a history: a new one begins');
    const all = [...eras.slice(0, -1), { ...era, ...(await lossOf(folder, era)) }];
    await write(id, all, ctx);
    return all;
  }

  async function takeSnapshot(
    id: string,
    eras: readonly Era[],
    { slot, first }: { readonly slot: string; readonly first: string },
    ctx: Ctx,
  ): Promise<void> {
    const n = Math.max(0, ...eras.flatMap(e => e.snapshots.map(s => s.n))) + 1;
    const volume = snapshotOf(id, { n });
    const found = await volumes.observe(id, ctx);
    const live = await servers.live(id, ctx);
    if (found === undefined || live === undefined) return;
    await volumes.remove(volume, ctx); // half-made, or half-removed
    const record: BranchRecord = {
      ...found.record,
      id: volume,
      branch: `${found.record.branch} (history)`,
      parent: id,
      stock: 'history',
    };
    const spec = { record, source: { id, live: withoutHold(live) }, prepare: async () => {} };
    if (!(await options.snapshot(id, () => volumes.ensure(volume, spec, ctx)))) return;
    const made: Snapshot = { n, at: at(), first, lsn: (await servers.wal.hold(id, slot, ctx))?.lsn ?? '' };
    const last = eras.at(-1);
    const isNew = last === undefined || last.endedAt !== undefined;
    const era: Era = isNew
      ? { n: (last?.n ?? 0) + 1, slot, snapshots: [made] }
      : { ...last, snapshots: [...last.snapshots, made] };
    await write(id, isNew ? [...eras, era] : [...eras.slice(0, -1), era], ctx);
  }

  /**
   * What is not in `eras` goes: first in writing, then on the disk. What is just copied from stays.
   * @returns what there is then
   */
  async function prune(id: string, eras: readonly Era[], ctx: Ctx): Promise<readonly Era[]> {
    const before = await erasOf(id, ctx);
    if (before.length === 0) return before;
    const held = before.map(era => ({
      ...era,
      snapshots: era.snapshots.filter(
        s =>
          (used.get(snapshotOf(id, s)) ?? 0) > 0 ||
          eras.some(e => e.n === era.n && e.snapshots.some(k => k.n === s.n)),
      ),
    }));
    const staying = held.filter(e => e.snapshots.length > 0);
    const going = before
      .flatMap(e => e.snapshots)
      .filter(s => !staying.some(e => e.snapshots.some(k => k.n === s.n)));
    if (going.length === 0) return staying;
    await write(id, staying, ctx);
    for (const snapshot of going) await volumes.remove(snapshotOf(id, snapshot), ctx);
    const wal = (await volumes.observe(walOf(id), ctx))!.dataDir;
    for (const name of await readdir(wal)) {
      if (!/^\d+$/.test(name)) continue;
      const era = staying.find(e => String(e.n) === name);
      if (era === undefined) await rm(join(wal, name), { recursive: true, force: true });
      else
        for (const segment of await segmentsIn(join(wal, name), era.snapshots[0]!.first))
          if (segment < era.snapshots[0]!.first) await rm(join(wal, name, segment), { force: true });
    }
    return staying;
  }

  async function removeAll(id: string, ctx: Ctx): Promise<void> {
    for (const volume of await volumes.list(ctx))
      if (volume !== id && historyOf(volume) === id) await volumes.remove(volume, ctx);
  }

  /**
   * All of the log that a copy of `snapshot` needs, to where the branch is now, for `recoverTo`.
   * @returns whether it ends where nothing more was ever written; otherwise something was, later than now
   * @param n of its era, which may have ended since it was looked at
   * @throws OffshootError history/not-recovered when some of it is missing
   */
  async function giveLog(
    id: string,
    n: number,
    { first }: Snapshot,
    dataDir: string,
    ctx: Ctx,
  ): Promise<boolean> {
    const era = (await erasOf(id, ctx)).find(e => e.n === n);
    if (era === undefined)
      throw new OffshootError('history/not-recovered', { why: 'it was given up meanwhile' });
    const target = join(dataDir, KEPT_WAL);
    const owner = await lstat(join(dataDir, 'PG_VERSION'));
    await mkdir(target, { mode: 0o700 });
    await chown(target, owner.uid, owner.gid);
    const folder = await folderOf(id, era, ctx);
    for (const name of await segmentsIn(folder, first))
      if (name >= first) await copySegment(folder, target, name, { owner });
    const found = era.endedAt === undefined ? await volumes.observe(id, ctx) : undefined;
    const goesOn = found !== undefined && (await servers.wal.flush(id, ctx)) !== undefined;
    if (found !== undefined) {
      const source = join(found.dataDir, 'pg_wal');
      for (const name of await missingOf(id, era, source, ctx))
        await copySegment(source, target, name, { owner });
    }
    let expected = first;
    for (const name of await segmentsIn(target, first)) {
      if (name !== expected) break;
      expected = nextSegment(name, await sizeOfSegments(target, name));
    }
    const last = (await segmentsIn(target, first)).at(-1);
    if (last === undefined || expected <= last) {
      const why = `segment ${expected} of its log is missing`;
      throw new OffshootError('history/not-recovered', { why });
    }
    return !goesOn;
  }

  /** Segments of the branch itself that have not been copied to us. */
  async function missingOf(id: string, era: Era, wal: string, ctx: Ctx): Promise<readonly string[]> {
    const { first } = era.snapshots.at(-1)!;
    const last = (await segmentsIn(await folderOf(id, era, ctx), first)).at(-1);
    const from = era.snapshots[0]!.first;
    const missing: string[] = [];
    for (const name of await segmentsIn(wal, first)) {
      if (last === undefined ? name < from : name <= last) continue;
      if (!(await isWritten(wal, name))) break;
      missing.push(name);
    }
    return missing;
  }

  async function nextOf(folder: string, era: Era, bytes: number): Promise<string> {
    const last = (await segmentsIn(folder, era.snapshots[0]!.first)).at(-1);
    return last === undefined ? era.snapshots[0]!.first : nextSegment(last, bytes);
  }

  /**
   * Until when all of it is known, of an era whose log goes on in what is lost. Who commits reads the clock before he writes: a commit of the
   * moment at which the last segment was filled may be in the next one; of the one before it, it is in the last.
   */
  async function lossOf(folder: string, era: Era): Promise<Pick<Era, 'endedAt' | 'cut'>> {
    const full = (await segmentsIn(folder, era.snapshots[0]!.first)).at(-2);
    const until = full && inUtc((await lstat(join(folder, full))).mtime.toISOString());
    return { endedAt: until ?? era.snapshots[0]!.at, cut: true };
  }

  async function erasOf(id: string, ctx: Ctx): Promise<readonly Era[]> {
    const found = await volumes.observe(walOf(id), ctx);
    return found === undefined ? [] : await readEras(found.dataDir);
  }

  async function write(id: string, eras: readonly Era[], ctx: Ctx): Promise<void> {
    await writeEras(await walDirOf(id, ctx), eras);
  }

  async function folderOf(id: string, era: Era, ctx: Ctx): Promise<string> {
    const folder = join(await walDirOf(id, ctx), String(era.n));
    if (!existsSync(folder)) await mkdir(folder, { mode: 0o700 });
    return folder;
  }

  /** Where its log is kept. */
  async function walDirOf(id: string, ctx: Ctx): Promise<string> {
    const found = await volumes.observe(walOf(id), ctx);
    if (found !== undefined) return found.dataDir;
    const branch = await volumes.observe(id, ctx);
    const { project = '', branch: name = '', createdAt = '' } = branch?.record ?? {};
    const record: BranchRecord = {
      id: walOf(id),
      project,
      branch: `${name} (log)`,
      createdAt,
      parent: id,
      stock: 'history',
    };
    const prepare = (dataDir: string) => chmod(dataDir, 0o700);
    return (await volumes.ensure(walOf(id), { record, prepare }, ctx)).dataDir;
  }

  function within(ms: number): Ctx {
    return { signal: AbortSignal.timeout(ms), log };
  }
}

// --- internal ------------------------------------------------------------------------------------

type Keeper = {
  spec: HistorySpec | undefined;
  /** Its volume is another one than at the last look. */
  replaced: boolean;
  readonly looking: Repeated;
};

const LOOK_MS = 10_000;
const LOOK_DEADLINE_MS = 600_000;
const GIVE_WAY_MS = 60_000;

/** In a data directory that is to come to a moment: the log that leads there. */
const KEPT_WAL = 'offshoot_wal';

const walOf = (id: string): string => `${id}-wal`;
const snapshotOf = (id: string, { n }: Pick<Snapshot, 'n'>): string => `${id}-at-${n}`;

const spanOf = ({ snapshots, endedAt, cut }: Era): Span => ({
  from: snapshots[0]!.at,
  ...(endedAt !== undefined && { to: endedAt }),
  ...(cut && { cut }),
});

/** Recovery empties unlogged tables: nobody need wait for them. */
const withoutHold = (live: LiveParent): LiveParent => ({
  checkpoint: live.checkpoint,
  beginBackup: live.beginBackup,
  hold: async () => async () => {},
  unlogged: { held: [], emptied: [] },
});

const sizeOfSegments = async (directory: string, name: string): Promise<number> =>
  (await lstat(join(directory, name))).size;
