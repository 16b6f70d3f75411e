import assert from 'node:assert/strict';
import { it } from 'node:test';
import { measureLoopDelay } from '../../src/lib/loop-delay.ts';
import { until } from '../../src/lib/wait.ts';

const ticks = (meter: ReturnType<typeof measureLoopDelay>, count: number) =>
  until(() => (meter.read().count >= count ? true : undefined), {
    what: `${count} ticks`,
    deadlineMs: 60_000,
  });

it('shows what blocked the loop, until it is told to forget it', async () => {
  const meter = measureLoopDelay();
  assert.deepEqual(meter.read(), { p50: 0, p99: 0, max: 0, count: 0 });
  await ticks(meter, 2);
  const end = performance.now() + 300;
  while (performance.now() < end);
  await ticks(meter, 4);
  const { p50, max } = meter.read();
  assert.ok(max >= 290, `${max} ms at most`);
  assert.ok(p50 < max, `${p50} ms in the middle`);
  meter.reset();
  assert.equal(meter.read().count, 0);
  // A busy machine may keep it from its processor for as long once more, but not each time.
  const forgotten = async () => {
    meter.reset();
    await ticks(meter, 2);
    return meter.read().max < max || undefined;
  };
  await until(forgotten, { what: 'it has forgotten', deadlineMs: 60_000 });
  meter.close();
});
