/**
 * What the kernel's btrfs is asked directly: quicker than its program, and more than the program of older systems
 * knows. Numbers and layouts are those of linux/btrfs.h and linux/btrfs_tree.h.
 */
import { open } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { ioctlNumber, type Libc, libc, read, write } from '../../lib/libc.ts';
import { FIEMAP, HEAD_BYTES } from './extents.ts';

export type Subvolume = {
  readonly id: bigint;
  /** Transaction that made it. */
  readonly madeAt: bigint;
};

export type QuotaState = {
  readonly mode: 'off' | 'simple' | 'full';
  /** Transaction that turned simple quotas on; what is older is not counted. */
  readonly since: bigint;
};

export type Qgroup = {
  /** `level << 48 | number`; the number of level 0 is a subvolume's. */
  readonly id: bigint;
  /** What it holds, as of the last commit. */
  readonly bytes: number;
};

/** What a tree of btrfs has under the key (object, type asked for, offset). */
export type TreeItem = { readonly object: bigint; readonly offset: bigint; readonly data: Buffer };

/**
 * A path is one of a subvolume, or of any directory of the file system where that is what is asked. Nothing of it is done
 * on the event loop: who changes something waits for a transaction that is being written down, and so does who only opens
 * a directory in which a snapshot is being made.
 */
export type BtrfsCalls = {
  create(path: string): Promise<void>;
  snapshot(from: string, to: string): Promise<void>;
  /** The name is gone at once, the room later. @throws EINVAL when it is a directory like any other */
  remove(path: string): Promise<void>;
  subvolume(path: string): Promise<Subvolume>;
  /** Names and ids of the subvolumes directly in the file system's top directory. */
  subvolumes(path: string): Promise<ReadonlyMap<string, bigint>>;
  /** Writes everything down, and frees what was deleted before. */
  commit(path: string): Promise<void>;
  /**
   * Writes down what was done to names until now, with the files whose content has a place; what others have written to
   * theirs is not waited for.
   */
  commitNames(path: string): Promise<void>;
  /** Gives the content of a file its place, in the file system's memory still: with the next commit it is durable. */
  place(path: string): Promise<void>;
  /** Tells the device below which room is free in what the file system itself calls `logical` to `logical + bytes`. */
  trim(path: string, logical: number, bytes: number): Promise<void>;
  /** Whether the room of a removed subvolume is not all free yet. */
  isLeaving(path: string, subvolume: bigint): Promise<boolean>;
  uuid(path: string): Promise<string>;
  quotas(path: string): Promise<QuotaState>;
  /** @throws EINVAL on Linux before 6.7 */
  enableSimpleQuotas(path: string): Promise<void>;
  qgroups(path: string): Promise<readonly Qgroup[]>;
  /** Nothing happens when it is there. */
  makeQgroup(path: string, qgroup: bigint): Promise<void>;
  /** @throws EBUSY while it holds something */
  removeQgroup(path: string, qgroup: bigint): Promise<void>;
  /** `member` counts in `group` from now on, with what it holds already. */
  joinQgroup(path: string, member: bigint, group: bigint): Promise<void>;
  membersOf(path: string, group: bigint): Promise<ReadonlySet<bigint>>;
  /** @param bytes undefined: no limit */
  limit(path: string, qgroup: bigint, bytes: number | undefined): Promise<void>;
  /** All items of one object, or of all when it is undefined, of a tree. @throws ENOENT when there is no such tree */
  search(path: string, tree: bigint, object: bigint | undefined, type: number): Promise<readonly TreeItem[]>;
};

/** The number of a qgroup. */
export const qgroupId = (level: number, number: bigint): bigint => (BigInt(level) << 48n) | number;

/** As sysfs names it. */
export const qgroupName = (id: bigint): string => `${id >> 48n}_${BigInt.asUintN(48, id)}`;

