/** `kill -9` of the daemon at any moment, then `up`: what was there answers, what was begun is finished. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { until } from '../../src/lib/wait.ts';
import type { SandboxView } from '../../src/model/view.ts';
import { addUser, deployBaseline, sandboxDocument, users } from '../support/baseline.ts';
import { testDaemon } from '../support/daemon.ts';

test('kill -9 of the daemon', async t => {
  await using daemon = await testDaemon();
  const { cli } = daemon;
  const { key, url: baseline } = await deployBaseline(cli);
  const auth = { 'signadot-api-key': key };
  const get = async () =>
    JSON.parse((await cli(['sandbox', 'get', 'xata-test', '-o', 'json'])).stdout) as SandboxView;
  const up = async () => {
    const result = await cli(['up', '--detach']);
    assert.equal(result.code, 0, result.stderr);
  };
  const untilReady = () =>
    until(async () => ((await get()).status.ready ? true : undefined), {
      what: 'the sandbox is ready',
      deadlineMs: 60_000,
      intervalMs: 50,
    });
  const branches = async () =>
    (JSON.parse((await cli(['branch', 'list', '-o', 'json'])).stdout) as { name: string }[]).map(b => b.name);

  await t.test('a sandbox that was ready still answers, in the same processes', async () => {
    const applied = await cli(['sandbox', 'apply', '-f', '-'], { input: sandboxDocument('xata-test') });
    assert.equal(applied.code, 0, applied.stderr);
    await addUser((await get()).endpoints[0]!.url, 'Before', auth);
    const before = await daemon.labelled('');
    await daemon.kill9();
    assert.deepEqual(await daemon.labelled(''), before, 'all processes outlive the daemon');
    await up();
    await untilReady();
    assert.deepEqual(await daemon.labelled(''), before, 'none was started again');
    assert.equal((await users((await get()).endpoints[0]!.url, auth)).at(-1), 'Before');
    assert.equal((await users(baseline)).length, 5);
  });

  await t.test('a delete that was begun is finished', async () => {
    const deleted = await cli(['sandbox', 'delete', 'xata-test', '--no-wait']);
    assert.equal(deleted.code, 0, deleted.stderr);
    await daemon.kill9();
    await up();
    const gone = await cli(['sandbox', 'delete', 'xata-test', '--if-exists']);
    assert.equal(gone.code, 0, gone.stderr);
    assert.deepEqual(await branches(), ['main']);
  });

  // Delays fall into different steps from run to run; what must hold is the same for each of them.
  for (const delayMs of [0, 20, 45, 70, 100, 150, 250]) {
    await t.test(`a create that was begun ${delayMs} ms before is finished, and its delete too`, async () => {
      const applied = await cli(['sandbox', 'apply', '-f', '-', '--no-wait'], {
        input: sandboxDocument('xata-test'),
      });
      assert.equal(applied.code, 0, applied.stderr);
      await new Promise(resolve => setTimeout(resolve, delayMs));
      await daemon.kill9();
      await up();
      await untilReady();
      assert.equal((await users((await get()).endpoints[0]!.url, auth)).length, 5);
      assert.deepEqual(await branches(), ['main', 'sb-xata-test']);
      const gone = await cli(['sandbox', 'delete', 'xata-test']);
      assert.equal(gone.code, 0, gone.stderr);
      assert.deepEqual(await branches(), ['main']);
      assert.deepEqual(await daemon.labelled('sb-xata-test'), []);
    });
  }

  await t.test('down after kill -9 stops what was left running', async () => {
    await daemon.kill9();
    assert.notDeepEqual(await daemon.labelled(''), []);
    const down = await cli(['down']);
    assert.equal(down.code, 0, down.stderr);
    assert.deepEqual(await daemon.labelled(''), []);
    assert.deepEqual(daemon.mounts(), []);
  });
});
