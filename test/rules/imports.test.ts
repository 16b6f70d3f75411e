import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createProject } from '../../src/rules/branches.ts';
import { cancelImport, importInto, newImport, optionsBefore } from '../../src/rules/imports.ts';
import { memoryStore } from '../../src/store/memory.ts';

const source = { host: 'h', port: 1, user: 'u', database: 'd', sslmode: 'disable' } as const;

test('one import into a project at a time, and the newest counts', async () => {
  const store = memoryStore();
  const first = newImport(undefined, source, { exclude: ['a'] });
  await createProject(store, 'p', { database: 'app', role: 'app', import: first }, { sealed: ['x'] });
  const next = newImport(first, source, optionsBefore(first));
  assert.equal(next.count, 2);
  assert.deepEqual(next.exclude, ['a']);
  await assert.rejects(importInto(store, 'p', next, {}), { code: 'import/runs' });
  const [main] = store.list('branch');
  const seen = { state: 'ready', reason: '', message: '', conditions: [], observedGeneration: 1 } as const;
  await store.modify('branch', main!.name, () => ({
    status: { ...seen, import: { count: 1, state: 'done' } },
  }));
  await assert.rejects(cancelImport(store, 'p'), { code: 'import/none-runs' });
  await importInto(store, 'p', next, { sealed: ['y'], maskSecret: ['m'] });
  assert.equal(store.get('project', 'p')?.spec.import?.count, 2);
  assert.deepEqual(store.get('project', 'p')?.secret, { sealed: ['y'], maskSecret: ['m'] });
  assert.deepEqual(optionsBefore(next), { exclude: ['a'] });
  assert.equal((await cancelImport(store, 'p')).spec.import?.cancelled, true);
  assert.equal(newImport(store.get('project', 'p')?.spec.import, source, {}).cancelled, undefined);
});