/** @throws with the reason why the kernel cannot be asked here */
export async function btrfsCalls(): Promise<BtrfsCalls> {
  const c = await libc();
  return {
    create: path => named(c, IOC.create, path),

    snapshot: (from, to) => inDirectory(from, source => named(c, IOC.snapshot, to, source)),

    remove: path =>
      inDirectory(dirname(path), fd => c.ioctlAside(fd, IOC.destroy, volArgs(fd, basename(path)))),

    subvolume: path =>
      inDirectory(path, async fd => {
        const info = Buffer.alloc(504);
        await c.ioctlAside(fd, IOC.subvolumeInfo, info);
        return { id: info.readBigUInt64LE(0), madeAt: info.readBigUInt64LE(352) };
      }),

    subvolumes: async path =>
      new Map(
        (await search(c, path, ROOT_TREE, undefined, ROOT_BACKREF))
          .filter(({ offset }) => offset === TOP)
          // struct btrfs_root_ref: directory, sequence, length of the name, name
          .map(({ object, data }) => [data.toString('utf8', 18, 18 + data.readUInt16LE(16)), object]),
      ),

    commit: path => inDirectory(path, fd => c.ioctlAside(fd, IOC.sync, Buffer.alloc(0))),

    commitNames: path =>
      inDirectory(path, async fd => {
        const transaction = Buffer.alloc(8);
        await c.ioctlAside(fd, IOC.startSync, transaction);
        await c.ioctlAside(fd, IOC.waitSync, transaction);
      }),

    place: path =>
      inDirectory(path, async fd => {
        const map = Buffer.alloc(HEAD_BYTES);
        map.writeBigUInt64LE(2n ** 63n - 1n, 8); // from 0 to the end
        map.writeUInt32LE(FLAG_SYNC, 16);
        await c.ioctlAside(fd, FIEMAP, map);
      }),

    trim: (path, logical, bytes) =>
      inDirectory(path, fd => c.ioctlAside(fd, IOC.trim, u64s(BigInt(logical), BigInt(bytes), 0n))),

    isLeaving: async (path, subvolume) => (await search(c, path, ROOT_TREE, subvolume, ROOT_ITEM)).length > 0,

    uuid: path =>
      inDirectory(path, async fd => {
        const info = Buffer.alloc(1024);
        await c.ioctlAside(fd, IOC.fsInfo, info);
        return info.toString('hex', 16, 32).replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
      }),

    async quotas(path) {
      const [status] = (await existing(search(c, path, QUOTA_TREE, 0n, QGROUP_STATUS))) ?? [];
      if (status === undefined) return { mode: 'off', since: 0n };
      const flags = status.data.readBigUInt64LE(16);
      if ((flags & 1n) === 0n) return { mode: 'off', since: 0n };
      const simple = (flags & 8n) !== 0n && status.data.length >= 40;
      return simple
        ? { mode: 'simple', since: status.data.readBigUInt64LE(32) }
        : { mode: 'full', since: 0n };
    },

    enableSimpleQuotas: path => inDirectory(path, fd => c.ioctlAside(fd, IOC.quotaControl, u64s(4n, 0n))),

    qgroups: async path =>
      (await search(c, path, QUOTA_TREE, 0n, QGROUP_INFO)).map(({ offset, data }) => ({
        id: offset,
        bytes: Number(data.readBigUInt64LE(8)),
      })),

    async makeQgroup(path, qgroup) {
      try {
        await inDirectory(path, fd => c.ioctlAside(fd, IOC.qgroupCreate, u64s(1n, qgroup)));
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      }
    },

    removeQgroup: (path, qgroup) =>
      inDirectory(path, fd => c.ioctlAside(fd, IOC.qgroupCreate, u64s(0n, qgroup))),

    async joinQgroup(path, member, group) {
      try {
        await inDirectory(path, fd => c.ioctlAside(fd, IOC.qgroupAssign, u64s(1n, member, group)));
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      }
    },

    // Both directions are kept: under the key (group, member) and under (member, group).
    membersOf: async (path, group) =>
      new Set((await search(c, path, QUOTA_TREE, group, QGROUP_RELATION)).map(({ offset }) => offset)),

    async limit(path, qgroup, bytes) {
      const MAX_REFERENCED = 1n;
      const most = bytes === undefined ? ALL : BigInt(bytes); // all ones clears it
      const args = u64s(qgroup, MAX_REFERENCED, most, 0n, 0n, 0n);
      await inDirectory(path, fd => c.ioctlAside(fd, IOC.qgroupLimit, args));
    },

    search: (path, tree, object, type) => search(c, path, tree, object, type),
  };
}

// --- internal ------------------------------------------------------------------------------------

const BTRFS = 0x94;
const call = (direction: number, number: number, bytes: number) =>
  ioctlNumber(direction, BTRFS, number, bytes);

