/**
 * What a proxy knows, kept on disk: a file of steps, one a line, written behind the book and made short now and then.
 * Who reads it later sees the state of some moment, and none before the last one that was awaited.
 */
import { readFileSync } from 'node:fs';
import { type FileHandle, mkdir, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Log } from '../../lib/log.ts';
import type { RouteChange } from '../../model/route.ts';
import type { Book } from '../book.ts';
import { fromWire, toWire, type WireItem } from './messages.ts';

export type TableFile = {
  /** Resolves when everything that the book has now is written, or the file is gone. Never rejects. */
  written(): Promise<void>;
  /** Only adds to the file; another process may put a new one in its place. */
  onlyAppend(only: boolean): void;
  /** Writes no more. */
  close(): Promise<void>;
};

/**
 * @param life tells apart what a table is good for: after another start of the machine its addresses mean nothing
 * @returns undefined when there is no table of this life, or none that can be read
 */
export function readTable(file: string, life: string): readonly RouteChange[] | undefined {
  try {
    const [first, ...lines] = readFileSync(file, 'utf8').split('\n');
    const head = JSON.parse(first!) as Head;
    if (head.format !== FORMAT || head.life !== life) return undefined;
    // Behind the last end of a line is nothing, or what a killed writer did not finish.
    return lines.slice(0, -1).flatMap(line => (JSON.parse(line) as WireItem[]).map(fromWire));
  } catch {
    return undefined;
  }
}

/** Writes the book into a new file, which takes the place of the old one, and follows it from then on. */
export function keepTable(file: string, life: string, book: Book, log: Log): TableFile {
  let handle: FileHandle | undefined;
  let pending: WireItem[] = [];
  let appendOnly = false;
  let bytes = 0;
  let shortBytes = 0;
  let failedAt = Number.NEGATIVE_INFINITY;
  let work = Promise.resolve();
  let closed = false;

  const rewrite = async (): Promise<void> => {
    await mkdir(dirname(file), { recursive: true, mode: 0o700 });
    const next = await open(`${file}.${process.pid}`, 'w', 0o600);
    const head: Head = { format: FORMAT, life };
    pending = [];
    const text = `${JSON.stringify(head)}\n${JSON.stringify([...book.all()].map(toWire))}\n`;
    try {
      await next.writeFile(text);
      await rename(`${file}.${process.pid}`, file);
    } catch (error) {
      await next.close();
      throw error;
    }
    await handle?.close();
    handle = next;
    bytes = shortBytes = text.length;
  };

  const write = async (): Promise<void> => {
    if (pending.length === 0 && handle !== undefined) return;
    try {
      if (handle === undefined && performance.now() - failedAt < RETRY_MS) {
        pending = []; // the next try writes everything
        return;
      }
      const isLong = bytes > 4 * shortBytes + SLACK;
      if (handle === undefined || (!appendOnly && (isLong || (await isRemoved(handle)))))
        return await rewrite();
      const line = `${JSON.stringify(pending)}\n`;
      pending = [];
      await handle.appendFile(line);
      bytes += line.length;
    } catch (err) {
      log.warn({ err, file }, 'the route table cannot be kept on disk');
      failedAt = performance.now();
      // No table is better than one that is out of date.
      await rm(file, { force: true }).catch(() => {});
      await handle?.close().catch(() => {});
      handle = undefined;
    }
  };

  const schedule = (): void => {
    work = work.then(write);
  };
  const unsubscribe = book.onChange(changed => {
    pending.push(...changed.map(toWire));
    schedule();
  });
  schedule();

  return {
    async written() {
      // What comes while it waits is not waited for.
      await work;
    },
    onlyAppend(only) {
      appendOnly = only;
    },
    async close() {
      if (closed) return;
      closed = true;
      unsubscribe();
      await work;
      await handle?.close();
    },
  };
}

// --- internal ---

const FORMAT = 1;
const RETRY_MS = 1_000;
/** Bytes that a file may have more than four times its shortest. */
const SLACK = 256 * 1024;

/** By a daemon that had something to tell and nobody to hear it. */
const isRemoved = async (handle: FileHandle): Promise<boolean> => (await handle.stat()).nlink === 0;

type Head = { readonly format: number; readonly life: string };
