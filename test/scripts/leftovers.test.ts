/** What `npm test` looks for after the tests. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { traces } from '../../scripts/leftovers.ts';
import { tempDir } from '../support/temp.ts';

test('sees labelled processes and temporary folders while they are there', async t => {
  if (process.platform !== 'linux') return t.skip('only Linux shows the environment of processes');
  const instance = `test-${crypto.randomUUID()}`;
  const mine = (path: string) =>
    traces()
      .filter(trace => trace.instance === instance || trace.text.endsWith(path))
      .map(trace => trace.text);

  const dir = await tempDir();
  const child = spawn('sleep', ['60'], { env: { PATH: process.env.PATH, OFFSHOOT_INSTANCE: instance } });
  try {
    await once(child, 'spawn');
    assert.deepEqual(mine(dir.path), [
      `process ${child.pid} of instance ${instance}: sleep 60`,
      `temporary folder ${dir.path}`,
    ]);
  } finally {
    child.kill('SIGKILL');
    await once(child, 'close');
    await dir[Symbol.asyncDispose]();
  }
  assert.deepEqual(mine(dir.path), []);
});
