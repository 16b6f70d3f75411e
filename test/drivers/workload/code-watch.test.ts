import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { it } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { openCodeWatch } from '../../../src/drivers/workload/code-watch.ts';
import { until } from '../../../src/lib/wait.ts';
import { tempDir } from '../../support/temp.ts';

it('lets a program wait that writes what is watched, and says so until that ends; nobody waits who saves often', async t => {
  await using dir = await tempDir();
  const plan = { folder: dir.path, steps: [], watch: ['**'] };
  let starts = 0;
  const watch = openCodeWatch({ changed: () => starts++, troubled() {} });
  t.after(() => watch.close());
  watch.follow('web', [plan]);
  const told = (times: number, what: string) =>
    until(() => starts === times || undefined, { what, deadlineMs: 60_000, intervalMs: 1 });
  await told(1, 'it is watched'); // what was changed before that
  const edit = (name: string) => writeFileSync(join(dir.path, name), String(starts));

  for (let i = 0; i < 15; i++) {
    edit(`file-${i % 5}.ts`);
    await told(i + 2, `edit ${i} is told`);
  }
  assert.equal(watch.trouble(plan), undefined);
  for (let i = 0; i < 12; i++) {
    edit('app.log');
    await told(i + 17, `line ${i} is told`);
  }
  t.mock.timers.enable({ apis: ['setTimeout'] });
  edit('app.log');
  while (watch.trouble(plan) === undefined) {
    await turn();
    t.mock.timers.tick(1);
  }
  assert.equal(
    watch.trouble(plan),
    '"app.log" changes all the time, so starts wait for 1 s: if the program itself writes it, leave it out by watch: ["**", "!app.log"]',
  );
  assert.equal(starts, 28);
  t.mock.timers.tick(1_000);
  assert.equal(starts, 29);
  t.mock.timers.tick(60_000);
  assert.equal(watch.trouble(plan), undefined);
});
