import { turn } from './turns.ts';

/** Of those who take very many. */
const TURN_EACH = 64;

/** Callers take turns per key, in order of arrival; inside one process. */
export class KeyedLock {
  /** By key: who came last. Those who share do not wait for one another. */
  readonly #queues = new Map<string, { last: Promise<void>; sharing: boolean; before: Promise<void> }>();

  /** Runs `body` when all earlier holders of `key` are done. The lock is released however `body` ends. */
  run<T>(key: string, body: () => Promise<T>): Promise<T> {
    return this.runAll({ alone: [key] }, body);
  }

  /**
   * The same for several keys at once: `alone` are held by nobody else meanwhile, `shared` only by others who share
   * them. Keys are taken in the order of their names, so that no two callers wait for one another.
   */
  async runAll<T>(
    { alone = [], shared = [] }: { readonly alone?: readonly string[]; readonly shared?: readonly string[] },
    body: () => Promise<T>,
  ): Promise<T> {
    const keys = new Map<string, boolean>();
    for (const key of shared) keys.set(key, true);
    for (const key of alone) keys.set(key, false);
    const releases: (() => void)[] = [];
    try {
      for (const [key, sharing] of [...keys].sort(([a], [b]) => (a < b ? -1 : 1))) {
        releases.push(await this.#take(key, sharing));
        if (releases.length % TURN_EACH === 0) await turn();
      }
      return await body();
    } finally {
      for (const release of releases) release();
    }
  }

  async #take(key: string, sharing: boolean): Promise<() => void> {
    const queue = this.#queues.get(key);
    const { promise: mine, resolve: release } = Promise.withResolvers<void>();
    // Who shares with the last ones waits for what they waited for, and whoever comes next waits for all of them.
    const joins = queue?.sharing === true && sharing;
    const before = queue === undefined ? Promise.resolve() : joins ? queue.before : queue.last;
    const last = (joins ? Promise.all([queue.last, mine]) : before.then(() => mine)).then(() => {});
    const next = { last, sharing, before };
    this.#queues.set(key, next);
    await before;
    return () => {
      release();
      if (this.#queues.get(key) === next)
        void last.then(() => this.#queues.get(key) === next && this.#queues.delete(key));
    };
  }
}
