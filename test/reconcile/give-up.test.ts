import assert from 'node:assert/strict';
import { silentLog } from '../../src/lib/log.ts';
import { until } from '../../src/lib/wait.ts';
import { giverUp } from '../../src/reconcile/give-up.ts';
import { createBranch } from '../../src/rules/branches.ts';
import { trashBranch } from '../../src/rules/trash.ts';
import { defaultProject } from '../support/documents.ts';
import { it, testStore } from '../support/stores.ts';

it('gives up what has been in the trash longest, one at a time', async () => {
  const store = testStore();
  await using cleanup = new AsyncDisposableStack();
  cleanup.defer(() => store.close());
  await defaultProject(store);
  const ids: string[] = [];
  for (const [name, minute] of [
    ['second', 2],
    ['first', 1],
  ] as const) {
    const branch = await createBranch(store, { project: 'default', name, parent: 'main' });
    ids.unshift(branch.name);
    await trashBranch(store, branch, 86_400_000, new Date(2030, 0, 1, 0, minute));
  }
  const gone = () => ids.filter(id => store.get('branch', id)?.deletedAt !== undefined);
  const short = giverUp(store, silentLog, undefined, 20);
  short();
  short();
  await until(() => (gone().length > 0 ? true : undefined), { what: 'the first goes', deadlineMs: 60_000 });
  short();
  assert.deepEqual(gone(), ids.slice(0, 1), 'its room shows first');
  await until(
    () => {
      short();
      return gone().length === 2 ? true : undefined;
    },
    { what: 'the second goes', deadlineMs: 60_000 },
  );
  short(); // nothing is left to give
  // It is told after it is done.
  const told = await until(
    async () => {
      const events = await store.events({ kind: 'branch', limit: 100 });
      const given = events.filter(e => e.reason === 'GivenUp').map(e => e.message);
      return given.length >= 2 ? given : undefined;
    },
    { what: 'both are told', deadlineMs: 60_000 },
  );
  assert.deepEqual(
    told,
    ['first', 'second'].map(name => `branch ${name} was removed from the trash, because its space is needed`),
  );
});
