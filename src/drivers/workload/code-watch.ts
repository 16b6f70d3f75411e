/** Watches the folders of workloads that want another start when their code changes: each once, whoever runs it. */
import { readFileSync, statSync } from 'node:fs';
import { basename } from 'node:path';
import { fileSet, TooManyFilesError, walk } from '../../lib/file-set.ts';
import { type FolderChange, type FolderWatch, watchFolder } from '../../lib/folder-watch.ts';
import { Listeners } from '../../lib/listeners.ts';
import { allFiles, type CodePlan } from './code.ts';

export type CodeWatch = {
  /** From now on `changed` is called for it when one of these folders changes. What it followed before is over. */
  follow(id: string, plans: readonly CodePlan[]): void;
  /** Why the folder of a plan is not watched, or what keeps it from being quick. A sentence. */
  trouble(plan: CodePlan): string | undefined;
  /** Looks at the folder for a while, whether it is to be watched or not. */
  look(plan: CodePlan): Look;
  close(): void;
};

export type Look = {
  /** From now on no change is missed. */
  readonly ready: Promise<void>;
  /** Calls `listener` after each change. @returns the way to stop that */
  onChange(listener: () => void): () => void;
  close(): void;
};

export type CodeWatchOptions = {
  /** @param at when, in milliseconds since 1970: who has started later runs by it already */
  readonly changed: (id: string, folder: string, at: number) => void;
  /** `trouble` of what it follows is another. */
  readonly troubled: (id: string) => void;
};

export function openCodeWatch({ changed, troubled }: CodeWatchOptions): CodeWatch {
  const open = new Map<string, Entry>();
  const followed = new Map<string, readonly string[]>();

  const enter = (plan: CodePlan): Entry => {
    const key = keyOf(plan);
    const found = open.get(key);
    if (found !== undefined) return found;
    const entry: Entry = { ...newEntry(), key, folder: plan.folder };
    entry.watch = watchFolder(fileSet(plan.folder, plan.watch ?? allFiles), {
      changed: change => onChange(entry, change),
      troubled: () => {
        for (const id of entry.ids) troubled(id);
      },
    });
    open.set(key, entry);
    return entry;
  };
  const leave = (entry: Entry): void => {
    if (entry.ids.size + entry.waiting > 0) return;
    clearTimeout(entry.pause);
    clearTimeout(entry.silence);
    entry.watch!.close();
    open.delete(entry.key);
  };

  const quiet = (entry: Entry): void => {
    clearTimeout(entry.silence);
    if (entry.noise === undefined) return;
    entry.noise = undefined;
    for (const id of entry.ids) troubled(id);
  };

  /**
   * Programs that write where they are watched would start for ever: the more often, the longer it waits. Those write the same file,
   * or files all the time; a person, or an agent, who saves often is not kept waiting.
   */
  const onChange = (entry: Entry, { file, at }: FolderChange): void => {
    entry.changes.tell();
    const now = performance.now();
    entry.recent = entry.recent.filter(({ time }) => time > now - RECENT_MS);
    entry.at = Math.max(entry.at, at);
    if (entry.pause !== undefined) return;
    const tell = () => {
      entry.pause = undefined;
      entry.recent.push({ time: performance.now(), file });
      for (const id of entry.ids) changed(id, entry.folder, entry.at);
    };
    const ofIt = entry.recent.filter(one => one.file === file).length;
    const surplus = Math.max(ofIt - MANY_OF_ONE, entry.recent.length - MANY);
    if (surplus < 0) {
      quiet(entry);
      tell();
      return;
    }
    const pauseMs = Math.min(LONGEST_MS, FIRST_MS * 2 ** surplus);
    entry.noise = `"${file}" changes all the time, so starts wait for ${pauseMs / 1000} s: if the program itself writes it, leave it out by watch: ["**", "!${file}"]`;
    entry.pause = setTimeout(tell, pauseMs).unref();
    clearTimeout(entry.silence);
    entry.silence = setTimeout(() => quiet(entry), RECENT_MS).unref();
    for (const id of entry.ids) troubled(id);
  };

  return {
    follow(id, plans) {
      const wanted = plans.filter(({ watch }) => watch !== undefined);
      const keys = wanted.map(keyOf);
      for (const plan of wanted) {
        const entry = enter(plan);
        if (entry.ids.has(id)) continue;
        entry.ids.add(id);
        // What has changed before it was watched is seen by its time.
        void entry.watch!.ready.then(() => {
          if (entry.ids.has(id)) changed(id, entry.folder, entry.watch!.newest());
        });
      }
      for (const key of followed.get(id) ?? []) {
        if (keys.includes(key)) continue;
        const entry = open.get(key);
        entry?.ids.delete(id);
        if (entry !== undefined) leave(entry);
      }
      if (keys.length === 0) followed.delete(id);
      else followed.set(id, keys);
    },

    trouble(plan) {
      if (plan.watch === undefined) return undefined;
      const entry = open.get(keyOf(plan));
      return entry === undefined ? undefined : (entry.watch?.trouble() ?? entry.noise);
    },

    look(plan) {
      const entry = enter(plan);
      entry.waiting++;
      let closed = false;
      return {
        ready: entry.watch!.ready,
        onChange: listener => entry.changes.add(listener),
        close() {
          if (closed) return;
          closed = true;
          entry.waiting--;
          leave(entry);
        },
      };
    },

    close() {
      for (const entry of open.values()) {
        clearTimeout(entry.pause);
        clearTimeout(entry.silence);
        entry.watch!.close();
      }
      open.clear();
      followed.clear();
    },
  };
}

