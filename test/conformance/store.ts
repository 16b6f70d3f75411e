/** What every store must do, whatever it is kept in. Called by a file of its own for each. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Log } from '../../src/lib/log.ts';
import { silentLog } from '../../src/lib/log.ts';
import { newResourceRecord } from '../../src/model/resource-record.ts';
import type { Change, Changes, Store } from '../../src/store/contract.ts';
import { deployment, fork, service, testClock } from '../support/documents.ts';

export type StoreOptions = { readonly now: () => Date; readonly log: Log };

const project = { spec: { database: 'app', role: 'app' }, status: null, secret: null };
const branch = { spec: { project: 'p', name: 'main' }, status: null, secret: { password: 'secret' } };
const ready = { state: 'ready', reason: 'R', message: 'm', conditions: [], observedGeneration: 1 } as const;
const manifest = (spec: ReturnType<typeof deployment> | ReturnType<typeof service>) => ({
  spec,
  status: null,
  secret: null,
});

const versionOf = (c: Change): number =>
  c.type === 'put' ? c.object.version : c.type === 'gone' ? c.version : c.event.version;

/** A store may say that somebody was first although nobody was: whoever names a version must be ready for it. */
async function again<T>(write: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await write();
    } catch (error) {
      if ((error as { code?: string }).code !== 'store/conflict') throw error;
    }
  }
}

/** Writes to a branch as it is now. */
const swap = (store: Store, id: string, changes: Changes<'branch'>) =>
  again(() => store.update('branch', id, store.get('branch', id)!.version, changes));

