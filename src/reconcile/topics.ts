/**
 * Who waits for what: a line for each topic, oldest first. Telling a topic costs as much as the waiters that it
 * wakes. A waiter says what it waits for at the end of a look, so what is told during its look must not be lost.
 */
import { Heap } from '../lib/heap.ts';

/** Something that may happen, e.g. `branch/br1` (its state changed), `start` (a place is free). */
export type Topic = string;

/** What a waiter keeps for us. */
export type Waits = Map<Topic, Wait>;

export type Topics<W extends Waiter> = {
  /** The moment at which a look begins. Every moment needs its `settle`. */
  begin(): number;
  /**
   * The end of a look: from now on `waiter` waits for exactly `topics`. It keeps its place in the lines in which
   * it stood before.
   * @returns whether one of them was told since `begun`, so that it must look again
   */
  settle(waiter: W, topics: readonly Topic[], begun: number): boolean;
  /**
   * Wakes those who wait for `topic`, oldest first.
   * @param most of them, because there is something for only so many; whoever was woken by such a word and does
   *   not wait for it any more passes it on at the end of its look, so that what it did not take is not lost
   */
  tell(topic: Topic, most?: number): void;
};

type Waiter = { readonly waits: Waits };

type Wait = {
  readonly waiter: Waiter;
  readonly ticket: number;
  /** Moment at which it was woken; such a wait stands in no line. */
  told?: number;
  /** The word was for so many only. */
  limited?: boolean;
};

/** @param wake asks for a look at a waiter */
export function createTopics<W extends Waiter>(wake: (waiter: W) => void): Topics<W> {
  const lines = new Map<Topic, Heap<Wait>>();
  /** Moments at which the looks under way began, oldest first. */
  const looks = new Set<number>();
  /** What was told while looks were under way and was not used up, oldest first. */
  const news = new Map<Topic, { readonly at: number; left: number }>();
  let newsMost = newsAtLeast;
  let moment = 0;

  const enter = (topic: Topic, wait: Wait): void => {
    const line = lines.get(topic) ?? new Heap<Wait>((a, b) => a.ticket < b.ticket);
    lines.set(topic, line);
    line.push(wait);
  };

  const leave = (topic: Topic, wait: Wait): void => {
    const line = lines.get(topic);
    line?.delete(wait);
    if (line?.size === 0) lines.delete(topic);
  };

  const tell: Topics<W>['tell'] = (topic, most = Number.POSITIVE_INFINITY) => {
    const line = lines.get(topic);
    let left = most;
    for (; left > 0; left--) {
      const wait = line?.pop();
      if (wait === undefined) break;
      wait.told = ++moment;
      wait.limited = most !== Number.POSITIVE_INFINITY;
      wake(wait.waiter as W);
    }
    if (line?.size === 0) lines.delete(topic);
    if (left > 0 && looks.size > 0) remember(topic, left);
  };

  const remember = (topic: Topic, left: number): void => {
    const before = news.get(topic)?.left ?? 0;
    news.delete(topic); // the order of the map is that of the moments
    news.set(topic, { at: ++moment, left: before + left });
    if (news.size > newsMost) forgetOldNews();
  };

  /** Seldom enough to cost nothing per word: what is older than every look under way is of use to none. */
  const forgetOldNews = (): void => {
    const [oldest = Number.POSITIVE_INFINITY] = looks;
    for (const [topic, { at }] of news) {
      if (at > oldest) break;
      news.delete(topic);
    }
    newsMost = Math.max(newsAtLeast, 2 * news.size);
  };

  /** Whether `topic` was told since `begun` and there is something left of it; takes its share. */
  const takeNews = (topic: Topic, begun: number): Pick<Wait, 'told' | 'limited'> | undefined => {
    const found = news.get(topic);
    if (found === undefined || found.at < begun || found.left === 0) return undefined;
    found.left -= 1;
    return { told: ++moment, limited: found.left !== Number.POSITIVE_INFINITY };
  };

  return {
    tell,
    begin() {
      looks.add(++moment);
      return moment;
    },
    settle(waiter, topics, begun) {
      looks.delete(begun);
      const { waits } = waiter;
      const wanted = new Set(topics);
      const passOn: Topic[] = [];
      for (const [topic, wait] of waits) {
        if (wanted.has(topic)) continue;
        waits.delete(topic);
        if (wait.told === undefined) leave(topic, wait);
        else if (wait.limited) passOn.push(topic);
      }
      let told = false;
      for (const topic of wanted) {
        const wait = waits.get(topic) ?? { waiter, ticket: ++moment, told: 0 };
        waits.set(topic, wait);
        if (wait.told === undefined) continue; // it stands in the line still
        if (wait.told < begun) {
          // It has looked since, in vain: somebody was quicker.
          delete wait.told;
          Object.assign(wait, takeNews(topic, begun));
        }
        if (wait.told === undefined) enter(topic, wait);
        else told = true;
      }
      if (looks.size === 0) news.clear();
      for (const topic of passOn) tell(topic, 1);
      return told;
    },
  };
}

// --- internal -----------------------------------------------------------------------------------

const newsAtLeast = 64;
