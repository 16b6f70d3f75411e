/**
 * What a container says, from the engine's own file of it to ours, which holds nothing but that. Through files, because
 * it goes on when the engine does not answer, and the next daemon finds what was said without one.
 */
import { type FSWatcher, watch } from 'node:fs';
import { appendFile, open } from 'node:fs/promises';
import { basename, dirname } from 'node:path';

export type LogCopy = {
  /** All that has been said until now is in our file. */
  drain(): Promise<void>;
  stop(): void;
};

/**
 * @param skip so many bytes of what was said are in `target` already; undefined: nobody knows, so all that is there now
 * @param failed told of what cannot be read or written; the next change is another try
 */
export function copyLog(
  source: string,
  target: string,
  skip: number | undefined,
  failed: (error: unknown) => void,
): LogCopy {
  let [at, inode, left] = [0, 0, skip ?? Number.POSITIVE_INFINITY];
  let held = '';
  let work = Promise.resolve();
  let queued = false;
  let stopped = false;
  let watcher: FSWatcher | undefined;
  try {
    watcher = watch(dirname(source), { persistent: false }, (_, name) => {
      if (name === null || name === basename(source)) later();
    });
    watcher.on('error', failed);
  } catch (error) {
    failed(error); // it is read whole at its end
  }
  if (skip === undefined) void run(passOver);
  else later();

  return {
    drain: () => run(pump),
    stop() {
      stopped = true;
      watcher?.close();
    },
  };

  /** Many lines at once cost little more than one. */
  function later(): void {
    if (queued || stopped) return;
    queued = true;
    setTimeout(() => {
      queued = false;
      void run(pump);
    }, GATHER_MS).unref();
  }

  function run(what: () => Promise<void>): Promise<void> {
    work = work.then(what).catch(failed);
    return work;
  }

  async function passOver(): Promise<void> {
    await pump();
    left = 0;
  }

  async function pump(): Promise<void> {
    const file = await open(source).catch(() => undefined);
    if (file === undefined) return; // removed with its container
    try {
      const { size, ino } = await file.stat();
      // Begun anew, because it was too long.
      if (size < at || (inode !== 0 && ino !== inode)) [at, held] = [0, ''];
      inode = ino;
      for (;;) {
        const { buffer, bytesRead } = await file.read(Buffer.alloc(CHUNK_BYTES), 0, CHUNK_BYTES, at);
        if (bytesRead === 0) return;
        // One character a byte: a chunk may end within one of UTF-8.
        const lines = (held + buffer.toString('latin1', 0, bytesRead)).split('\n');
        held = lines.pop()!.slice(0, MAX_HELD);
        at += bytesRead;
        await write(Buffer.concat(lines.map(saidIn)));
      }
    } finally {
      await file.close();
    }
  }

  async function write(said: Buffer): Promise<void> {
    const fresh = said.subarray(Math.min(left, said.length));
    left -= said.length - fresh.length;
    if (fresh.length > 0) await appendFile(target, fresh, { mode: 0o600 });
  }
}

/**
 * What a program has said, in one line of an engine's file: `TIME STREAM F|P TEXT` (the kubelet's format, Podman's
 * `k8s-file`; P: its line goes on), or Docker's `json-file`, where the text has its line end in it.
 * @param line one character a byte
 */
export function saidIn(line: string): Buffer {
  if (line.startsWith('{')) {
    try {
      const { log } = JSON.parse(Buffer.from(line, 'latin1').toString()) as { log?: string };
      return Buffer.from(log ?? '');
    } catch {
      return Buffer.alloc(0);
    }
  }
  const [, goesOn, text] = /^\S+ \S+ ([FP])\S* ?(.*)$/s.exec(line) ?? [];
  if (text === undefined) return Buffer.alloc(0);
  return Buffer.from(goesOn === 'F' ? `${text}\n` : text, 'latin1');
}

// --- internal -----------------------------------------------------------------------------------

const GATHER_MS = 20;
const CHUNK_BYTES = 64 * 1024;
const MAX_HELD = 2 ** 20;
