import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createProject } from '../../src/rules/branches.ts';
import { cancelImport, importInto, newImport, optionsAfter } from '../../src/rules/imports.ts';
import { memoryStore } from '../../src/store/memory.ts';

const source = { host: 'h', port: 1, user: 'u', database: 'd', sslmode: 'disable' } as const;

test('one import into a project at a time, and the newest counts', async () => {
  const store = memoryStore();
  const first = newImport(undefined, source, { exclude: ['a'] });
  await createProject(store, 'p', { database: 'app', role: 'app', import: first }, { sealed: ['x'] });
  const next = newImport(first, source, optionsAfter(first, undefined));
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
  assert.equal((await cancelImport(store, 'p')).spec.import?.cancelled, true);
  assert.equal(newImport(store.get('project', 'p')?.spec.import, source, {}).cancelled, undefined);
});

test('a mask stays through refreshes, whatever else they are given, until somebody says otherwise', () => {
  const mask = { tables: { users: { email: 'email' } } } as const;
  const before = newImport(undefined, source, { exclude: ['a'], mask });
  assert.deepEqual(optionsAfter(before, undefined), { exclude: ['a'], mask });
  assert.deepEqual(optionsAfter(before, { jobs: 2 }), { jobs: 2, mask });
  const other = { tables: { users: { email: 'hash' } } };
  assert.deepEqual(optionsAfter(before, { mask: other }), { exclude: ['a'], mask: other });
  assert.deepEqual(optionsAfter(before, { mask: other, jobs: 2 }), { jobs: 2, mask: other });
  assert.deepEqual(optionsAfter(before, { mask: false }), { exclude: ['a'] });
  assert.deepEqual(optionsAfter(before, { mask: false, jobs: 2 }), { jobs: 2 });
  assert.deepEqual(optionsAfter(undefined, { mask: other }), { mask: other });
  const much = newImport(undefined, source, { schemaOnly: true, jobs: 3, verify: true, mask });
  assert.deepEqual(optionsAfter(much, undefined, true), { schemaOnly: true, mask }, 'a dump comes');
  assert.throws(() => optionsAfter(before, { mask: { tables: { users: 'email' } } }), {
    code: 'mask/bad-rules',
  });
});