/** @param manifests whether it keeps the baseline's manifests: in a cluster they are the cluster's own */
export function storeConformance(
  name: string,
  open: (options: StoreOptions) => Promise<Store>,
  { manifests = true }: { readonly manifests?: boolean } = {},
): void {
  const clock = testClock();
  const logged: string[] = [];
  const log: Log = { ...silentLog, error: (_fields, message) => void logged.push(message) };
  const opened = async (now = clock.now) => {
    const store = await open({ now, log });
    return { store, [Symbol.asyncDispose]: () => store.close() };
  };
  const names = (objects: readonly { readonly name: string }[]) => objects.map(o => o.name);

  describe(`${name}: objects`, () => {
    it('are read as they were written, all of it frozen', async () => {
      await using s = await opened();
      const made = await s.store.create('branch', 'br1', branch);
      const at = clock.now().toISOString();
      const first = { kind: 'branch', name: 'br1', generation: 1, version: 1 };
      assert.deepEqual(made, { ...first, ...branch, createdAt: at, updatedAt: at });
      assert.equal(s.store.get('branch', 'br1'), made);
      assert.ok([made, made.spec, made.secret].every(Object.isFrozen));
      assert.throws(() => {
        (made.spec as { name: string }).name = 'other';
      }, TypeError);
      assert.equal(s.store.get('branch', 'br2'), undefined);
      assert.equal(s.store.get('project', 'br1'), undefined);
    });

    it('share nothing with what they were made of', async () => {
      await using s = await opened();
      const spec = { database: 'app', role: 'app' };
      await s.store.create('project', 'p', { ...project, spec });
      spec.role = 'other';
      assert.equal(s.store.get('project', 'p')?.spec.role, 'app');
    });

    it('cannot be created twice, also not at once', async () => {
      await using s = await opened();
      const both = await Promise.allSettled([1, 2].map(() => s.store.create('project', 'p', project)));
      assert.deepEqual(both.map(b => b.status).sort(), ['fulfilled', 'rejected']);
      await assert.rejects(s.store.create('project', 'p', project), { code: 'api/conflict' });
      assert.equal(s.store.version(), 1);
    });

    it('are listed in order of creation, also when the clock was set back', async () => {
      const time = testClock();
      await using s = await opened(time.now);
      for (const name of ['c', 'a', 'b']) {
        await s.store.create('project', name, project);
        time.forward(-1_000);
      }
      await s.store.modify('project', 'c', () => ({ spec: { ...project.spec, role: 'r' } }));
      assert.deepEqual(names(s.store.list('project')), ['c', 'a', 'b']);
      await s.store.remove('project', 'c');
      await s.store.create('project', 'c', project);
      assert.deepEqual(names(s.store.list('project')), ['a', 'b', 'c']);
    });

    it('count changes of their spec as generations, and every write as a version', async () => {
      const time = testClock();
      await using s = await opened(time.now);
      const { createdAt } = await s.store.create('branch', 'br1', branch);
      time.forward(1_000);
      const status = await swap(s.store, 'br1', { status: ready });
      assert.deepEqual([status.generation, status.version, status.updatedAt], [1, 2, createdAt]);
      const secret = await swap(s.store, 'br1', { secret: { password: 'new' } });
      assert.deepEqual([secret.generation, secret.version, secret.updatedAt], [1, 3, createdAt]);
      const changed = { ...branch.spec, owner: 'sandbox/x' };
      const spec = await swap(s.store, 'br1', { spec: changed });
      assert.deepEqual([spec.generation, spec.version], [2, 4]);
      assert.equal(spec.updatedAt, time.now().toISOString());
      assert.equal(spec.createdAt, createdAt);
      assert.deepEqual([spec.status, spec.secret], [ready, { password: 'new' }]);
    });

    it('are not written when nothing of them changes', async () => {
      await using s = await opened();
      await s.store.create('branch', 'br1', branch);
      await s.store.modify('branch', 'br1', () => ({ status: ready, deleted: true }));
      const version = s.store.version();
      const heard: Change[] = [];
      s.store.onChange(c => heard.push(c));
      await s.store.modify('branch', 'br1', o => ({ ...o, deleted: true }));
      await s.store.modify('branch', 'br1', () => ({}));
      await s.store.modify('branch', 'br1', () => undefined);
      // The order of keys is no difference, and what JSON leaves out was never there.
      await s.store.modify('branch', 'br1', () => ({
        spec: { name: 'main', project: 'p', owner: undefined } as never,
      }));
      await s.store.modify('branch', 'br1', () => ({ status: Object.assign(Object.create(null), ready) }));
      await swap(s.store, 'br1', { status: ready });
      assert.deepEqual(heard, []);
      assert.equal(s.store.version(), version);
    });

    it('that are to go keep the first time they were told so', async () => {
      const time = testClock();
      await using s = await opened(time.now);
      await s.store.create('project', 'p', project);
      const first = await s.store.modify('project', 'p', () => ({ deleted: true }));
      assert.equal(first?.deletedAt, time.now().toISOString());
      assert.equal(first?.generation, 1);
      time.forward(1_000);
      const spec = { ...project.spec, role: 'r' };
      const again = await s.store.modify('project', 'p', () => ({ deleted: true, spec }));
      assert.equal(again?.deletedAt, first?.deletedAt);
    });

    it('that do not exist are not modified, and removing them is success', async () => {
      await using s = await opened();
      const asked = await s.store.modify('project', 'p', () => assert.fail('there is nothing to change'));
      assert.equal(asked, undefined);
      await s.store.remove('project', 'p');
      await s.store.remove('project', 'p', 7);
      assert.equal(s.store.version(), 0);
    });

    it('begin again at generation 1 after their end', async () => {
      await using s = await opened();
      await s.store.create('project', 'p', project);
      const spec = { ...project.spec, role: 'r' };
      await s.store.modify('project', 'p', () => ({ spec, deleted: true }));
      await s.store.remove('project', 'p');
      assert.equal(s.store.get('project', 'p'), undefined);
      const anew = await s.store.create('project', 'p', project);
      assert.deepEqual([anew.generation, anew.version, anew.deletedAt], [1, 4, undefined]);
    });
  });

  describe(`${name}: compare and swap`, () => {
    it('refuses a write to what has moved on, or is gone; the newer one can be read by then', async () => {
      await using s = await opened();
      const { version } = await s.store.create('branch', 'br1', branch);
      const first = swap(s.store, 'br1', { secret: { password: 'first' } });
      await assert.rejects(s.store.update('branch', 'br1', version, { status: ready }), {
        code: 'store/conflict',
      });
      assert.equal(s.store.get('branch', 'br1'), await first);
      assert.deepEqual((await first).secret, { password: 'first' });
      await assert.rejects(s.store.remove('branch', 'br1', version), { code: 'store/conflict' });
      await again(() => s.store.remove('branch', 'br1', s.store.get('branch', 'br1')!.version));
      assert.equal(s.store.get('branch', 'br1'), undefined);
      await assert.rejects(s.store.update('branch', 'br1', version, { status: ready }), {
        code: 'store/conflict',
        message: 'branch "br1" has moved on: it is gone',
      });
    });

    it('loses none of many changes at once', async () => {
      await using s = await opened();
      await s.store.create('project', 'p', { ...project, spec: { database: 'x', role: 'app' } });
      const letters = [...'abcdefghijklmnopqrstuvwxyz'];
      await Promise.all(
        letters.map(letter =>
          s.store.modify('project', 'p', ({ spec }) => ({
            spec: { ...spec, database: spec.database + letter },
          })),
        ),
      );
      const { spec, generation } = s.store.get('project', 'p')!;
      assert.deepEqual([...spec.database.slice(1)].sort(), letters);
      assert.equal(generation, 27);
    });

    it('passes on what a change throws, and keeps nothing of it', async () => {
      await using s = await opened();
      await s.store.create('project', 'p', project);
      const no = new Error('no');
      const refuse = () => {
        throw no;
      };
      await assert.rejects(s.store.modify('project', 'p', refuse), error => error === no);
      const busy = s.store.modify('project', 'p', () => ({ deleted: true }));
      await assert.rejects(s.store.modify('project', 'p', refuse), error => error === no);
      assert.equal((await busy)?.version, 2);
      assert.equal(s.store.version(), 2);
    });
  });

  describe(`${name}: indexes`, () => {
    it('know branches by project, parent and owner', async () => {
      await using s = await opened();
      const put = (id: string, spec: object) =>
        s.store.create('branch', id, { ...branch, spec: { ...branch.spec, ...spec } });
      await put('main', {});
      await put('a', { parent: 'main' });
      await put('b', { parent: 'main', owner: 'sandbox/x' });
      await put('other', { project: 'q' });
      assert.deepEqual(names(s.store.by('branch/project', 'p')), ['main', 'a', 'b']);
      assert.deepEqual(names(s.store.by('branch/parent', 'main')), ['a', 'b']);
      assert.deepEqual(names(s.store.by('branch/owner', 'sandbox/x')), ['b']);
      assert.equal(s.store.by('branch/project', 'q')[0], s.store.get('branch', 'other'));
      await s.store.remove('branch', 'a');
      assert.deepEqual(names(s.store.by('branch/parent', 'main')), ['b']);
      assert.deepEqual(s.store.by('branch/parent', 'a'), []);
    });

    it('follow changes, in order of creation', async () => {
      await using s = await opened();
      const put = async (name: string, forks: readonly string[], plugin: string) => {
        const spec = { cluster: 'local', forks: forks.map(f => fork(f)) };
        const resources = { db: newResourceRecord(plugin), more: newResourceRecord(plugin) };
        const secret = { routingKey: `key-${name}`, resources };
        if ((await s.store.modify('sandbox', name, () => ({ spec, secret }))) === undefined)
          await s.store.create('sandbox', name, { spec, secret, status: null });
      };
      await put('one', [], 'p@1.0.0');
      await put('two', ['users'], 'p@1.0.0');
      await put('one', ['users', 'users', 'orders'], 'p@2.0.0');
      assert.deepEqual(names(s.store.by('sandbox/workload', 'demo/users')), ['one', 'two']);
      assert.deepEqual(names(s.store.by('sandbox/workload', 'demo/orders')), ['one']);
      assert.deepEqual(names(s.store.by('sandbox/plugin', 'p@1.0.0')), ['two']);
      assert.deepEqual(names(s.store.by('sandbox/plugin', 'p@2.0.0')), ['one']);
      assert.deepEqual(names(s.store.by('sandbox/routing-key', 'key-two')), ['two']);
      await put('one', [], 'p@2.0.0');
      assert.deepEqual(names(s.store.by('sandbox/workload', 'demo/users')), ['two']);
    });

    it('know manifests', { skip: !manifests && 'it keeps none' }, async () => {
      await using s = await opened();
      await s.store.create('manifest', 'd', manifest(deployment('users')));
      await s.store.create('manifest', 's', manifest(service('users', { port: 80 })));
      assert.deepEqual(names(s.store.by('manifest/kind', 'Deployment')), ['d']);
      assert.deepEqual(names(s.store.by('manifest/group', 'Service/demo')), ['s']);
    });

    it('know plugins and keys', async () => {
      await using s = await opened();
      const key = { label: 'laptop', hash: 'abc', preview: 'a…c' };
      await s.store.create('key', 'k', { spec: key, status: null, secret: null });
      await s.store.create('plugin', 'table@1.0.0', { spec: {}, status: null, secret: null });
      assert.deepEqual(names(s.store.by('key/hash', 'abc')), ['k']);
      assert.deepEqual(names(s.store.by('key/label', 'laptop')), ['k']);
      assert.deepEqual(names(s.store.by('plugin/bare-name', 'table')), ['table@1.0.0']);
    });
  });

  describe(`${name}: listeners`, () => {
    it('hear of every write until they stop, and see it in the store', async () => {
      await using s = await opened();
      const seen: (string | undefined)[] = [];
      const stop = s.store.onChange(c => seen.push(s.store.get('project', c.name)?.name));
      await s.store.create('project', 'a', project);
      await s.store.remove('project', 'a');
      stop();
      await s.store.create('project', 'b', project);
      assert.deepEqual(seen, ['a', undefined]);
    });

    it('hear in the order of versions, also of what another listener writes', async () => {
      await using s = await opened();
      const versions: number[] = [];
      const writes: Promise<unknown>[] = [];
      s.store.onChange(c => {
        if (c.type !== 'put' || c.object.deletedAt !== undefined) return;
        const { name } = c;
        writes.push(
          s.store
            .modify('project', name, () => ({ deleted: true }))
            .then(() => s.store.remove('project', name)),
        );
      });
      s.store.onChange(c => versions.push(versionOf(c)));
      await Promise.all(['a', 'b'].map(name => s.store.create('project', name, project)));
      await Promise.all(writes);
      assert.deepEqual(versions, [1, 2, 3, 4, 5, 6]);
      assert.deepEqual(s.store.list('project'), []);
    });

    it('that throw are logged, and harm neither the writer nor each other', async () => {
      await using s = await opened();
      logged.length = 0;
      const heard: string[] = [];
      s.store.onChange(() => {
        throw new Error('I always fail');
      });
      s.store.onChange(c => heard.push(c.name));
      s.store.onObject('project', 'a', () => {
        throw new Error('so do I');
      });
      assert.equal((await s.store.create('project', 'a', project)).name, 'a');
      assert.deepEqual(heard, ['a']);
      assert.equal(logged.length, 2);
    });

    it('of one object hear of nothing else', async () => {
      await using s = await opened();
      let heard = 0;
      const stop = s.store.onObject('project', 'a', () => {
        heard += 1;
      });
      await s.store.create('project', 'b', project);
      await s.store.create('project', 'a', project);
      await s.store.record({ kind: 'project', name: 'a', severity: 'info', reason: 'R', message: '' });
      await s.store.remove('project', 'a');
      stop();
      await s.store.create('project', 'a', project);
      assert.equal(heard, 2);
    });
  });

  describe(`${name}: events`, () => {
    it('are told oldest first, the newest ones, of one kind or object', async () => {
      await using s = await opened();
      const record = (name: string, reason: string) =>
        s.store.record({ kind: 'branch', name, severity: 'warning', reason, message: `${reason}!` });
      await record('a', 'One');
      await record('b', 'Two');
      await record('a', 'Three');
      await s.store.record({ kind: 'project', name: 'a', severity: 'info', reason: 'Four', message: '' });
      await s.store.create('project', 'p', project);
      await s.store.remove('project', 'p'); // a tombstone is no event
      const reasons = async (filter: Parameters<Store['events']>[0]) =>
        (await s.store.events(filter)).map(e => e.reason);
      assert.deepEqual(await reasons({ limit: 10 }), ['One', 'Two', 'Three', 'Four']);
      assert.deepEqual(await reasons({ limit: 2 }), ['Three', 'Four']);
      assert.deepEqual(await reasons({ name: 'a', limit: 10 }), ['One', 'Three', 'Four']);
      assert.deepEqual(await reasons({ kind: 'branch', name: 'a', limit: 1 }), ['Three']);
      assert.deepEqual((await s.store.events({ kind: 'branch', limit: 1 }))[0], {
        version: 3,
        at: clock.now().toISOString(),
        kind: 'branch',
        name: 'a',
        severity: 'warning',
        reason: 'Three',
        message: 'Three!',
      });
    });

    it('have messages of a sane length', async () => {
      await using s = await opened();
      const message = 'x'.repeat(100_000);
      await s.store.record({ kind: 'branch', name: 'a', severity: 'info', reason: 'Long', message });
      const [event] = await s.store.events({ limit: 1 });
      assert.equal(event?.message, `${'x'.repeat(4_000)}…`);
    });
  });

  describe(`${name}: since`, () => {
    const told = (changes: readonly Change[] | undefined) =>
      changes?.map(c => `${c.type} ${c.name} ${versionOf(c)}`);

    it('tells the last write of each object, ends and events, in their order', async () => {
      await using s = await opened();
      await s.store.create('project', 'a', project);
      await s.store.create('project', 'b', project);
      await s.store.modify('project', 'a', () => ({ deleted: true }));
      await s.store.record({ kind: 'project', name: 'a', severity: 'info', reason: 'R', message: 'm' });
      await s.store.remove('project', 'b');
      await s.store.create('project', 'b', project);
      await s.store.remove('project', 'a');
      assert.deepEqual(told(s.store.since(0)), ['event a 4', 'gone b 5', 'put b 6', 'gone a 7']);
      assert.deepEqual(told(s.store.since(5)), ['put b 6', 'gone a 7']);
      assert.deepEqual(told(s.store.since(7)), []);
    });

    it('does not know what comes after now', async () => {
      await using s = await opened();
      await s.store.create('project', 'a', project);
      assert.equal(s.store.since(2), undefined);
    });

    it('knows nothing when ends of objects were forgotten, and everything from there on', async () => {
      await using s = await opened();
      await s.store.create('project', 'gone', project);
      await s.store.remove('project', 'gone');
      await s.store.create('project', 'here', project);
      const event = { kind: 'project', name: 'here', severity: 'info', reason: 'R', message: '' } as const;
      const record = (count: number) =>
        Promise.all(Array.from({ length: count }, () => s.store.record(event)));
      await record(5_499 - 3);
      assert.ok(s.store.since(0), 'all of the history is still there');
      await record(1);
      assert.ok(s.store.since(0) === undefined);
      assert.ok(s.store.since(499) === undefined);
      assert.equal(s.store.since(500)?.length, 5_000);
      assert.equal((await s.store.events({ limit: 9_999 })).length, 5_000);
      assert.equal(s.store.get('project', 'here')?.name, 'here');
    });
  });

  describe(`${name}: closing`, () => {
    it('finishes what was asked for, and refuses what comes later', async () => {
      const { store } = await opened();
      const asked = store.create('project', 'p', project);
      await store.close();
      assert.equal((await asked).name, 'p');
      await assert.rejects(store.remove('project', 'p'), /closed/);
    });
  });
}
