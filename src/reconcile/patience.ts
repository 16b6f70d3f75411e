/** How long a thing that fails is left alone: pauses that double, until it has worked for a while. */
import type { Clock } from '../lib/clock.ts';
import { backoffMs } from '../lib/wait.ts';

export type Pauses = {
  /** Milliseconds after the first failure; doubled for each further one. */
  readonly baseMs: number;
  readonly maxMs: number;
  /** A success makes failures forgotten when it has lasted so long: what works only for moments is broken. */
  readonly soundMs: number;
};

export class Patience {
  /** In a row, with successes between them that did not last. */
  failures = 0;
  /** A moment of the clock; nothing is tried before. */
  notBefore = Number.NEGATIVE_INFINITY;
  readonly #pauses: Pauses;
  readonly #clock: Clock;
  #stopTimer: (() => void) | undefined;

  constructor(pauses: Pauses, clock: Clock) {
    this.#pauses = pauses;
    this.#clock = clock;
  }

  /**
   * @param times how often it has failed before, when somebody counted who was there before us
   * @returns milliseconds of the pause that begins
   */
  failed(times = 0): number {
    this.#stop();
    this.failures = Math.max(this.failures, times);
    const ms = backoffMs(this.failures, this.#pauses.baseMs, this.#pauses.maxMs);
    this.failures += 1;
    this.notBefore = this.#clock.now() + ms;
    return ms;
  }

  /** It was not at fault. @returns milliseconds of the pause that begins: the first one, and it is not counted */
  stumbled(): number {
    this.notBefore = this.#clock.now() + this.#pauses.baseMs;
    return this.#pauses.baseMs;
  }

  /** @param sound called when the failures are forgotten, unless they are at once */
  succeeded(sound: () => void): void {
    if (this.failures === 0) return;
    this.#stopTimer ??= this.#clock.after(this.#pauses.soundMs, () => {
      this.forgive();
      sound();
    });
  }

  /** As if nothing had ever failed. */
  forgive(): void {
    this.#stop();
    this.failures = 0;
    this.notBefore = Number.NEGATIVE_INFINITY;
  }

  /** Ends its timer. */
  close(): void {
    this.#stop();
  }

  #stop(): void {
    this.#stopTimer?.();
    this.#stopTimer = undefined;
  }
}
