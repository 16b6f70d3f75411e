/** Who has been without use for long enough to sleep. Each use costs nothing but a moment; a look is asked for when it is time. */
import { type Clock, realClock } from '../lib/clock.ts';

/** Which branches are used: from the moment that a client has named one until it has left. */
export type Uses = {
  has(id: string): boolean;
  /** Calls `listener` when the first one comes and when the last one has left. @returns the way to stop that */
  onChange(listener: (id: string) => void): () => void;
};

export type Idle = {
  /** It is awake: `due` is told once nobody has used it for so many milliseconds. Undefined: never. */
  watch(id: string, afterMs: number | undefined): void;
  /** It is not awake any more. */
  leave(id: string): void;
  /** Its time begins anew. */
  touch(id: string): void;
  isUsed(id: string): boolean;
  /** Nobody has used it for as long as was said. */
  isDue(id: string): boolean;
  close(): void;
};

/** @param uses undefined: nobody tells */
export function watchIdle(due: (id: string) => void, uses?: Uses, clock: Clock = realClock): Idle {
  const watched = new Map<string, Watched>();
  let closed = false; // looks that are under way go on
  const isUsed = (id: string): boolean => uses?.has(id) ?? false;
  const leftMs = ({ since, afterMs = Number.POSITIVE_INFINITY }: Watched): number =>
    since + afterMs - clock.now();

  /** One alarm at a time: who is used meanwhile costs none. */
  const arrange = (id: string, one: Watched): void => {
    if (closed || one.stop !== undefined || one.afterMs === undefined || isUsed(id)) return;
    one.stop = clock.after(Math.max(0, leftMs(one)), () => {
      delete one.stop;
      if (isUsed(id)) return; // its end arranges the next
      if (leftMs(one) > 0) arrange(id, one);
      else due(id);
    });
  };
  const again = (id: string, one: Watched): void => {
    one.since = clock.now();
    arrange(id, one);
  };
  const stopListening = uses?.onChange(id => {
    const one = watched.get(id);
    if (one !== undefined) again(id, one);
  });

  return {
    isUsed,
    watch(id, afterMs) {
      const one = watched.get(id) ?? { since: clock.now(), afterMs };
      watched.set(id, one);
      if (one.afterMs !== afterMs) {
        one.afterMs = afterMs;
        one.stop?.();
        delete one.stop;
      }
      arrange(id, one);
    },
    leave(id) {
      watched.get(id)?.stop?.();
      watched.delete(id);
    },
    touch(id) {
      const one = watched.get(id);
      if (one !== undefined) again(id, one);
    },
    isDue(id) {
      const one = watched.get(id);
      return one !== undefined && !isUsed(id) && leftMs(one) <= 0;
    },
    close() {
      closed = true;
      stopListening?.();
      for (const { stop } of watched.values()) stop?.();
      watched.clear();
    },
  };
}

// --- internal -----------------------------------------------------------------------------------

type Watched = {
  /** On the clock. */
  since: number;
  afterMs: number | undefined;
  /** Of its alarm. */
  stop?: () => void;
};