/**
 * Whether a file that counts has changed after `at`, in milliseconds since 1970; not what is removed. Who watches its own
 * code has seen to that. More files than anybody edits are not looked through. Where nobody has said what counts,
 * what we are told by itself does not: manifests and project files, which stand among the code where a program's folder is the
 * project's.
 */
export async function hasChanged({ folder, watch, reload }: CodePlan, at: number): Promise<boolean> {
  if (reload === 'app') return false;
  try {
    const files = await walk(fileSet(folder, watch ?? allFiles));
    const changed = [...files].filter(([, { changedAt }]) => changedAt > at).map(([path]) => path);
    return watch === undefined ? !changed.every(isDocument) : changed.length > 0;
  } catch (error) {
    if (error instanceof TooManyFilesError) return false;
    throw error;
  }
}

// --- internal -----------------------------------------------------------------------------------

type Entry = {
  readonly key: string;
  readonly folder: string;
  watch?: FolderWatch;
  /** Who follows it. */
  readonly ids: Set<string>;
  readonly changes: Listeners<void>;
  waiting: number;
  /** Of the latest change, in milliseconds since 1970. */
  at: number;
  /** When those who follow it were told last, of this daemon's clock. */
  recent: { readonly time: number; readonly file: string }[];
  pause?: NodeJS.Timeout | undefined;
  /** Ends what is said of noise. */
  silence?: NodeJS.Timeout | undefined;
  noise?: string | undefined;
};

const newEntry = () => ({
  ...{ ids: new Set<string>(), changes: new Listeners<void>(), waiting: 0, at: 0, recent: [] },
});

/** In bytes. */
const LONGEST_DOCUMENT = 1 << 20;

/** @param path of a file that was there a moment ago */
function isDocument(path: string): boolean {
  if (basename(path) === 'offshoot.yaml') return true;
  if (!/\.ya?ml$/.test(path)) return false;
  try {
    if (statSync(path).size > LONGEST_DOCUMENT) return false;
    const text = readFileSync(path, 'utf8');
    return /^apiVersion:/m.test(text) && /^kind:/m.test(text);
  } catch {
    return false;
  }
}

const keyOf = ({ folder, watch }: CodePlan): string => JSON.stringify([folder, watch ?? null]);

/** Nobody saves one file, or all together, so often in so short a time; a program that writes its own files does. */
const [MANY_OF_ONE, MANY] = [12, 40];
const RECENT_MS = 60_000;
const FIRST_MS = 1_000;
const LONGEST_MS = 10_000;
