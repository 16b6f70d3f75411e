/** A clock that the test turns. */
import type { Clock } from '../../src/lib/clock.ts';

export class TestClock implements Clock {
  #now = 0;
  #soon: (() => void)[] = [];
  #timers = new Set<{ readonly at: number; readonly run: () => void }>();

  /** Timers that are set. */
  get timers(): number {
    return this.#timers.size;
  }

  readonly now = (): number => this.#now;

  readonly after = (ms: number, run: () => void): (() => void) => {
    const timer = { at: this.#now + ms, run };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  };

  readonly soon = (run: () => void): void => {
    this.#soon.push(run);
  };

  /** When all that follows without timers has happened. */
  async settled(): Promise<void> {
    do {
      const due = this.#soon;
      this.#soon = [];
      for (const run of due) run();
      await new Promise(setImmediate);
    } while (this.#soon.length > 0);
  }

  /** `ms` milliseconds pass, with all that happens in them, in order. */
  async turn(ms: number): Promise<void> {
    const end = this.#now + ms;
    for (;;) {
      await this.settled();
      const next = [...this.#timers].filter(t => t.at <= end).sort((a, b) => a.at - b.at)[0];
      if (next === undefined) break;
      this.#timers.delete(next);
      this.#now = Math.max(this.#now, next.at);
      next.run();
    }
    this.#now = end;
  }
}
