/** A copy of a running parent of which it is known how far the parent was, so that it can be said later whether it still holds all. */
import type { BranchRecord } from '../../model/branch.ts';
import type { LiveParent, Position } from '../branch-parts.ts';

export type TimedCopy = {
  /** To be copied from. */
  readonly live: LiveParent;
  /**
   * Where the parent stood when it was copied; undefined unless it stood still, with all in its files. Of a copy that
   * lacks rows a new one might have them.
   */
  at(made: BranchRecord): string | undefined;
};

/** Reads how far the server is right before a copy and right after it. */
export function timedCopy(live: LiveParent, read: () => Promise<Position | undefined>): TimedCopy {
  let [before, after]: (Position | undefined)[] = [];
  return {
    at: ({ emptied }) =>
      before?.flushed && before.at === after?.at && emptied === undefined ? before.at : undefined,
    live: {
      checkpoint: live.checkpoint,
      beginBackup: live.beginBackup,
      async hold(ctx) {
        const release = await live.hold(ctx);
        before = await read().catch(() => undefined);
        return async () => {
          after = before && (await read().catch(() => undefined));
          await release();
        };
      },
      get unlogged() {
        return live.unlogged;
      },
    },
  };
}
