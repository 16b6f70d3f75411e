/** What a dump is, by its first bytes: SQL, or one of the archives that pg_restore reads; and what it is compressed with. */
import { createReadStream } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { PassThrough, pipeline, type Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { OffshootError } from '../../model/errors.ts';
import { unzstd } from './zstd.ts';

export type DumpKind = {
  readonly format: 'plain' | 'custom' | 'tar' | 'directory';
  /** The file, or the folder of a directory. */
  readonly path: string;
  /** Of all its files. */
  readonly bytes: number;
  /** Around all of it. */
  readonly packed?: 'gzip' | 'zstd';
  /** Of the server that was dumped, e.g. `15.18`; absent: it does not say. */
  readonly version?: string;
  /** Major version of the pg_dump that wrote the archive. */
  readonly major?: number;
  /** Name of the database that was dumped. */
  readonly database?: string;
};

/**
 * @param folder in which the dump is, alone: one file, or the files of a directory
 * @throws OffshootError import/bad-dump
 */
export async function dumpKind(folder: string): Promise<DumpKind> {
  const names = (await readdir(folder)).toSorted();
  const sizes = await Promise.all(names.map(async name => (await stat(join(folder, name))).size));
  const bytes = sizes.reduce((sum, size) => sum + size, 0);
  if (names.length !== 1 || names[0] === TOC) {
    if (!names.includes(TOC)) throw bad(`a folder with ${names.length} files, none of which is toc.dat`);
    const head = archiveHead(await firstBytes(join(folder, TOC)));
    if (head === undefined) throw bad('its toc.dat is no archive of pg_dump');
    return { format: 'directory', path: folder, bytes, ...head };
  }
  const path = join(folder, names[0]!);
  const outer = await firstBytes(path);
  const packed = PACKED.find(([, magic]) => outer.subarray(0, magic.length).equals(magic))?.[0];
  const head = packed === undefined ? outer : await firstBytes(path, packed);
  const common = { path, bytes, ...(packed && { packed }) };
  const archive = archiveHead(head);
  if (archive !== undefined) return { format: 'custom', ...common, ...archive };
  if (head.toString('latin1', TAR_MAGIC_AT, TAR_MAGIC_AT + 5) === 'ustar') {
    const first = head.toString('latin1', 0, 100).replace(/\0.*$/s, '');
    if (first !== TOC) throw bad(`a tar that begins with ${basename(first)}; unpack it, and name the folder`);
    return { format: 'tar', ...common, ...archiveHead(head.subarray(TAR_BLOCK)) };
  }
  const other = OTHERS.find(([, pattern]) => pattern.test(head.toString('latin1', 0, 512)));
  if (other !== undefined) throw bad(other[0]);
  if (head.length === 0) throw bad('it is empty');
  if (head.includes(0)) throw bad('it is neither SQL nor an archive of pg_dump');
  const version = /^-- Dumped from database version (\d[\w.]*)/m.exec(head.toString('latin1'))?.[1];
  return { format: 'plain', ...common, ...(version !== undefined && { version }) };
}

/** @throws OffshootError import/bad-dump when it is not what its first bytes say */
export function unpacked(bytes: Readable, packed: DumpKind['packed']): Readable {
  if (packed === undefined) return bytes;
  // Who reads it hears of the error; whoever stops reading ends them all.
  const out = new PassThrough();
  if (packed === 'gzip') pipeline(bytes, createGunzip(), out, () => {});
  else pipeline(bytes, unzstd, out, () => {});
  return out;
}

// --- internal -----------------------------------------------------------------------------------

const TOC = 'toc.dat';
const TAR_MAGIC_AT = 257;
const TAR_BLOCK = 512;
/** Bytes by which a kind is told, and that hold the comments with which pg_dump begins. */
const HEAD = 8_192;

const bad = (why: string) => new OffshootError('import/bad-dump', { why });

const PACKED = [
  ['gzip', Buffer.from([0x1f, 0x8b])],
  ['zstd', Buffer.from([0x28, 0xb5, 0x2f, 0xfd])],
] as const;

const packedOtherwise = (name: string) =>
  `it is compressed by ${name}; gzip and zstd are read, others come unpacked through a pipe: --from -`;

const OTHERS: readonly (readonly [string, RegExp])[] = [
  // biome-ignore-start lint/suspicious/noControlCharactersInRegex: bytes by which files are told
  [packedOtherwise('xz'), /^\xfd7zXZ\x00/],
  [packedOtherwise('bzip2'), /^BZh\d/],
  [packedOtherwise('lz4'), /^\x04"M\x18/],
  [packedOtherwise('zip'), /^PK\x03\x04/],
  ['it is in UTF-16; save it as UTF-8', /^(\xff\xfe|\xfe\xff)/],
  ['it is a database of SQLite', /^SQLite format 3\x00/],
  // biome-ignore-end lint/suspicious/noControlCharactersInRegex: see above
  ['it is a dump of MySQL', /^(-- |\/\*!?.*)(MySQL|MariaDB) dump/m],
];

async function firstBytes(path: string, packed?: DumpKind['packed']): Promise<Buffer> {
  const pieces: Buffer[] = [];
  let size = 0;
  try {
    for await (const piece of unpacked(createReadStream(path, { highWaterMark: HEAD }), packed)) {
      pieces.push(piece as Buffer);
      size += (piece as Buffer).length;
      if (size >= HEAD) break;
    }
  } catch (cause) {
    // Half of it may be enough to know what it is; that it is half is told when it is read.
    if (size === 0) throw new OffshootError('import/bad-dump', { why: (cause as Error).message }, { cause });
  }
  return Buffer.concat(pieces);
}

type ArchiveHead = Pick<DumpKind, 'version' | 'major' | 'database'>;

/** The head of an archive (PostgreSQL's source, pg_backup_archiver.c, ReadHead). */
function archiveHead(bytes: Buffer): ArchiveHead | undefined {
  if (bytes.toString('latin1', 0, 5) !== 'PGDMP') return undefined;
  let at = 5;
  const byte = (): number => bytes[at++] ?? 0;
  const [major, minor] = [byte(), byte()];
  if (major !== 1 || minor < 10) throw bad(`its format ${major}.${minor} is older than PostgreSQL 8.0`);
  byte(); // revision
  const intSize = byte();
  byte(); // of offsets
  byte(); // format
  const int = (): number => {
    const negative = byte() !== 0;
    let value = 0;
    for (let i = 0; i < intSize; i++) value += byte() * 256 ** i;
    return negative ? -value : value;
  };
  const text = (): string => {
    const length = int();
    if (length <= 0 || at + length > bytes.length) return '';
    at += length;
    return bytes.toString('utf8', at - length, at);
  };
  // From 16 on a letter says what compresses it, before a number how much.
  if (minor >= 15) byte();
  else int();
  for (let i = 0; i < TIME_FIELDS; i++) int();
  const [database, from, by] = [text(), text(), text()];
  return {
    ...(database !== '' && { database }),
    ...(from !== '' && { version: from.split(' ')[0]! }),
    ...(/^\d/.test(by) && { major: Number.parseInt(by, 10) }),
  };
}

/** Second to year, and whether it is summer time. */
const TIME_FIELDS = 7;
