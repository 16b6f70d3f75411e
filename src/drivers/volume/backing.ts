/**
 * Backs the pool with room on the host.
 *
 * The pool's file is sparse: when the host is full it cannot grow, whatever the file system inside believes. A write
 * of data then fails, and a write of btrfs's own records makes the pool read-only until it is mounted anew. Hence
 *
 * - the chunks of btrfs's own records always have all their room on the host;
 * - a ballast file beside the pool keeps room on the host that nobody else can take;
 * - when the host runs low, a plug inside takes all room but as much as the ballast had, and that gets the ballast's
 *   room. From then on the pool says by itself when it is full, in order, and the reserve is there for `main`.
 *
 * All is undone when the host has room again.
 */
import { existsSync, readFileSync } from 'node:fs';
import { open, readdir, rename, rm, stat, statfs, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ballast } from '../../lib/ballast.ts';
import { libc } from '../../lib/libc.ts';
import type { Log } from '../../lib/log.ts';
import { system } from '../../lib/mounts.ts';
import { isNoSpace } from '../../lib/no-space.ts';
import type { NodeRoom } from '../contract.ts';
import type { BtrfsCalls } from './btrfs-calls.ts';
import { chunksOf, type Range, rangesOf } from './btrfs-layout.ts';
import { freeBytesOf } from './space.ts';

/** Does something while nobody writes to the pool. */
export type Standstill = <T>(work: () => Promise<T>) => Promise<T>;

export type BackingOptions = {
  /** Where the pool is mounted. */
  readonly root: string;
  readonly image: string;
  /** Directory of the host that holds the image, and the ballast. */
  readonly home: string;
  readonly reserveBytes: number;
  /** The host runs low when it has less. */
  readonly minFreeBytes: number;
  readonly calls: BtrfsCalls;
  /** Default: it is done, whoever writes. */
  readonly standstill?: Standstill;
  readonly log: Log;
};

export type Backing = {
  /** Looks, and does what is due. @returns milliseconds after which it could matter again */
  look(): Promise<number>;
  room(): Promise<NodeRoom>;
  /**
   * Bytes of the room that can be written wherever inside the file system puts them: not those that the file has kept of
   * what is gone, which stand where something else may be chosen, and come back with a trim.
   */
  sureBytes(): Promise<number>;
  /** Gives the room that is free inside back to the host. */
  trim(): Promise<void>;
};

