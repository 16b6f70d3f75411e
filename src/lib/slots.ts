/**
 * Places of which there are only so many: copies of one parent, starts at once on the machine. Who finds none
 * free goes away and comes back when the topic is told; nobody ever waits with something else in hand.
 */
export type Slots = {
  /**
   * Never blocks.
   * @param most places that `topic` has
   * @returns the way to give the place back, which tells `topic`; undefined: none is free
   */
  take(topic: string, most: number): (() => void) | undefined;
  /** How many places are taken. */
  taken(topic: string): number;
};

/** @param told called with the topic whenever one of its places has become free: one who waits for it may try */
export function createSlots(told: (topic: string) => void): Slots {
  const taken = new Map<string, number>();
  const count = (topic: string) => taken.get(topic) ?? 0;
  return {
    taken: count,
    take(topic, most) {
      if (count(topic) >= most) return undefined;
      taken.set(topic, count(topic) + 1);
      let held = true;
      return () => {
        if (!held) return;
        held = false;
        const left = count(topic) - 1;
        if (left === 0) taken.delete(topic);
        else taken.set(topic, left);
        told(topic);
      };
    },
  };
}
