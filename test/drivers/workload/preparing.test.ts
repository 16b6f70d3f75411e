import assert from 'node:assert/strict';
import { existsSync, statSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { it } from 'node:test';
import type { CodePlan } from '../../../src/drivers/workload/code.ts';
import type { House } from '../../../src/drivers/workload/house.ts';
import { openPreparing } from '../../../src/drivers/workload/preparing.ts';
import { logRotation } from '../../../src/lib/log-rotation.ts';
import { until } from '../../../src/lib/wait.ts';
import { testProcesses } from '../../support/processes.ts';
import { tempDir } from '../../support/temp.ts';

it('a step whose turn comes when nobody waits for it any more is not done', async () => {
  await using stack = new AsyncDisposableStack();
  const [home, folder] = [stack.use(await tempDir()), stack.use(await tempDir())];
  const processes = await testProcesses(home.path);
  stack.defer(() => processes.close());
  const rotation = logRotation(2 ** 20, assert.ifError);
  stack.defer(() => rotation.stop());
  const house = {
    ...{ instance: home.path, processes, rotation },
    ...{ baseEnv: { PATH: process.env.PATH ?? '' }, nodePath: process.execPath },
  };
  // Of all of a house only this.
  const preparing = await openPreparing(home.path, processes, rotation, () => house as unknown as House);
  stack.defer(() => preparing.close());
  const plan = (script: string): CodePlan => ({
    folder: folder.path,
    steps: [{ name: 'setup', command: ['sh', '-c', script] }],
  });
  const prepare = (script: string, signal: AbortSignal) =>
    preparing.prepare(plan(script), Date.now(), () => {}, signal);
  const isThere = (name: string) => existsSync(join(folder.path, name));

  const first = new AbortController();
  const second = new AbortController();
  const running = assert.rejects(prepare('touch first; sleep 600', first.signal));
  await until(() => isThere('first') || undefined, { what: 'the first runs', deadlineMs: 60_000 });
  const waiting = assert.rejects(prepare('touch second; sleep 600', second.signal));
  second.abort();
  first.abort();
  await Promise.all([running, waiting]);
  await prepare('touch third', AbortSignal.timeout(60_000));
  assert.deepEqual([isThere('second'), isThere('third')], [false, true]);

  // What it has said counts among all logs, also when it has long ended.
  const talks = 'head -c 900000 /dev/zero';
  await prepare(talks, AbortSignal.timeout(60_000));
  const [{ file } = { file: '' }] = preparing.logs(plan(talks));
  assert.equal(statSync(file).size, 900_000);
  const other = join(home.path, 'other.log');
  await writeFile(other, 'x'.repeat(400_000));
  rotation.add(other, 2 ** 20);
  await until(() => (statSync(file).size === 0 ? true : undefined), {
    ...{ what: 'the largest is emptied', deadlineMs: 60_000 },
  });
  assert.equal(statSync(other).size, 400_000);
});