export async function openBacking(options: BackingOptions): Promise<Backing> {
  const { root, home, reserveBytes, minFreeBytes, calls, log } = options;
  const standstill = options.standstill ?? (work => work());
  const lib = await libc();
  // Half as much again as the reserve: branches that are stopped need some too, to end in order.
  const keptBytes = wholePieces(reserveBytes * 1.5);
  const kept = ballast(join(home, 'pool.ballast'), keptBytes, minFreeBytes);
  const plug = join(root, PLUG);
  const allocation = `/sys/fs/btrfs/${await calls.uuid(root)}/allocation`;
  let recordBytes = 0;
  let enlarged = false;
  // Small chunks: all of their room is taken on the host.
  await writeFile(`${allocation}/metadata/chunk_size`, String(RECORD_CHUNK_BYTES)).catch(() => {});

  const backing: Backing = {
    async look() {
      if (!enlarged) await enlargeRecords(); // at the first look: nobody who starts needs to wait for it
      enlarged = true;
      const hostBytes = await freeBytesOf(home);
      await backRecords();
      const plugged = existsSync(plug);
      // For a moment there is nothing free inside.
      if (!plugged && hostBytes < minFreeBytes) await standstill(fallBack);
      else if (plugged && (hostBytes >= minFreeBytes + keptBytes || (await holdsTheRoom(hostBytes))))
        await recover();
      else if (plugged) await backPieces();
      else await kept.take();
      const { freeBytes } = await backing.room();
      const margin = existsSync(plug) ? SLOW_MS * BYTES_PER_MS : hostBytes - minFreeBytes;
      return Math.min(margin, freeBytes - reserveBytes) / BYTES_PER_MS;
    },

    async room() {
      // In this order: what is written meanwhile then makes it less, never more.
      const { blocks } = await stat(options.image);
      const host = await statfs(home);
      const inside = await statfs(root);
      const totalBytes = inside.blocks * inside.bsize;
      const waitingBytes = bytesOnTheirWay();
      const insideBytes = inside.bavail * inside.bsize - waitingBytes;
      const here = { where: root, totalBytes, freeBytes: Math.max(0, insideBytes), reserveBytes };
      if (existsSync(plug)) return here;
      const backedBytes = backedBeside(blocks, 0);
      const outsideBytes = host.bavail * host.bsize + backedBytes - waitingBytes;
      return outsideBytes < insideBytes
        ? { ...here, where: home, freeBytes: Math.max(0, outsideBytes) }
        : here;
    },

    async sureBytes() {
      const { freeBytes } = await backing.room();
      if (existsSync(plug)) return freeBytes;
      return Math.min(freeBytes, (await freeBytesOf(home)) - bytesOnTheirWay());
    },

    async trim() {
      if (existsSync(plug)) return; // what is free inside is all that there is
      for (const { use, logical, bytes } of await chunksOf(root, calls))
        if (use === 'data') await calls.trim(root, logical, bytes);
    },
  };
  if (!existsSync(plug)) await unplug(); // one that was interrupted
  return backing;

  /** Written by somebody, and free for statfs(2): what has no place yet, and what has one that is just being filled. */
  function bytesOnTheirWay(): number {
    return counter('data/bytes_may_use') + counter('data/bytes_reserved');
  }

  /** Sums of btrfs; without sysfs they count nothing. */
  function counter(name: string): number {
    try {
      return Number(readFileSync(`${allocation}/${name}`, 'utf8'));
    } catch {
      return 0;
    }
  }

  /** The 8 MiB that a new file system has for its records are too few for when it can get no more. */
  async function enlargeRecords(): Promise<void> {
    const { blocks, bsize } = await statfs(root);
    const enough = Math.min(64 * MIB, (blocks * bsize) / 32);
    if ((await recordChunks()).reduce((sum, { bytes }) => sum + bytes, 0) >= enough) return;
    await system('btrfs', ['balance', 'start', '-m', root]).catch(error =>
      log.warn({ error }, 'room for the records of the pool could not be enlarged'),
    );
  }

  async function recordChunks(): Promise<readonly Range[]> {
    return (await chunksOf(root, calls)).filter(({ use }) => use !== 'data');
  }

  async function backRecords(): Promise<void> {
    const bytes = counter('metadata/total_bytes') + counter('system/total_bytes');
    if (bytes === recordBytes && bytes > 0) return;
    await backAll(await recordChunks());
    recordBytes = bytes;
  }

  async function backAll(ranges: readonly Range[]): Promise<void> {
    await using image = await open(options.image, 'r+');
    for (const { offset, bytes } of ranges) await lib.allocate(image.fd, offset, bytes);
  }

  /** The host runs low: from now on only room that is backed is free inside. */
  async function fallBack(): Promise<void> {
    log.warn(
      { home, freeBytes: await freeBytesOf(home) },
      'the host is nearly full: the pool uses its own room',
    );
    await system('mount', ['-o', 'remount,nodiscard', root]); // what is free now stays backed
    kept.release(wholePieces(reserveBytes)); // what waits to be written has its place already, and may need the host
    await calls.commit(root);
    for (let at = 0; at < keptBytes; at += PIECE_BYTES)
      if (!(await takeInside(pieceFile(at / PIECE_BYTES), PIECE_BYTES))) break;
    await plugUp();
    kept.release();
    await backPieces();
  }

  /** Takes all that is still free inside. Others may write meanwhile, so it tries with less when it was too much. */
  async function plugUp(): Promise<void> {
    const partial = join(root, PLUGGING);
    await (await open(partial, 'w')).close();
    await calls.commit(root);
    const { bavail, bsize } = await statfs(root);
    let left = bavail * bsize - bytesOnTheirWay();
    for (let step = left, at = 0; step >= MIB; ) {
      const bytes = Math.min(step, GIB);
      if (await takeInside(partial, bytes, at)) [left, at, step] = [left - bytes, at + bytes, left - bytes];
      else step = Math.floor(bytes / 4 / MIB) * MIB;
    }
    await rename(partial, plug);
  }

  async function takeInside(path: string, bytes: number, offset = 0): Promise<boolean> {
    await using file = await open(path, 'a', 0o600);
    try {
      await lib.allocate(file.fd, offset, bytes);
      return true;
    } catch (error) {
      if (!isNoSpace(error)) throw error;
      return false;
    }
  }

  /** Frees what is taken inside, piece by piece, as soon as it has room on the host. */
  async function backPieces(): Promise<void> {
    const pieces = (await readdir(root)).filter(name => name.startsWith(PIECE));
    if (pieces.length === 0) return;
    const chunks = await chunksOf(root, calls);
    for (const piece of pieces) {
      const path = join(root, piece);
      try {
        await backAll(await rangesOf(path, chunks));
      } catch (error) {
        if (!isNoSpace(error)) throw error;
        break;
      }
      await rm(path);
    }
    await calls.commit(root);
  }

  /**
   * The host is full of what has become free in the pool since: without that it would not be nearly full. The plug may have
   * taken it, where it became free while that was made.
   */
  async function holdsTheRoom(hostBytes: number): Promise<boolean> {
    const { blocks } = await stat(options.image);
    const plugs = await Promise.all((await plugsInside()).map(name => stat(join(root, name))));
    const plugBytes = plugs.reduce((sum, { blocks }) => sum + blocks * 512, 0);
    return hostBytes + backedBeside(blocks, plugBytes) >= 2 * (minFreeBytes + keptBytes);
  }

  /** Bytes of the image's blocks beside what is in use: they can be written without the host. @param plugBytes not in use */
  function backedBeside(blocks: number, plugBytes: number): number {
    const usedBytes = counter('data/bytes_used') - plugBytes + counter('metadata/total_bytes');
    return Math.max(0, blocks * 512 - usedBytes);
  }

  async function recover(): Promise<void> {
    await unplug();
    await system('mount', ['-o', 'remount,discard=async', root]);
    await backing.trim();
    await kept.take();
    log.info({ home }, 'the host has room again');
  }

  async function unplug(): Promise<void> {
    const names = await plugsInside();
    for (const name of names) await rm(join(root, name));
    if (names.length > 0) await calls.commit(root);
  }

  async function plugsInside(): Promise<readonly string[]> {
    return (await readdir(root)).filter(name => name === PLUG || name === PLUGGING || name.startsWith(PIECE));
  }

  function pieceFile(number: number): string {
    return join(root, `${PIECE}${number}`);
  }
}

// --- internal ------------------------------------------------------------------------------------

const MIB = 2 ** 20;
const GIB = 2 ** 30;

/** Files in the top directory of the pool; ids of volumes have no dots. */
const PLUG = '.plug';
const PLUGGING = '.plug-partial';
const PIECE = '.room-';
const PIECE_BYTES = 16 * MIB;

/** The least that the kernel takes as a setting. */
const RECORD_CHUNK_BYTES = 256 * MIB;

/** Nobody fills a disk faster. */
const BYTES_PER_MS = 2 ** 20;
const SLOW_MS = 1_000;

const wholePieces = (bytes: number): number => Math.ceil(bytes / PIECE_BYTES) * PIECE_BYTES;
