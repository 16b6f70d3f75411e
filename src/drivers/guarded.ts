/** What every driver needs and none should write itself: one caller per id, deadlines, log lines, known errors. */
import { KeyedLock } from '../lib/lock.ts';
import type { Log } from '../lib/log.ts';
import { OffshootError, toOffshootError } from '../model/errors.ts';
import type { Ctx, Driver } from './contract.ts';

export type Deadlines = {
  readonly observe: number;
  readonly ensure: number;
  readonly remove: number;
  readonly list: number;
};

/**
 * Wraps a driver, a plain object; whatever it has beside the four verbs is passed through as it is.
 * `ensure` and `remove` of one id run one after the other, in order of arrival. When a deadline passes, the
 * driver's signal aborts and the error is api/timeout; the lock is held until the driver has really returned.
 * @param deadlines milliseconds per verb, counted from when the lock is held
 */
export function guard<D extends Driver<never, unknown>>(
  driver: D,
  { log, deadlines }: { readonly log: Log; readonly deadlines: Deadlines },
): D {
  const locks = new KeyedLock();

  async function timed<T>(
    verb: keyof Deadlines,
    id: string | undefined,
    ctx: Ctx,
    work: (ctx: Ctx) => Promise<T>,
  ): Promise<T> {
    const deadline = AbortSignal.timeout(deadlines[verb]);
    const what = { driver: driver.name, verb, ...(id === undefined ? {} : { id }) };
    const start = performance.now();
    const ms = () => Math.round((performance.now() - start) * 10) / 10;
    try {
      ctx.signal.throwIfAborted();
      const result = await work({ ...ctx, signal: AbortSignal.any([ctx.signal, deadline]) });
      log.debug({ ...what, ms: ms() }, 'driver call done');
      return result;
    } catch (thrown) {
      const error = errorOf(thrown, ctx, deadline, what, deadlines[verb]);
      log.warn({ ...what, ms: ms(), error }, 'driver call failed');
      throw error;
    }
  }

  const guarded: Driver<never, unknown> = {
    name: driver.name,
    capabilities: () => driver.capabilities(),
    observe: (id, ctx) => timed('observe', id, ctx, c => driver.observe(id, c)),
    ensure: (id, spec, ctx) => locks.run(id, () => timed('ensure', id, ctx, c => driver.ensure(id, spec, c))),
    remove: (id, ctx) => locks.run(id, () => timed('remove', id, ctx, c => driver.remove(id, c))),
    list: ctx => timed('list', undefined, ctx, c => driver.list(c)),
  };
  return { ...driver, ...guarded };
}

// --- internal ------------------------------------------------------------------------------------

function errorOf(
  thrown: unknown,
  ctx: Ctx,
  deadline: AbortSignal,
  what: { readonly driver: string; readonly verb: string; readonly id?: string },
  deadlineMs: number,
): unknown {
  if (thrown instanceof OffshootError) return toOffshootError(thrown);
  if (ctx.signal.aborted) return ctx.signal.reason; // the caller's own, and no failure
  if (!deadline.aborted) return toOffshootError(thrown);
  const name = [what.driver, what.verb, what.id].filter(part => part !== undefined).join(' ');
  return new OffshootError(
    'api/timeout',
    {
      after: `${deadlineMs / 1000} s`,
      what: name,
      hint: 'the machine may be overloaded; see "offshoot doctor"',
    },
    { cause: thrown },
  );
}
