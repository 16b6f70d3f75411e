/**
 * Files of a program at places of the machine that are not its own, such as `/outputs/url`, as those that were written
 * for a container of their own have them. The program sees a shadow of the folder in question: the same entries, mounted
 * one by one into a folder of ours, in which it may write. The machine sees nothing and keeps nothing.
 */
import { chmod, mkdir, readdir, readlink, realpath, stat, symlink, writeFile } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import type { Bind } from './namespaces.ts';

export type Shadows = {
  /** In the order in which they must be mounted. */
  readonly binds: readonly Bind[];
  /** What the program has to see as `/`; undefined when that stays as it is. */
  readonly root: string | undefined;
  /** Where we find what the program calls `path`, one of those that the shadows were made for. */
  locate(path: string): string;
};

/**
 * Makes the shadows of all folders that `paths` need, below `folder`.
 * @param paths absolute ones of files, existing or not
 */
export async function makeShadows(paths: readonly string[], folder: string): Promise<Shadows> {
  const places = await Promise.all(paths.map(placeOf));
  const bases = [...new Set(places.map(place => place.base))];
  const binds: Bind[] = [];
  const shadowOf = new Map<string, string>();
  // Inner ones first: the outer one then takes their mounts along.
  for (const [i, base] of bases.sort((a, b) => b.length - a.length).entries()) {
    const shadow = join(folder, String(i));
    shadowOf.set(base, shadow);
    const own = new Set(places.filter(place => place.base === base).map(place => place.rest.split('/')[0]!));
    binds.push(...(await makeShadow(base, shadow, own)));
    if (base !== '/') binds.push({ source: shadow, target: base });
  }
  return {
    binds,
    root: shadowOf.get('/'),
    locate(path) {
      const { base, rest } = places[paths.indexOf(path)]!;
      return join(shadowOf.get(base)!, rest);
    },
  };
}

/** @returns why no file can be shadowed at `path`; undefined when it can */
export async function shadowProblem(path: string): Promise<string | undefined> {
  const { base, rest } = await placeOf(path);
  if (rest === '') return 'it is a folder';
  const kernel = ['/proc', '/sys', '/dev'].find(
    place => base !== '/dev/shm' && (base === place || base.startsWith(`${place}/`)),
  );
  if (kernel !== undefined) return `${kernel} is no place for files`;
  const entries = await readdir(base).catch((error: NodeJS.ErrnoException) => error);
  if (!Array.isArray(entries)) return `the folder ${base} cannot be read (${entries.code})`;
  if (entries.length > MAX_ENTRIES) return `the folder ${base} has more than ${MAX_ENTRIES} entries`;
  return undefined;
}

// --- internal -----------------------------------------------------------------------------------

/** Each costs a mount at the start. */
const MAX_ENTRIES = 500;

/** A file as the program names it: the deepest folder on its way that the machine has, and the rest of the way. */
type Place = { readonly base: string; readonly rest: string };

async function placeOf(path: string): Promise<Place> {
  const absolute = resolve('/', path);
  if (await isFolder(absolute)) return { base: await realpath(absolute), rest: '' };
  const missing = [basename(absolute)];
  for (let folder = dirname(absolute); ; folder = dirname(folder)) {
    // By its real name: a mount on a symbolic link would be one on what it points to.
    if (folder === '/' || (await isFolder(folder)))
      return { base: await realpath(folder), rest: missing.join('/') };
    missing.unshift(basename(folder));
  }
}

/** @param own names that the program shall not find there */
async function makeShadow(base: string, shadow: string, own: ReadonlySet<string>): Promise<Bind[]> {
  await mkdir(shadow, { recursive: true });
  await chmod(shadow, (await stat(base)).mode & 0o7777);
  const binds: Bind[] = [];
  for (const entry of await readdir(base, { withFileTypes: true })) {
    if (own.has(entry.name)) continue;
    const source = join(base, entry.name);
    const target = join(shadow, entry.name);
    if (entry.isSymbolicLink()) await symlink(await readlink(source), target);
    else {
      if (entry.isDirectory()) await mkdir(target);
      else await writeFile(target, '');
      binds.push({ source, target });
    }
  }
  // A recursive mount takes along what is mounted below it already: what holds the shadow itself goes first.
  return binds.sort((a, b) => Number(holds(b.source, shadow)) - Number(holds(a.source, shadow)));
}

const holds = (folder: string, path: string): boolean => path.startsWith(`${folder}/`);

const isFolder = (path: string): Promise<boolean> =>
  stat(path).then(
    found => found.isDirectory(),
    () => false,
  );
