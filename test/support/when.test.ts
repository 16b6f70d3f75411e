import assert from 'node:assert/strict';
import { it } from 'node:test';
import type { Stored } from '../../src/store/contract.ts';
import { memoryStore } from '../../src/store/memory.ts';
import { whenObject } from './when.ts';

const fields = { spec: { database: 'app', role: 'a' }, status: null, secret: null };
const roleB = (p: Stored<'project'> | undefined) => (p?.spec.role === 'b' ? p.version : undefined);

async function testStore() {
  const store = memoryStore();
  const abort = new AbortController();
  return { store, abort, [Symbol.asyncDispose]: () => store.close() };
}

it('answers at once when the object is so already', async () => {
  await using t = await testStore();
  await t.store.create('project', 'p', { ...fields, spec: { database: 'app', role: 'b' } });
  assert.equal(await whenObject(t.store, 'project', 'p', roleB, t.abort.signal), 1);
});

it('answers after the change that makes it so, and sees objects come and go', async () => {
  await using t = await testStore();
  const seen: (string | undefined)[] = [];
  const waiting = whenObject(
    t.store,
    'project',
    'p',
    p => {
      seen.push(p?.spec.role);
      return roleB(p);
    },
    t.abort.signal,
  );
  await t.store.create('project', 'other', fields);
  await t.store.record({ kind: 'project', name: 'p', severity: 'info', reason: 'R', message: '' });
  await t.store.create('project', 'p', fields);
  await t.store.remove('project', 'p');
  await t.store.create('project', 'p', { ...fields, spec: { database: 'app', role: 'b' } });
  await t.store.modify('project', 'p', () => ({ spec: { database: 'app', role: 'c' } }));
  assert.equal(await waiting, 5);
  assert.deepEqual(seen, [undefined, 'a', undefined, 'b']);
});

it('throws what the probe throws, at once or later', async () => {
  await using t = await testStore();
  const no = new Error('no');
  const refuse = (p: Stored<'project'> | undefined) => {
    if (p === undefined) return undefined;
    throw no;
  };
  const waiting = whenObject(t.store, 'project', 'p', refuse, t.abort.signal);
  await t.store.create('project', 'p', fields);
  await assert.rejects(waiting, error => error === no);
  await assert.rejects(whenObject(t.store, 'project', 'p', refuse, t.abort.signal), error => error === no);
});

it('ends with the reason of the signal, also when that has aborted before', async () => {
  await using t = await testStore();
  const stop = new Error('stop');
  const waiting = whenObject(t.store, 'project', 'p', roleB, t.abort.signal);
  t.abort.abort(stop);
  await assert.rejects(waiting, error => error === stop);
  await assert.rejects(
    whenObject(t.store, 'project', 'p', () => true, t.abort.signal),
    error => error === stop,
  );
});
