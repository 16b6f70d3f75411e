/** What `npm test` looks for after the tests. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { traces } from '../../scripts/leftovers.ts';
import { groupsMissing, testProcesses } from '../support/processes.ts';
import { tempDir } from '../support/temp.ts';

test('sees labelled processes, control groups and temporary folders while they are there', async t => {
  if (process.platform !== 'linux') return t.skip('only Linux shows the environment of processes');
  const instance = `test-${crypto.randomUUID()}`;
  const mine = async (path: string) =>
    (await traces())
      .filter(trace => trace.instance === instance || trace.text.endsWith(path))
      .map(trace => trace.text);

  const dir = await tempDir();
  const child = spawn('sleep', ['60'], { env: { PATH: process.env.PATH, OFFSHOOT_INSTANCE: instance } });
  try {
    await once(child, 'spawn');
    assert.deepEqual(await mine(dir.path), [
      `process ${child.pid} of instance ${instance}: sleep 60`,
      `temporary folder ${dir.path}`,
    ]);
  } finally {
    child.kill('SIGKILL');
    await once(child, 'close');
    await dir[Symbol.asyncDispose]();
  }
  assert.deepEqual(await mine(dir.path), []);

  await using home = await tempDir();
  const processes = await testProcesses(home.path);
  const groups = async () =>
    (await traces()).filter(
      ({ text }) => text.startsWith('control group') && text.includes(home.path.slice(5)),
    );
  try {
    const sleep = {
      argv: ['/bin/sleep', '60'],
      env: {},
      cwd: '/',
      stdout: 'ignore',
      stderr: 'ignore',
    } as const;
    await processes.start('a', sleep);
    if (groupsMissing(processes) === undefined) assert.equal((await groups()).length, 1);
  } finally {
    await processes.close();
  }
  assert.deepEqual(await groups(), []);
});
