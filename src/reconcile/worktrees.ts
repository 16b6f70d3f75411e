/**
 * Environments whose worktree was removed go: their code is gone. One watch for each folder tells of its end; nothing is
 * looked at while it is there. What is only away (lib/worktree-gone.ts) is left to "offshoot env gc", and to people.
 */
import { existsSync, type FSWatcher, statSync, watch } from 'node:fs';
import { basename, join } from 'node:path';
import type { Log } from '../lib/log.ts';
import { isRemoved } from '../lib/worktree-gone.ts';
import { environmentOwner } from '../model/environment.ts';
import { deleteSandbox } from '../rules/sandboxes.ts';
import type { Store, Stored } from '../store/contract.ts';

/** @param graceMs for which a folder may be gone: one that is exchanged for another is not removed */
export function followWorktrees(store: Store, log: Log, graceMs = GRACE_MS): () => void {
  /** By path; none: it cannot be watched. */
  const watchers = new Map<string, readonly FSWatcher[]>();
  /** Looks at folders that git is about to remove: how often. */
  const looks = new Map<string, number>();
  const timers = new Map<string, NodeJS.Timeout>();
  /** By sandbox. */
  const known = new Map<string, string>();
  let closed = false;

  const at = (worktree: string): readonly Stored<'sandbox'>[] =>
    [...known].flatMap(([name, place]) => {
      const sandbox = place === worktree ? store.get('sandbox', name) : undefined;
      return sandbox === undefined ? [] : [sandbox];
    });

  const follow = (sandbox: Stored<'sandbox'>): void => {
    const place = sandbox.deletedAt === undefined ? environmentOwner(sandbox.spec)?.worktree : undefined;
    const before = known.get(sandbox.name);
    if (before === place) return;
    if (place === undefined) known.delete(sandbox.name);
    else known.set(sandbox.name, place);
    if (before !== undefined && at(before).length === 0) forget(before);
    if (place !== undefined && !watchers.has(place)) listen(place);
  };

  const forget = (worktree: string): void => {
    for (const watcher of watchers.get(worktree) ?? []) watcher.close();
    watchers.delete(worktree);
    clearTimeout(timers.get(worktree));
    timers.delete(worktree);
  };

  const listen = (worktree: string): void => {
    if (closed) return;
    watchers.set(worktree, []);
    if (!existsSync(worktree)) {
      lookSoon(worktree);
      return;
    }
    try {
      // What happens to a folder itself is told by its own name; of what happens in it we want to know nothing.
      const watcher = watch(worktree, { persistent: false }, (event, name) => {
        if (event === 'rename' && (name === null || name === basename(worktree))) lookSoon(worktree);
      });
      watcher.on('error', () => lookSoon(worktree));
      watchers.set(worktree, [watcher, ...linkOf(worktree)]);
      if (!existsSync(worktree)) lookSoon(worktree); // meanwhile
    } catch (err) {
      if (existsSync(worktree)) log.warn({ err, worktree }, 'the end of a worktree will not be noticed');
      else lookSoon(worktree);
    }
  };

  /**
   * Of a folder in which a program works, as a fork does, the end is told only after that of the program (inotify(7)); that of the
   * file by which git knows it is told at once.
   */
  const linkOf = (worktree: string): readonly FSWatcher[] => {
    const link = join(worktree, GIT);
    if (!statSync(link, { throwIfNoEntry: false })?.isFile()) return [];
    const watcher = watch(link, { persistent: false }, event => {
      if (event === 'rename') lookSoon(worktree);
    });
    watcher.on('error', () => lookSoon(worktree));
    return [watcher];
  };

  const lookSoon = (worktree: string): void => {
    clearTimeout(timers.get(worktree));
    const timer = setTimeout(
      () => void look(worktree).catch(err => log.error({ err, worktree }, 'a worktree cannot be looked at')),
      graceMs,
    );
    timers.set(worktree, timer.unref());
  };

  const look = async (worktree: string): Promise<void> => {
    if (closed) return;
    if (existsSync(worktree)) {
      const before = looks.get(worktree) ?? 0;
      // It is being removed, file by file.
      if (
        (watchers.get(worktree)?.length ?? 0) > 1 &&
        !existsSync(join(worktree, GIT)) &&
        before < MOST_LOOKS
      ) {
        looks.set(worktree, before + 1);
        lookSoon(worktree);
        return;
      }
      looks.delete(worktree);
      // Another folder has its place; nobody tells of that one yet.
      forget(worktree);
      if (at(worktree).length > 0) listen(worktree);
      return;
    }
    looks.delete(worktree);
    for (const sandbox of at(worktree)) {
      const { name } = sandbox;
      const owner = environmentOwner(sandbox.spec);
      if (owner?.worktree !== worktree || !(await isRemoved(owner)) || closed) continue;
      const message = `its worktree ${worktree} was removed`;
      await store.record({ kind: 'sandbox', name, severity: 'info', reason: 'WorktreeRemoved', message });
      await deleteSandbox(store, name, { force: false });
    }
  };

  const stop = store.onChange(change => {
    if (change.kind !== 'sandbox') return;
    const sandbox = store.get('sandbox', change.name);
    if (sandbox !== undefined) {
      follow(sandbox);
      return;
    }
    const before = known.get(change.name);
    known.delete(change.name);
    if (before !== undefined && at(before).length === 0) forget(before);
  });
  for (const sandbox of store.list('sandbox')) follow(sandbox);
  return () => {
    closed = true;
    stop();
    for (const worktree of [...watchers.keys()]) forget(worktree);
  };
}

// --- internal -----------------------------------------------------------------------------------

const GRACE_MS = 1_000;
/** Removing a folder takes its time. */
const MOST_LOOKS = 120;
const GIT = '.git';
