/** The files of a folder that globs mean, without what git ignores; and how each of them is now. */
import { lstat, readdir } from 'node:fs/promises';
import { dirname, join, relative, resolve } from 'node:path';
import { type GitIgnore, gitIgnore, repositoryOf } from './git-ignore.ts';
import { globToRegExp, isLiteral } from './glob.ts';

export type FileSet = {
  readonly folder: string;
  /** Where its files are, or would be. Absolute. */
  readonly bases: readonly string[];
  readonly ignore: GitIgnore;
  /** So many files are more than anybody edits: these are no sources. */
  readonly most: number;
  /** Whether a file that is not ignored is one of them. @param path absolute */
  holds(path: string): boolean;
  /** Whether there may be some in a folder, at any depth. */
  reaches(folder: string): boolean;
  /** What is asked for by its name is not ignored. */
  names(path: string): boolean;
};

/** How a file is: another text whenever it was written, replaced or cut. */
export type FileState = {
  readonly state: string;
  /** When that came, in milliseconds since 1970, by the clock of the file system. */
  readonly changedAt: number;
};

export class TooManyFilesError extends Error {
  constructor({ folder, most }: FileSet) {
    super(`more than ${most} files in ${folder}`);
    this.name = 'TooManyFilesError';
  }
}

/**
 * @param globs from the folder; `!` takes some away, the last one that fits counts, and a folder means all in it. What
 * stands there without a wildcard is meant also when git ignores it.
 */
export function fileSet(folder: string, globs: readonly string[], most = MOST_FILES): FileSet {
  const rules = globs.map(glob => {
    const not = glob.startsWith('!');
    const path = resolve(folder, not ? glob.slice(1) : glob);
    const [base, rest] = split(path);
    return {
      not,
      base,
      rest,
      literal: isLiteral(path),
      pattern: rest === '' ? undefined : globToRegExp(rest),
    };
  });
  const fits = ({ base, pattern }: (typeof rules)[number], path: string): boolean => {
    if (path !== base && !path.startsWith(`${base}/`)) return false;
    if (pattern === undefined) return true;
    const parts = path.slice(base.length + 1).split('/');
    return parts.some((_, i) => pattern.test(parts.slice(0, i + 1).join('/')));
  };
  const leadsInto = ({ base, rest }: (typeof rules)[number], inner: string): boolean =>
    inner === base ||
    base.startsWith(`${inner}/`) ||
    (inner.startsWith(`${base}/`) && (rest === '' || rest.includes('/') || rest.includes('**')));
  const wanted = rules.filter(({ not }) => !not);
  const all = wanted.length === 0; // only exceptions: from everything
  const bases = all ? [folder] : [...new Set(wanted.map(({ base }) => base))];
  return {
    folder,
    most,
    bases: bases.filter(base => !bases.some(other => other !== base && base.startsWith(`${other}/`))),
    ignore: gitIgnore(repositoryOf(folder) ?? folder),
    holds(path) {
      const last = rules.findLast(rule => fits(rule, path));
      return last === undefined ? all && path.startsWith(`${folder}/`) : !last.not;
    },
    reaches(inner) {
      const last = rules.findLast(rule => (rule.not ? fits(rule, inner) : leadsInto(rule, inner)));
      return last === undefined ? all : !last.not;
    },
    names: path => wanted.some(({ literal, base }) => literal && path === base),
  };
}

export type Found = {
  readonly files: ReadonlyMap<string, FileState>;
  readonly folders: readonly string[];
};

/** Files and folders directly in a folder of the set. Both are empty when it is not there. */
export async function filesIn(set: FileSet, folder: string): Promise<Found> {
  const files = new Map<string, FileState>();
  const folders: string[] = [];
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => []);
  await Promise.all(
    entries.map(async entry => {
      const path = join(folder, entry.name);
      if (set.ignore.ignores(path, entry.isDirectory()) && !set.names(path)) return;
      if (entry.isDirectory()) {
        if (set.reaches(path)) folders.push(path);
      } else if (set.holds(path)) {
        const state = await stateOf(path);
        if (state !== undefined) files.set(path, state);
      }
    }),
  );
  return { files, folders };
}

/**
 * All of them. Links are not followed.
 * @param enter called for each folder before it is read
 * @throws TooManyFilesError, whatever `enter` throws
 */
export async function walk(
  set: FileSet,
  from: readonly string[] = set.bases,
  enter: (folder: string) => void = () => {},
): Promise<ReadonlyMap<string, FileState>> {
  const all = new Map<string, FileState>();
  const open: string[] = [];
  for (const base of from) {
    const found = await lstat(base).catch(() => undefined);
    if (found?.isDirectory()) open.push(base);
    else if (found !== undefined && set.holds(base)) all.set(base, stamp(found));
  }
  while (open.length > 0) {
    const next = open.splice(0, AT_ONCE);
    const found = await Promise.all(
      next.map(folder => {
        enter(folder);
        return filesIn(set, folder);
      }),
    );
    for (const { files, folders } of found) {
      for (const [path, state] of files) all.set(path, state);
      open.push(...folders);
    }
    if (all.size + open.length > set.most) throw new TooManyFilesError(set);
  }
  return all;
}

/** @returns undefined when there is no such file */
export async function stateOf(path: string): Promise<FileState | undefined> {
  const found = await lstat(path).catch(() => undefined);
  return found === undefined || found.isDirectory() ? undefined : stamp(found);
}

/** For sentences. */
export const named = (set: FileSet, path: string): string => relative(set.folder, path) || path;

// --- internal -----------------------------------------------------------------------------------

const MOST_FILES = 20_000;
const AT_ONCE = 16;

const stamp = (found: { ino: number; size: number; mtimeMs: number; ctimeMs: number }): FileState => ({
  state: `${found.ino} ${found.size} ${found.mtimeMs}`,
  changedAt: found.ctimeMs,
});

/** What stands before the first wildcard, in whole folders, and the rest. */
function split(path: string): [base: string, rest: string] {
  const parts = path.split('/');
  const wild = parts.findIndex(part => !isLiteral(part));
  if (wild < 0) return [path, ''];
  return [parts.slice(0, wild).join('/') || dirname(path), parts.slice(wild).join('/')];
}
