/**
 * Tells when files of a set have changed. The kernel's events only say where to look: what counts is how the files are
 * afterwards, so that none is missed when there were too many, and nothing is told of what is as it was. Costs nothing
 * while nothing happens.
 */
import { existsSync, type FSWatcher, readFileSync, watch } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import {
  type FileSet,
  type FileState,
  filesIn,
  named,
  stateOf,
  TooManyFilesError,
  walk,
} from './file-set.ts';
import { repositoryOf } from './git-ignore.ts';

export type FolderChange = {
  /** As sentences name it. */
  readonly file: string;
  /** The latest of all changes, in milliseconds since 1970. */
  readonly at: number;
};

export type FolderWatch = {
  /** All is known. Never rejects: see `trouble`. */
  readonly ready: Promise<void>;
  /** When the newest of its files was changed, in milliseconds since 1970; 0 when there is none, or before it is ready. */
  newest(): number;
  /** Why it cannot be watched, as a sentence with what to do. */
  trouble(): string | undefined;
  close(): void;
};

export type FolderWatchOptions = {
  readonly changed: (change: FolderChange) => void;
  /** `trouble` is another. */
  readonly troubled: () => void;
  /** Milliseconds without an event after which a change is over. */
  readonly quietMs?: number;
};

export function watchFolder(
  set: FileSet,
  { changed, troubled, quietMs = QUIET_MS }: FolderWatchOptions,
): FolderWatch {
  const watchers = new Map<string, FSWatcher>();
  let files = new Map<string, FileState>();
  /** Folder → names to look at; undefined: all of it. */
  let dirty = new Map<string, Set<string> | undefined>();
  let trouble: string | undefined;
  let closed = false;
  let timer: NodeJS.Timeout | undefined;
  let firstEvent: number | undefined;
  let absent: NodeJS.Timeout | undefined;
  let looking: Promise<void>;
  const repository = repositoryOf(set.folder);

  const ready = lookAtAll().then(() => {});
  looking = ready;
  return {
    ready,
    newest: () => newestOf(files.values()),
    trouble: () => trouble,
    close() {
      closed = true;
      clearTimeout(timer);
      clearTimeout(absent);
      for (const watcher of watchers.values()) watcher.close();
      watchers.clear();
    },
  };

  function listen(folder: string): void {
    if (closed || watchers.has(folder)) return;
    const watcher = watch(folder, { persistent: false }, (_, name) => happened(folder, name ?? undefined));
    const gone = () => {
      watcher.close();
      if (watchers.get(folder) === watcher) watchers.delete(folder);
    };
    watcher.on('error', () => {
      gone();
      happened(dirname(folder), undefined);
    });
    watchers.set(folder, watcher);
  }

  function happened(folder: string, name: string | undefined): void {
    if (closed) return;
    if (name === '.gitignore') set.ignore.forget();
    const path = name === undefined ? undefined : join(folder, name);
    if (path !== undefined && set.ignore.ignores(path, false) && !set.names(path)) return;
    const before = dirty.get(folder);
    if (name === undefined || (before !== undefined && before.size >= MOST_NAMES))
      dirty.set(folder, undefined);
    else if (before !== undefined) before.add(name);
    else if (!dirty.has(folder)) dirty.set(folder, new Set([name]));
    firstEvent ??= performance.now();
    const late = performance.now() - firstEvent > LATEST_MS;
    if (late && timer !== undefined) return; // it goes off without waiting for silence
    arm(quietMs);
  }

  function arm(ms: number): void {
    clearTimeout(timer);
    timer = setTimeout(() => {
      timer = undefined;
      looking = looking.then(look);
    }, ms);
    timer.unref();
  }

  async function look(): Promise<void> {
    if (closed || dirty.size === 0) return;
    if (isGitAtWork() && performance.now() - firstEvent! < GIT_MS) return arm(GIT_LOOK_MS);
    const seen = dirty;
    dirty = new Map();
    firstEvent = undefined;
    const change = seen.size > MOST_FOLDERS ? await lookAtAll() : await lookAt(seen);
    if (change !== undefined && !closed) changed(change);
  }

  async function lookAt(seen: typeof dirty): Promise<FolderChange | undefined> {
    try {
      const changes: Changes = new Map();
      let lost = false;
      // First what is gone: another may have its name, of which the folder above tells.
      for (const [folder, names] of seen) {
        if (existsSync(folder) && !isMoved(folder, names)) continue;
        drop(folder, changes);
        seen.delete(folder);
        lost ||= set.bases.some(base => base === folder || base.startsWith(`${folder}/`));
      }
      for (const [folder, names] of seen) {
        if (names === undefined) await lookAtFolder(folder, changes);
        else for (const name of names) await lookAtEntry(folder, name, changes);
      }
      if (files.size > set.most) throw new TooManyFilesError(set);
      return lost ? await lookAtAll(changes) : told(changes);
    } catch (error) {
      giveUp(error);
      return undefined;
    }
  }

  /** What happens to a folder itself is told by its own name, as if it were in it. */
  function isMoved(folder: string, names: ReadonlySet<string> | undefined): boolean {
    const name = basename(folder);
    return names?.has(name) === true && !existsSync(join(folder, name));
  }

  async function lookAtFolder(folder: string, changes: Changes): Promise<void> {
    const now = await filesIn(set, folder);
    for (const path of files.keys())
      if (dirname(path) === folder && !now.files.has(path)) put(path, undefined, changes);
    for (const [path, state] of now.files) put(path, state, changes);
    for (const inner of now.folders) if (!watchers.has(inner)) await enter(inner, changes);
    for (const known of [...watchers.keys()])
      if (dirname(known) === folder && !now.folders.includes(known)) drop(known, changes);
  }

  async function lookAtEntry(folder: string, name: string, changes: Changes): Promise<void> {
    const path = join(folder, name);
    const state = await stateOf(path);
    const isIgnored = (isFolder: boolean) => set.ignore.ignores(path, isFolder) && !set.names(path);
    if (state !== undefined) {
      if (set.holds(path) && !isIgnored(false)) put(path, state, changes);
    } else if (existsSync(path)) {
      // A folder, which may have taken the place of another.
      if (set.reaches(path) && !isIgnored(true)) await enter(path, changes);
    } else {
      put(path, undefined, changes);
      drop(path, changes);
    }
  }

  async function enter(folder: string, changes: Changes): Promise<void> {
    deafen(folder);
    const now = await walk(set, [folder], listen);
    for (const path of files.keys()) if (isIn(folder, path) && !now.has(path)) put(path, undefined, changes);
    for (const [path, state] of now) put(path, state, changes);
  }

  function deafen(folder: string): void {
    for (const [path, watcher] of watchers) {
      if (!isIn(folder, path)) continue;
      watcher.close();
      watchers.delete(path);
    }
  }

  function drop(folder: string, changes: Changes): void {
    deafen(folder);
    for (const path of files.keys()) if (isIn(folder, path)) put(path, undefined, changes);
  }

  function put(path: string, state: FileState | undefined, changes: Changes): void {
    const before = files.get(path);
    if (before?.state === state?.state) return;
    changes.set(path, state?.changedAt ?? Date.now());
    if (state === undefined) files.delete(path);
    else files.set(path, state);
  }

  async function lookAtAll(changes: Changes = new Map()): Promise<FolderChange | undefined> {
    try {
      clearTimeout(absent);
      for (const [path, watcher] of watchers) if (!existsSync(path)) watcher.close();
      for (const path of [...watchers.keys()]) if (!existsSync(path)) watchers.delete(path);
      const before = files;
      const now = await walk(set, set.bases, listen);
      if (set.bases.some(base => !existsSync(base))) waitForBases();
      files = new Map(now);
      for (const [path, { state, changedAt }] of now)
        if (before.get(path)?.state !== state) changes.set(path, changedAt);
      for (const path of before.keys()) if (!now.has(path)) changes.set(path, Date.now());
      if (trouble !== undefined) {
        trouble = undefined;
        troubled();
      }
      return told(changes);
    } catch (error) {
      giveUp(error);
      return undefined;
    }
  }

  /** Nothing tells when what is not there comes. */
  function waitForBases(): void {
    if (closed) return;
    absent = setTimeout(() => {
      looking = looking.then(async () => {
        const change = await lookAtAll();
        if (change !== undefined && !closed) changed(change);
      });
    }, ABSENT_MS).unref();
  }

  function told(changes: Changes): FolderChange | undefined {
    const [first] = changes.keys();
    if (first === undefined) return undefined;
    return { file: named(set, first), at: Math.max(...[...changes.values()]) };
  }

  function giveUp(error: unknown): void {
    for (const watcher of watchers.values()) watcher.close();
    watchers.clear();
    if (closed) return;
    trouble = sentence(set, error);
    troubled();
  }

  function isGitAtWork(): boolean {
    if (repository === undefined) return false;
    return existsSync(join(gitFolderOf(repository), 'index.lock'));
  }
}

