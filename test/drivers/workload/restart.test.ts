/** Crashes, pauses, and what a process leaves behind. These tests wait, so they run side by side. */
import assert from 'node:assert/strict';
import { rm, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import type { WorkloadSeen } from '../../../src/drivers/contract.ts';
import { restartPause } from '../../../src/drivers/workload/container.ts';
import { until } from '../../../src/lib/wait.ts';
import { said } from '../../support/said.ts';
import { tempDir } from '../../support/temp.ts';
import {
  ask,
  ctx,
  openTestRuntime,
  portOf,
  shell,
  specOf,
  testRuntime,
  untilReady,
  untilSeen,
} from '../../support/workload.ts';

it('doubles the pause up to 30 s, and begins again after a good minute', () => {
  const pauses = [restartPause(undefined, 0)];
  while (pauses.length < 8) pauses.push(restartPause(pauses.at(-1), 59_999));
  assert.deepEqual(pauses, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
  assert.equal(restartPause(30_000, 60_000), 500);
});

describe('restart', { concurrency: true }, () => {
  it('takes another port when its own was taken while it was down', async () => {
    await using r = await testRuntime();
    await r.driver.ensure('web', specOf(), ctx());
    const before = portOf(await untilReady(r.driver, 'web'));
    const squatter = createServer();
    await ask(before, '/exit?code=1');
    await until(
      () =>
        new Promise<true | undefined>(resolve => {
          squatter.once('error', () => resolve(undefined));
          squatter.listen(before, '127.0.0.1', () => resolve(true));
        }),
      { what: 'the port is ours', deadlineMs: 60_000 },
    );
    try {
      // A process that ends has no port any more a moment before it is seen to have ended.
      const isAgain = (seen: WorkloadSeen) => seen.ready && seen.restarts === 1;
      const after = portOf(await untilSeen(r.driver, 'web', 'it runs again', isAgain));
      assert.notEqual(after, before);
      assert.equal((await ask<Record<string, string>>(after, '/env')).PORT, String(after));
    } finally {
      await new Promise(resolve => squatter.close(resolve));
    }
  });

  it('kills a process that ignores being asked to end', async () => {
    await using r = await testRuntime();
    await r.driver.ensure(
      'deaf',
      specOf(shell('trap "" TERM; echo deaf; while :; do sleep 600; done')),
      ctx(),
    );
    await untilSeen(r.driver, 'deaf', 'it is deaf', seen => seen.log.includes('deaf'));
    await r.driver.remove('deaf', ctx());
    assert.equal(await r.driver.observe('deaf', ctx()), undefined);
  });

  it('cuts a log that grows too long, keeps the part before, and shows lines of both', async () => {
    await using r = await testRuntime();
    await r.driver.ensure('web', specOf(), ctx());
    const port = portOf(await untilReady(r.driver, 'web'));
    await ask(port, `/print?text=x&times=${5 * 1024 * 1024}`);
    const sizeOf = (file: string) =>
      stat(join(r.home, 'workloads', 'web', file)).then(
        s => s.size,
        () => 0,
      );
    await until(
      async () =>
        ((await sizeOf('main.0.log.1')) === 5 * 1024 * 1024 && (await sizeOf('main.0.log')) === 0) ||
        undefined,
      { what: 'the log is cut', deadlineMs: 60_000 },
    );
    await ask(port, '/print?text=after');
    await untilSeen(r.driver, 'web', 'the new line is there', seen => seen.log.at(-1) === 'after');
    const lines = await said(r.driver, 'web', 3);
    assert.deepEqual(
      lines.map(line => line.slice(0, 9)),
      ['xxxxxxxxx', 'after'],
    );
  });
});

it('counts logs of pods that have ended among all, which have a limit together', async () => {
  await using home = await tempDir();
  const logs = ['one', 'two'].map(name => join(home.path, 'workloads', name, 'main.0.log'));
  const sizes = async () => (await Promise.all(logs.map(log => stat(log)))).map(({ size }) => size);
  const first = await openTestRuntime(home.path);
  try {
    for (const id of ['one', 'two'])
      await first.ensure(id, specOf(shell('head -c 600000 /dev/zero; exec sleep 600')), ctx());
    const said = async () => ((await sizes().catch(() => [])).join() === '600000,600000' ? true : undefined);
    await until(said, { what: 'both have said it', deadlineMs: 60_000 });
  } finally {
    await first.close();
  }
  const second = await openTestRuntime(home.path, undefined, undefined, 2 ** 20);
  try {
    const cut = async () => ((await sizes()).includes(0) ? true : undefined);
    await until(cut, { what: 'one of them is emptied', deadlineMs: 60_000 });
    assert.equal(Math.max(...(await sizes())), 600_000);
  } finally {
    await second.close();
  }
});

describe('the pause before a restart', () => {
  it('sees a crash at once, shows its last words, and starts again on the same port', async t => {
    const endPauses = holdPauses(t, 500);
    await using r = await testRuntime();
    await r.driver.ensure('web', specOf(), ctx());
    const before = await untilReady(r.driver, 'web');
    await ask(portOf(before), '/print?text=last+words');
    await ask(portOf(before), '/exit?code=3');
    const down = await untilSeen(
      r.driver,
      'web',
      'the crash is seen',
      seen => !seen.ready && seen.restarts === 1,
    );
    assert.equal(down.reason, 'CrashLoopBackOff');
    assert.match(down.message, /^container "main" ended: exit code 3/);
    assert.equal(down.log.at(-1), 'last words');
    endPauses();
    const again = await untilReady(r.driver, 'web');
    assert.equal(portOf(again), portOf(before));
  });

  it('starts a program again that ends well', async () => {
    await using r = await testRuntime();
    await r.driver.ensure('job', specOf(shell('echo done')), ctx());
    const seen = await untilSeen(r.driver, 'job', 'it ends', s => s.restarts > 0 && s.reason === 'Completed');
    assert.match(seen.message, /exit code 0/);
    assert.deepEqual(seen.log, ['done']);
  });

  it('restarts with growing pauses, and a changed spec ends a pause', async t => {
    holdPauses(t, 1_000);
    await using r = await testRuntime();
    const waits: string[] = [];
    r.driver.onChange(async id => {
      const seen = await r.driver.observe(id, ctx());
      const [, pause] = /starts again after (\S+) s/.exec(seen?.message ?? '') ?? [];
      if (pause !== undefined && pause !== waits.at(-1)) waits.push(pause);
    });
    await r.driver.ensure('web', specOf(shell('exit 3')), ctx());
    await until(() => (waits.includes('1') ? true : undefined), {
      what: 'a second pause',
      deadlineMs: 60_000,
    });
    assert.deepEqual(waits, ['0.5', '1']);
    await r.driver.ensure('web', specOf(shell('sleep 600')), ctx());
    await untilReady(r.driver, 'web');
  });

  it('tries at once what is asked for again, and forgets what the try before has said', async t => {
    holdPauses(t, 1_000);
    await using r = await testRuntime();
    const cause = join(r.home, 'cause');
    await writeFile(cause, '');
    const program = shell(`if test -e ${cause}; then echo broken; exit 3; fi; echo mended; sleep 600`);
    const spec = { ...specOf(program), wish: '1.0' };
    await r.driver.ensure('web', spec, ctx());
    await untilSeen(r.driver, 'web', 'a long pause', s => s.message.endsWith('starts again after 1 s'));
    await rm(cause);
    const same = await r.driver.ensure('web', spec, ctx());
    assert.deepEqual([same.reason, same.log], ['CrashLoopBackOff', ['broken']]);
    const asked = await r.driver.ensure('web', { ...spec, wish: '1.1' }, ctx());
    assert.deepEqual([asked.reason, asked.restarts, asked.log], ['Starting', 0, []]);
    const seen = await untilSeen(r.driver, 'web', 'it runs', s => s.ready && s.log.length > 0);
    assert.deepEqual([seen.restarts, seen.log], [0, ['mended']]);
  });
});

/** Pauses of so many milliseconds do not end by themselves. @returns the way to end those that there are, and to hold no more */
function holdPauses(t: TestContext, ms: number): () => void {
  const { setTimeout } = globalThis;
  const held: (() => void)[] = [];
  const { mock } = t.mock.method(globalThis, 'setTimeout', ((then: () => void, after?: number) => {
    if (after === ms) held.push(then);
    return setTimeout(then, after === ms ? 3_600_000 : after);
  }) as typeof setTimeout);
  return () => {
    mock.restore();
    for (const then of held) then();
  };
}
