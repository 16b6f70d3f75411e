/** What containers say, on real processes: all of it, of the life before, and as it comes. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { silentLog } from '../../../src/lib/log.ts';
import { said } from '../../support/said.ts';
import { ask, ctx, portOf, specOf, testRuntime, untilReady, untilSeen } from '../../support/workload.ts';

describe('logs', { concurrency: true }, () => {
  it('are followed over restarts and pods that come later, until the signal', async () => {
    await using r = await testRuntime();
    await r.driver.ensure('web', specOf(), ctx());
    const port = portOf(await untilReady(r.driver, 'web'));
    await ask(port, '/print?text=before');
    await untilSeen(r.driver, 'web', 'it is said', seen => seen.log.includes('before'));

    const over = new AbortController();
    const signal = AbortSignal.any([over.signal, AbortSignal.timeout(60_000)]);
    const lines = r.driver.logs('web', { lines: 1, follow: true }, { signal, log: silentLog });
    const next = lines[Symbol.asyncIterator]();
    const until = async (text: string): Promise<string> => {
      for (;;) {
        const { value, done } = await next.next();
        assert.ok(!done, `the end came before "${text}"`);
        if (value.text === text) return `${value.pod} ${value.container}`;
      }
    };
    assert.match(await until('before'), /-0 main$/);
    await ask(port, '/print?text=after');
    assert.match(await until('after'), /-0 main$/);

    const more = specOf();
    await r.driver.ensure(
      'web',
      { ...more, workload: { ...more.workload, spec: { ...more.workload.spec, replicas: 2 } } },
      ctx(),
    );
    const { ports } = await untilSeen(r.driver, 'web', 'two pods', seen => seen.ports[3000]?.length === 2);
    const second = ports[3000]!.find(address => address.port !== port)!;
    await ask(second.port, '/print?text=second');
    assert.match(await until('second'), /-1 main$/);
    over.abort();
    assert.equal((await next.next()).done, true);
  });

  it('are those of the life before, or of one container, when that is asked for', async () => {
    await using r = await testRuntime();
    await r.driver.ensure('web', specOf(), ctx());
    const port = portOf(await untilReady(r.driver, 'web'));
    assert.deepEqual(await said(r.driver, 'web', 9, { previous: true }), []);
    await ask(port, '/print?text=first');
    await ask(port, '/exit?code=3').catch(() => {}); // nobody answers that
    const again = await untilSeen(
      r.driver,
      'web',
      'it runs again',
      seen => seen.ready && seen.restarts === 1,
    );
    await ask(portOf(again), '/print?text=second');
    await untilSeen(r.driver, 'web', 'it is said', seen => seen.log.includes('second'));
    const before = await said(r.driver, 'web', 50, { previous: true });
    assert.deepEqual([before.includes('first'), before.includes('second')], [true, false]);
    const whole = await said(r.driver, 'web', 50, { container: 'main' });
    assert.deepEqual([whole.includes('first'), whole.includes('second')], [true, true]);
    assert.deepEqual(await said(r.driver, 'web', 50, { container: 'other' }), []);
  });
});