// --- internal -----------------------------------------------------------------------------------

/** By path, when. */
type Changes = Map<string, number>;

/** An editor writes a file in a few milliseconds, and one after the other. */
const QUIET_MS = 30;
/** Somebody who never stops writing is looked at all the same. */
const LATEST_MS = 1_000;
/** While git writes its index, more is to come; not longer than this, because a git that was killed leaves its lock. */
const GIT_MS = 60_000;
const GIT_LOOK_MS = 25;
const ABSENT_MS = 1_000;
const MOST_NAMES = 64;
const MOST_FOLDERS = 256;

const isIn = (folder: string, path: string): boolean => path === folder || path.startsWith(`${folder}/`);

const newestOf = (states: Iterable<FileState>): number => {
  let newest = 0;
  for (const { changedAt } of states) newest = Math.max(newest, changedAt);
  return newest;
};

/** Of a work tree that is not the first one `.git` is a file which names it. */
function gitFolderOf(repository: string): string {
  try {
    const [, path] = /^gitdir: (.+)$/m.exec(readFileSync(join(repository, '.git'), 'utf8')) ?? [];
    if (path !== undefined) return resolve(repository, path);
  } catch {
    // It is a folder.
  }
  return join(repository, '.git');
}

/** inotify(7): a user has so many watches, one for each folder. */
function sentence({ folder, most }: FileSet, error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  if (error instanceof TooManyFilesError)
    return `${folder} is not watched: it holds more than ${most} files; name those that matter, e.g. watch: ["src/**"]`;
  if (code === 'ENOSPC' || code === 'EMFILE')
    return `${folder} is not watched: this user has no inotify watches left; raise fs.inotify.max_user_watches, or name fewer folders in "watch"`;
  return `${folder} is not watched: ${message}`;
}
