/** While room is short the trash gives its own up, oldest first, and no faster than that shows. */
import type { Log } from '../lib/log.ts';
import { giveUpOldest, type TrashEntry } from '../rules/trash.ts';
import type { Store, Stored } from '../store/contract.ts';
import { isHere } from './placed.ts';

/**
 * @param node of several, the one whose room is short
 * @returns to be called whenever room is short, as often as that is noticed
 */
export function giverUp(
  store: Store,
  log: Log,
  node: string | undefined = undefined,
  pauseMs = PAUSE_MS,
): () => void {
  const takesRoom = (entry: TrashEntry) =>
    isHere(store, node, entry.kind === 'project' ? entry.name : (entry as Stored<'branch'>).spec.project);
  let waiting = false;
  return () => {
    if (waiting) return;
    waiting = true;
    giveUpOldest(store, takesRoom)
      .then(what => {
        if (what !== undefined) log.warn({ what }, 'room is short: the trash gives it up');
      })
      .catch(error => log.warn({ error }, 'the trash could not give room up'))
      .finally(() =>
        setTimeout(() => {
          waiting = false;
        }, pauseMs).unref(),
      );
  };
}

// --- internal ------------------------------------------------------------------------------------

/** In this time what was given up has become room. */
const PAUSE_MS = 3_000;
