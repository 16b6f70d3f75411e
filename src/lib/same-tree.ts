/** Whether a folder is a copy of another, and what was written beside some of its folders: by what the file system says, not by what is in them. */
import { lstat, readdir, readlink } from 'node:fs/promises';
import { isAbsolute, join, relative } from 'node:path';

/**
 * Whether `copy` holds the same as `original`: names, kinds, sizes and times of files (to a millisecond, which is what copies keep), and
 * links. Caches are not looked at: programs write there as they like. A tree that says where it was made (an absolute link
 * into `home`, a virtual environment of Python) is nobody's copy.
 * @param home in which the original lies
 */
export async function isCopy(original: string, copy: string, home: string): Promise<boolean> {
  let level: Pair[] = [[original, copy]];
  while (level.length > 0) {
    const inner: Pair[] = [];
    for (let at = 0; at < level.length; at += AT_ONCE) {
      const seen = await Promise.all(
        level.slice(at, at + AT_ONCE).map(pair => compare(pair, home, inner).catch(() => false)),
      );
      if (!seen.every(Boolean)) return false;
    }
    level = inner;
  }
  return true;
}

/**
 * Files below `folder` whose content or place is of `since` or later, by their paths in it. Not looked into: `.git`, work trees and
 * repositories of others, and the folders called `except` directly in it.
 * @param since in milliseconds since 1970
 * @returns undefined when there is more to look at than is worth it
 */
export async function writtenSince(
  folder: string,
  since: number,
  except: readonly string[],
): Promise<readonly string[] | undefined> {
  const found: string[] = [];
  let looked = 0;
  const folders = [folder];
  for (let at = folders.pop(); at !== undefined; at = folders.pop()) {
    const entries = await readdir(at, { withFileTypes: true }).catch(() => []);
    if (at !== folder && entries.some(({ name }) => name === '.git')) continue;
    looked += entries.length;
    if (looked > MOST_LOOKED_AT) return undefined;
    const isMeant = (name: string) => name !== '.git' && !(at === folder && except.includes(name));
    const seen = entries.filter(({ name }) => isMeant(name));
    for (const entry of seen) if (entry.isDirectory()) folders.push(join(at, entry.name));
    const files = seen.filter(entry => !entry.isDirectory()).map(({ name }) => join(at, name));
    const times = await Promise.all(files.map(file => lstat(file).catch(() => undefined)));
    for (const [i, file] of files.entries())
      if ((times[i]?.ctimeMs ?? 0) >= since) found.push(relative(folder, file));
    if (found.length > MOST_WRITTEN) return undefined;
  }
  return found;
}

// --- internal -----------------------------------------------------------------------------------

type Pair = readonly [from: string, to: string];

/** Folders at a time. */
const AT_ONCE = 8;
const MOST_LOOKED_AT = 20_000;
const MOST_WRITTEN = 200;

const CACHES = new Set(['.cache', '.vite', '.vite-temp', '__pycache__']);
/** It has the place of its environment in it, and so have the programs beside it (Python, PEP 405). */
const BOUND = 'pyvenv.cfg';

/** @param inner gets the folders in both */
async function compare([from, to]: Pair, home: string, inner: Pair[]): Promise<boolean> {
  const [left, right] = await Promise.all([entriesOf(from), entriesOf(to)]);
  const names = new Set(right.map(({ name }) => name));
  if (left.length !== right.length || !left.every(({ name }) => names.has(name)) || names.has(BOUND))
    return false;
  const pairs = left.map(async ({ name }) => {
    const [a, b] = [join(from, name), join(to, name)];
    const [one, other] = await Promise.all([lstat(a), lstat(b)]);
    if (one.isDirectory() && other.isDirectory()) return inner.push([a, b]) > 0;
    if (one.isSymbolicLink() && other.isSymbolicLink()) {
      const target = await readlink(a);
      return target === (await readlink(b)) && !(isAbsolute(target) && isIn(home, target));
    }
    const isSame = one.size === other.size && Math.abs(one.mtimeMs - other.mtimeMs) < 1;
    return one.isFile() && other.isFile() && isSame;
  });
  return (await Promise.all(pairs)).every(Boolean);
}

const entriesOf = async (folder: string) =>
  (await readdir(folder, { withFileTypes: true })).filter(({ name }) => !CACHES.has(name));

const isIn = (folder: string, path: string): boolean => path === folder || path.startsWith(`${folder}/`);
