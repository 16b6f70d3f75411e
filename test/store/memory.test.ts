import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { OffshootError } from '../../src/model/errors.ts';
import type { Batch } from '../../src/store/journal.ts';
import { memoryStore } from '../../src/store/memory.ts';
import { storeConformance } from '../conformance/store.ts';

storeConformance('memory', async options => memoryStore(options));

const project = { spec: { database: 'app', role: 'app' }, status: null, secret: null };
const ready = { state: 'ready', reason: 'R', message: 'm', conditions: [], observedGeneration: 1 } as const;

/** A store whose journal tells what it was given, and can be told to fail. */
function journalledStore() {
  const batches: Batch[] = [];
  const trouble: { error?: Error } = {};
  const journal = {
    async write(batch: Batch) {
      await new Promise(setImmediate);
      if (trouble.error !== undefined) throw trouble.error;
      batches.push(batch);
    },
    close: async () => {},
  };
  return { store: memoryStore({ journal }), batches, trouble };
}

describe('a journal', () => {
  it('gets what is asked for at once in one batch, and nothing is read before it is kept', async () => {
    const { store, batches } = journalledStore();
    const names = Array.from({ length: 20 }, (_, i) => `p${i}`);
    const creating = names.map(name => store.create('project', name, project));
    assert.deepEqual(store.list('project'), []);
    await Promise.all(creating);
    assert.equal(store.list('project').length, 20);
    assert.deepEqual(
      batches.map(b => [b.entries.length, b.version, b.durable]),
      [[20, 20, true]],
    );
  });

  it('is told what must survive a power cut: all but statuses and events', async () => {
    const { store, batches } = journalledStore();
    const spec = { project: 'p', name: 'main' };
    await store.create('branch', 'b', { spec, status: null, secret: { password: 'a' } });
    await store.modify('branch', 'b', () => ({ status: ready }));
    await store.record({ kind: 'branch', name: 'b', severity: 'info', reason: 'R', message: '' });
    await store.modify('branch', 'b', () => ({ secret: { password: 'b' } }));
    await store.modify('branch', 'b', () => ({ deleted: true }));
    await store.remove('branch', 'b');
    assert.deepEqual(
      batches.map(b => b.durable),
      [true, false, false, true, true, true],
    );
  });

  for (const code of ['store/no-space', 'store/write-failed'] as const) {
    it(`that fails with ${code} leaves everything as it was; later writes may succeed`, async () => {
      const { store, trouble } = journalledStore();
      await store.create('project', 'old', project);
      const heard: string[] = [];
      store.onChange(c => heard.push(c.name));
      trouble.error = new OffshootError(code, { file: 'state.db', why: 'the disk is broken' });
      const ends = await Promise.allSettled([
        store.create('project', 'new', project),
        store.modify('project', 'old', () => ({ deleted: true })),
        store.record({ kind: 'project', name: 'old', severity: 'info', reason: 'R', message: '' }),
        store.remove('project', 'old'),
      ]);
      assert.deepEqual(
        ends.map(end => end.status === 'rejected' && end.reason.code),
        [code, code, code, code],
      );
      assert.deepEqual([store.version(), heard, store.since(1)], [1, [], []]);
      assert.equal(store.get('project', 'old')?.deletedAt, undefined);
      delete trouble.error;
      assert.equal((await store.create('project', 'new', project)).version, 2);
      assert.deepEqual(heard, ['new']);
    });
  }
});
