/** What every step driver must do, whatever runs its scripts. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { Ctx, StepDriver, StepSpec } from '../../src/drivers/contract.ts';
import { silentLog } from '../../src/lib/log.ts';
import { until } from '../../src/lib/wait.ts';

export type StepFixture = AsyncDisposable & {
  readonly steps: StepDriver;
  /** What `echo` says. */
  readonly said?: readonly string[];
  /** Its output `value` is what its input `word` is; it says `copied`, unless its driver only plays. */
  echo(word: string): StepSpec;
  /** It declares the output `value` and ends well without it. */
  silent(): StepSpec;
  failing(): StepSpec;
  /** It runs until it is ended; run under `id`. */
  endless(id: string): StepSpec;
};

export function stepDriverConformance(name: string, open: () => Promise<StepFixture>): void {
  describe(`step driver ${name}`, () => {
    let f: StepFixture;
    before(async () => {
      f = await open();
    });
    after(() => f?.[Symbol.asyncDispose]());

    const ctx = (signal = AbortSignal.timeout(120_000)): Ctx => ({ signal, log: silentLog });
    const run = (id: string, spec: StepSpec, context = ctx()) => f.steps.run(id, spec, context);
    const listed = (id: string) => f.steps.list(ctx()).then(ids => ids.includes(id));
    const untilListed = (id: string) =>
      until(async () => ((await listed(id)) ? true : undefined), { what: `${id} runs`, deadlineMs: 60_000 });

    it('knows nothing of a step that never was, and removes it without complaint', async () => {
      await f.steps.remove('sb.db.create.none', ctx());
      assert.deepEqual(await f.steps.list(ctx()), []);
    });

    it('runs a step to its end, takes its outputs and forgets it; again if asked again', async () => {
      for (const word of ['one', 'two'])
        assert.deepEqual(await run('sb.db.create.make', f.echo(word)), {
          ...{ outputs: { value: word } },
          ...(f.said && { said: f.said }),
        });
      assert.deepEqual(await f.steps.list(ctx()), []);
    });

    it('says why a step failed, and forgets it', async () => {
      await assert.rejects(run('sb.db.create.fail', f.failing()), {
        code: 'step/failed',
        params: { step: 'fail', how: 'exit code 1' },
      });
      await assert.rejects(run('sb.db.create.mute', f.silent()), { code: 'step/output-missing' });
      assert.deepEqual(await f.steps.list(ctx()), []);
    });

    it('runs several at once, each for itself', async () => {
      const words = ['a', 'b', 'c'];
      const done = await Promise.all(words.map(word => run(`sb.${word}.create.make`, f.echo(word))));
      assert.deepEqual(
        done.map(d => d.outputs.value),
        words,
      );
    });

    it('ends a step that is aborted, and leaves nothing of it', async () => {
      const id = 'sb.db.create.long';
      const abort = new AbortController();
      const running = run(id, f.endless(id), ctx(abort.signal));
      await untilListed(id);
      abort.abort(new Error('enough'));
      await assert.rejects(running, { code: 'step/timeout' });
      assert.equal(await listed(id), false);
    });

    it('ends a step that is removed while it runs', async () => {
      const id = 'sb.db.create.removed';
      const running = run(id, f.endless(id)).then(
        () => 'it ended well',
        (error: { code: string }) => error.code,
      );
      await untilListed(id);
      await f.steps.remove(id, ctx());
      assert.equal(await running, 'step/failed');
      assert.equal(await listed(id), false);
    });
  });
}
