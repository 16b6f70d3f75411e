/** A dump as the SQL that is in it: as it is, or as pg_restore writes it. */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, createReadStream, openSync } from 'node:fs';
import { chown, readdir, readFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { type Readable, Transform } from 'node:stream';
import { OffshootError } from '../../model/errors.ts';
import { type DumpKind, unpacked } from './kind.ts';

export type Dump = {
  /** SQL, in pieces. @throws OffshootError import/bad-dump, import/no-restore-tool */
  readonly sql: AsyncIterable<Buffer>;
  /** Bytes of its files that have been read; undefined: nobody knows. */
  readBytes(): Promise<number | undefined>;
  /** How it has ended: with what pg_dump says at the end, or by an error, which whoever read it may have met as another. */
  readonly ends: Ends;
};

export type Ends = { readonly whole: boolean; readonly broken?: unknown };

/**
 * @param tool path of a pg_restore that reads it, for archives
 * @param user that runs it: an archive may be anybody's
 */
export function openDump(
  kind: DumpKind,
  tool: string | undefined,
  user: { readonly uid?: number; readonly gid?: number },
  signal: AbortSignal,
): Dump {
  const ends: Writable = { whole: false };
  const told = (cause: unknown): unknown => {
    signal.throwIfAborted();
    if (cause instanceof OffshootError) return cause;
    return new OffshootError('import/bad-dump', { why: (cause as Error).message }, { cause });
  };
  if (kind.format === 'plain') {
    const { bytes, read } = counted(kind.path);
    return { sql: watched(unpacked(bytes, kind.packed), ends, told), readBytes: async () => read(), ends };
  }
  const restoring = restored(kind, tool ?? 'pg_restore', user, signal);
  return { sql: watched(restoring.sql, ends, told), readBytes: restoring.readBytes, ends };
}

// --- internal -----------------------------------------------------------------------------------

type Writable = { -readonly [K in keyof Ends]: Ends[K] };

/** Bytes at the end in which pg_dump says that it is one. */
const TAIL = 1_024;
const BEGINS = /^-- PostgreSQL database (cluster )?dump/m;
/** Of a cluster, each database ends as a dump of it alone does. */
const endOf = (cluster = ''): string => `\n-- PostgreSQL database ${cluster}dump complete`;

/** Notes whether all of it came: who has written it may have been killed meanwhile. */
async function* watched(
  bytes: AsyncIterable<Buffer>,
  ends: Writable,
  told: (cause: unknown) => unknown,
): AsyncGenerator<Buffer> {
  let first: string | undefined;
  let tail: Buffer = Buffer.alloc(0);
  try {
    for await (const piece of bytes) {
      first ??= piece.toString('latin1', 0, TAIL);
      tail =
        piece.length >= TAIL
          ? Buffer.from(piece.subarray(-TAIL))
          : Buffer.concat([tail, piece]).subarray(-TAIL);
      yield piece;
    }
  } catch (cause) {
    ends.broken = told(cause);
    throw ends.broken;
  }
  // What no pg_dump has written says nothing of its end.
  const begins = BEGINS.exec(first ?? '');
  ends.whole = begins === null || tail.toString('latin1').includes(endOf(begins[1]));
}

function counted(path: string): { readonly bytes: Readable; readonly read: () => number } {
  let read = 0;
  const count = new Transform({
    transform(piece: Buffer, _, done) {
      read += piece.length;
      done(null, piece);
    },
  });
  const file = createReadStream(path, { highWaterMark: PIECE });
  file.on('error', error => count.destroy(error));
  count.on('close', () => file.destroy());
  return { bytes: file.pipe(count), read: () => read };
}

const PIECE = 256 * 1024;

/** Of what pg_restore says, the last bytes are kept. */
const MOST_SAID = 4_096;

function restored(
  { format, path, packed }: DumpKind,
  tool: string,
  user: { readonly uid?: number; readonly gid?: number },
  signal: AbortSignal,
): { readonly sql: AsyncIterable<Buffer>; readonly readBytes: () => Promise<number | undefined> } {
  let pid: number | undefined;
  let read: (() => number) | undefined;
  return { sql: sql(), readBytes };

  async function* sql(): AsyncGenerator<Buffer> {
    // One that is packed passes through a pipe: its parts come in the order in which they are wanted.
    const piped = packed === undefined ? undefined : counted(path);
    read = piped?.read;
    const folder = format === 'directory' ? path : dirname(path);
    if (piped === undefined && user.uid !== undefined) await giveTo(folder, user.uid, user.gid ?? user.uid);
    // Another user may not get there by the path, for what is above is ours alone; by a folder that is open he does.
    const held = user.uid !== undefined && process.platform === 'linux' ? openSync(folder, 'r') : undefined;
    const near = held === undefined ? folder : `/proc/self/fd/${HELD}`;
    const name = format === 'directory' ? near : join(near, basename(path));
    const args = ['-F', FORMATS[format as keyof typeof FORMATS], '-f', '-', ...(piped ? [] : [name])];
    const child = spawn(tool, args, {
      ...{ cwd: '/', env: { LC_ALL: 'C' } },
      stdio: ['pipe', 'pipe', 'pipe', ...(held === undefined ? [] : [held])],
      ...(user.uid !== undefined && { uid: user.uid }),
      ...(user.gid !== undefined && { gid: user.gid }),
    }) as ChildProcessWithoutNullStreams;
    if (held !== undefined) closeSync(held);
    pid = child.pid;
    const stop = () => void child.kill('SIGKILL');
    signal.addEventListener('abort', stop, { once: true });
    let said = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      said = (said + text).slice(-MOST_SAID);
    });
    for (const stream of [child.stdin, child.stdout, child.stderr]) stream.on('error', () => {});
    const ended = once(child, 'close').then(([code]) => code as number | null);
    ended.catch(() => {});
    let broken: Error | undefined;
    if (piped === undefined) child.stdin.end();
    else {
      const bytes = unpacked(piped.bytes, packed);
      bytes.on('error', error => {
        broken = error;
        child.kill('SIGKILL');
      });
      bytes.pipe(child.stdin);
    }
    try {
      for await (const piece of child.stdout) yield piece as Buffer;
      const code = await ended.catch(cause => {
        throw new OffshootError('import/bad-dump', { why: `${tool} cannot be run` }, { cause });
      });
      if (broken !== undefined) throw broken;
      if (code !== 0) throw new Error(said.trim().split('\n')[0] || `pg_restore ended with code ${code}`);
    } finally {
      signal.removeEventListener('abort', stop);
      child.kill('SIGKILL');
    }
  }

  /** Where a file of ours is open, Linux says how far it has been read. */
  async function readBytes(): Promise<number | undefined> {
    if (read !== undefined) return read();
    if (format === 'directory' || pid === undefined || process.platform !== 'linux') return undefined;
    try {
      const folder = `/proc/${pid}/fdinfo`;
      const positions = await Promise.all(
        (await readdir(folder)).map(async fd =>
          Number(/^pos:\s+(\d+)/m.exec(await readFile(join(folder, fd), 'utf8'))?.[1] ?? 0),
        ),
      );
      return Math.max(0, ...positions);
    } catch {
      return undefined; // it has just ended
    }
  }
}

/** The first descriptor behind the usual three. */
const HELD = 3;

const FORMATS = { custom: 'c', tar: 't', directory: 'd' } as const;

async function giveTo(folder: string, uid: number, gid: number): Promise<void> {
  for (const name of await readdir(folder)) await chown(join(folder, name), uid, gid);
  await chown(folder, uid, gid);
}
