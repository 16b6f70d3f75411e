/** What every workload driver must do, whatever it runs workloads on. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Ctx, WorkloadDriver, WorkloadSpec } from '../../src/drivers/contract.ts';
import { silentLog } from '../../src/lib/log.ts';
import { until } from '../../src/lib/wait.ts';
import { said } from '../support/said.ts';

export type WorkloadFixture = AsyncDisposable & {
  readonly driver: WorkloadDriver;
  /** A workload that prints `word` when it starts, and then answers any request on containerPort 3000. */
  spec(word: string): WorkloadSpec;
  /** Whether something answers there. */
  answers(address: { readonly host: string; readonly port: number }): Promise<boolean>;
};

export function workloadDriverConformance(name: string, open: () => Promise<WorkloadFixture>): void {
  describe(`workload driver ${name}`, () => {
    const ctx = (): Ctx => ({ signal: AbortSignal.timeout(170_000), log: silentLog });
    const untilReady = (driver: WorkloadDriver, id: string) =>
      until(async () => ((await driver.observe(id, ctx()))?.ready ? true : undefined), {
        what: `${id} is ready`,
        deadlineMs: 170_000,
      });

    it('sees nothing of a workload that never was, and removes it without complaint', async () => {
      await using f = await open();
      assert.equal(await f.driver.observe('nobody', ctx()), undefined);
      await f.driver.remove('nobody', ctx());
      assert.deepEqual(await f.driver.list(ctx()), []);
      assert.deepEqual(await said(f.driver, 'nobody', 5), []);
    });

    it('brings a workload up, and lists, shows and tells it', async () => {
      await using f = await open();
      const told: string[] = [];
      const stopTelling = f.driver.onChange(id => told.push(id));
      await f.driver.ensure('one', f.spec('hello'), ctx());
      assert.deepEqual(await f.driver.list(ctx()), ['one']);
      await untilReady(f.driver, 'one');
      // What it says may take another way than its answers.
      const seen = await until(
        async () => {
          const found = await f.driver.observe('one', ctx());
          return found?.log.includes('hello') ? found : undefined;
        },
        { what: 'its first word is seen', deadlineMs: 170_000 },
      );
      assert.equal(seen.owner, 'baseline');
      assert.equal(seen.reason, 'Running');
      assert.equal(seen.ports[3000]?.length, 1);
      assert.ok(await f.answers(seen.ports[3000]![0]!));
      assert.ok((await said(f.driver, 'one', 50)).includes('hello'));
      assert.deepEqual(await said(f.driver, 'one', 0), []);
      assert.ok(told.includes('one'));
      const before = told.length;
      stopTelling();
      await f.driver.remove('one', ctx());
      assert.equal(told.length, before);
    });

    it('leaves a workload alone when asked for the same again', async () => {
      await using f = await open();
      await f.driver.ensure('same', f.spec('once'), ctx());
      await untilReady(f.driver, 'same');
      const before = await f.driver.observe('same', ctx());
      const after = await f.driver.ensure('same', f.spec('once'), ctx());
      assert.deepEqual({ ...after, log: [] }, { ...before, log: [] });
    });

    it('replaces a workload when asked for another', async () => {
      await using f = await open();
      const first = await f.driver.ensure('changing', f.spec('first'), ctx());
      await untilReady(f.driver, 'changing');
      const second = await f.driver.ensure('changing', f.spec('second'), ctx());
      assert.notEqual(second.specHash, first.specHash);
      await until(
        async () => {
          const seen = await f.driver.observe('changing', ctx());
          return seen?.ready && seen.log.includes('second') ? true : undefined;
        },
        { what: 'the second is ready', deadlineMs: 170_000 },
      );
    });

    it('removes a workload completely, and twice does no harm', async () => {
      await using f = await open();
      await f.driver.ensure('short', f.spec('bye'), ctx());
      await untilReady(f.driver, 'short');
      const [address] = (await f.driver.observe('short', ctx()))!.ports[3000]!;
      await f.driver.remove('short', ctx());
      assert.equal(await f.answers(address!), false);
      assert.equal(await f.driver.observe('short', ctx()), undefined);
      assert.deepEqual(await f.driver.list(ctx()), []);
      await f.driver.remove('short', ctx());
    });

    it('removes a workload that is just being started', async () => {
      await using f = await open();
      await f.driver.ensure('hasty', f.spec('never'), ctx());
      await f.driver.remove('hasty', ctx());
      assert.equal(await f.driver.observe('hasty', ctx()), undefined);
      assert.deepEqual(await f.driver.list(ctx()), []);
    });
  });
}