const IOC = {
  sync: call(0, 8, 0),
  destroy: call(write, 15, 4096),
  search: call(read | write, 17, 112),
  waitSync: call(write, 22, 8),
  snapshot: call(write, 23, 4096),
  startSync: call(read, 24, 8),
  create: call(write, 24, 4096),
  fsInfo: call(read, 31, 1024),
  quotaControl: call(read | write, 40, 16),
  qgroupAssign: call(write, 41, 24),
  qgroupCreate: call(write, 42, 16),
  qgroupLimit: call(read, 43, 48),
  subvolumeInfo: call(read, 60, 504),
  trim: ioctlNumber(read | write, 'X'.charCodeAt(0), 121, 24), // FITRIM of linux/fs.h
};

/** Of FIEMAP: what is in memory alone gets its place first. */
const FLAG_SYNC = 1;
const ALL = 2n ** 64n - 1n;
const ROOT_TREE = 1n;
const QUOTA_TREE = 8n;
/** The subvolume that every file system has. */
const TOP = 5n;
const ROOT_ITEM = 132;
const ROOT_BACKREF = 144;
const QGROUP_STATUS = 240;
const QGROUP_INFO = 242;
const QGROUP_RELATION = 246;
const HEADER_BYTES = 32; // of an item that is found
const KEY_BYTES = 104; // struct btrfs_ioctl_search_key
const ROOM_BYTES = 65_536;

function u64s(...values: readonly bigint[]): Buffer {
  const buffer = Buffer.alloc(8 * values.length);
  values.forEach((value, at) => {
    buffer.writeBigUInt64LE(value, 8 * at);
  });
  return buffer;
}

/** struct btrfs_ioctl_vol_args: a descriptor and, from byte 8 on, a name. */
function volArgs(fd: number, name: string): Buffer {
  const args = Buffer.alloc(4096);
  args.writeBigInt64LE(BigInt(fd), 0);
  args.write(name, 8, 4087, 'utf8');
  return args;
}

/** Makes `path` by a call that takes struct btrfs_ioctl_vol_args_v2, whose name begins at byte 56. */
const named = (c: Libc, request: number, path: string, source = 0): Promise<void> =>
  inDirectory(dirname(path), fd => {
    const args = Buffer.alloc(4096);
    args.writeBigInt64LE(BigInt(source), 0);
    args.write(basename(path), 56, 4039, 'utf8');
    return c.ioctlAside(fd, request, args);
  });

/** Runs `body` with `path` open. Held open no longer: it would keep the file system from being unmounted. */
async function inDirectory<T>(path: string, body: (fd: number) => Promise<T>): Promise<T> {
  await using directory = await open(path, 'r');
  return await body(directory.fd);
}

/** Items come in the order of (object, type, offset), as many at once as there is room for. */
function search(
  c: Libc,
  path: string,
  tree: bigint,
  object: bigint | undefined,
  type: number,
): Promise<readonly TreeItem[]> {
  return inDirectory(path, async fd => {
    const found: TreeItem[] = [];
    const [first, last] = object === undefined ? [0n, ALL] : [object, object];
    let [fromObject, fromType, fromOffset] = [first, type, 0n];
    for (;;) {
      const args = Buffer.alloc(KEY_BYTES + 8 + ROOM_BYTES);
      u64s(tree, fromObject, last, fromOffset, ALL, 0n, ALL).copy(args);
      args.writeUInt32LE(fromType, 56);
      args.writeUInt32LE(type, 60);
      args.writeUInt32LE(0xffff_ffff, 64);
      args.writeBigUInt64LE(BigInt(ROOM_BYTES), KEY_BYTES);
      await c.ioctlAside(fd, IOC.search, args);
      const count = args.readUInt32LE(64);
      if (count === 0) return found;
      let at = KEY_BYTES + 8;
      for (let i = 0; i < count; i++) {
        [fromObject, fromOffset] = [args.readBigUInt64LE(at + 8), args.readBigUInt64LE(at + 16)];
        fromType = args.readUInt32LE(at + 24);
        const bytes = args.readUInt32LE(at + 28);
        at += HEADER_BYTES;
        if (fromType === type)
          // between objects there are other types
          found.push({ object: fromObject, offset: fromOffset, data: args.subarray(at, at + bytes) });
        at += bytes;
      }
      if (fromOffset < ALL) fromOffset++;
      else [fromType, fromOffset] = [fromType + 1, 0n];
    }
  });
}

/** What is found, or undefined when the tree is not there. */
async function existing<T>(look: Promise<T>): Promise<T | undefined> {
  try {
    return await look;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
