/** Calls of drivers that go wrong, or that take until a test lets them go on. */
import type { Ctx } from '../../src/drivers/contract.ts';

/** What goes wrong: by call, e.g. `volumes.ensure br1`, or `volumes.ensure` for every id. */
export class Trouble {
  readonly #counts = new Map<string, number>();
  readonly #plans = new Map<string, (ctx: Ctx) => Promise<void>>();

  /** From now on the call throws `error`. */
  fail(call: string, error: Error): void {
    this.#plans.set(call, () => Promise.reject(error));
  }

  /** From now on the call waits, until it is aborted or released. `reached` resolves when it first does. */
  hang(call: string): { readonly reached: Promise<void>; release(): void } {
    const reached = Promise.withResolvers<void>();
    const released = Promise.withResolvers<void>();
    this.#plans.set(call, ({ signal }) => {
      reached.resolve();
      return new Promise((resolve, reject) => {
        signal.addEventListener('abort', () => reject(signal.reason), { once: true });
        void released.promise.then(resolve);
      });
    });
    return {
      reached: reached.promise,
      release: () => {
        this.#plans.delete(call);
        released.resolve();
      },
    };
  }

  /** From now on the call of this one id goes well, whatever is planned for all. */
  allow(call: string): void {
    this.#plans.set(call, async () => {});
  }

  mend(call: string): void {
    this.#plans.delete(call);
  }

  /** @returns how often the call was made since; with the id, e.g. `servers.ensure br1` */
  count(call: string): () => number {
    this.#counts.set(call, 0);
    return () => this.#counts.get(call)!;
  }

  /** For drivers. Every call lets others go first, as all real ones do. */
  async meet(call: string, id: string, ctx: Ctx): Promise<void> {
    await new Promise(setImmediate);
    ctx.signal.throwIfAborted();
    const count = this.#counts.get(`${call} ${id}`);
    if (count !== undefined) this.#counts.set(`${call} ${id}`, count + 1);
    await (this.#plans.get(`${call} ${id}`) ?? this.#plans.get(call))?.(ctx);
  }
}
