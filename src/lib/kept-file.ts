/** A small file that says how something is now: replaced as a whole, off the loop, and never by something older. */
import { rename, writeFile } from 'node:fs/promises';

/**
 * By rename: a reader finds the old content or the new one. One write at a time; whoever asks while one is under way
 * shares the next. Mode 0600. Not synced: what a crash of the machine loses runs no more.
 * @param content what is to be there, asked for right before it is written
 * @returns saves it; resolves when what was true at the call, or something newer, is there. The promise rejects with the
 *   system's error, and then the old content is there
 */
export function keptFile(file: string, content: () => string): () => Promise<void> {
  let there: string | undefined;
  let last: Promise<void> = Promise.resolve();
  let next: Promise<void> | undefined;

  return () => {
    if (next === undefined) {
      next = last.then(write, write);
      last = next;
    }
    return next;
  };

  async function write(): Promise<void> {
    next = undefined;
    const text = content();
    if (text === there) return;
    await writeFile(`${file}.new`, text, { mode: 0o600 });
    await rename(`${file}.new`, file);
    there = text;
  }
}
