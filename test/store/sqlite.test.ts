import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { chmod, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import type { Change, Store } from '../../src/store/contract.ts';
import { openStore } from '../../src/store/sqlite.ts';
import { testClock } from '../support/documents.ts';
import { tempDir } from '../support/temp.ts';

const clock = testClock();

/** A store in memory that is closed at the end of the scope. */
const memoryStore = (now = clock.now) => {
  const store = openStore(':memory:', now);
  return { store, [Symbol.dispose]: () => store.close() };
};

const project = { spec: { database: 'app', role: 'app' }, status: null, secret: null };
const branch = {
  spec: { project: 'p', name: 'main' },
  status: null,
  secret: { password: 'secret' },
};
const ready = {
  state: 'ready' as const,
  reason: 'Ready',
  message: 'accepts connections',
  conditions: [],
  observedGeneration: 1,
};

/** What `act` makes a listener hear, as `type name`. */
function heard(store: Store, act: () => void): string[] {
  const changes: string[] = [];
  const stop = store.onChange(c => changes.push(`${c.type} ${c.name}`));
  try {
    act();
  } finally {
    stop();
  }
  return changes;
}

const versionOf = (c: Change): number =>
  c.type === 'put' ? c.object.version : c.type === 'gone' ? c.version : c.event.version;

describe('objects', () => {
  it('are created with generation 1, and read back as they were', () => {
    using s = memoryStore();
    const made = s.store.create('branch', 'br1', branch);
    const at = clock.now().toISOString();
    assert.deepEqual(made, {
      kind: 'branch',
      name: 'br1',
      generation: 1,
      version: 1,
      ...branch,
      createdAt: at,
      updatedAt: at,
    });
    assert.deepEqual(s.store.get('branch', 'br1'), made);
    assert.equal(s.store.get('branch', 'br2'), undefined);
    assert.equal(s.store.get('project', 'br1'), undefined);
  });

  it('cannot be created twice', () => {
    using s = memoryStore();
    s.store.create('project', 'p', project);
    assert.throws(() => s.store.create('project', 'p', project), { code: 'api/conflict' });
    assert.equal(s.store.version(), 1);
  });

  it('are listed in order of creation, also when the clock was set back', () => {
    const time = testClock();
    using s = memoryStore(time.now);
    for (const name of ['c', 'a', 'b']) {
      s.store.create('project', name, project);
      time.forward(-1_000);
    }
    s.store.modify('project', 'c', () => ({ spec: { ...project.spec, role: 'r' } }));
    assert.deepEqual(
      s.store.list('project').map(p => p.name),
      ['c', 'a', 'b'],
    );
  });

  it('count changes of their spec as generations, and every write as a version', () => {
    const time = testClock();
    using s = memoryStore(time.now);
    const { createdAt } = s.store.create('branch', 'br1', branch);
    time.forward(1_000);
    const status = s.store.modify('branch', 'br1', () => ({ status: ready }))!;
    assert.deepEqual([status.generation, status.version, status.updatedAt], [1, 2, createdAt]);
    const secret = s.store.modify('branch', 'br1', () => ({ secret: { password: 'new' } }))!;
    assert.deepEqual([secret.generation, secret.version, secret.updatedAt], [1, 3, createdAt]);
    const spec = s.store.modify('branch', 'br1', o => ({ spec: { ...o.spec, owner: 'sandbox/x' } }))!;
    assert.deepEqual([spec.generation, spec.version], [2, 4]);
    assert.equal(spec.updatedAt, time.now().toISOString());
    assert.equal(spec.createdAt, createdAt);
    assert.deepEqual([spec.status, spec.secret], [ready, { password: 'new' }]);
  });

  it('are not written when nothing of them changes', () => {
    using s = memoryStore();
    s.store.create('branch', 'br1', branch);
    s.store.modify('branch', 'br1', () => ({ status: ready, deleted: true }));
    const version = s.store.version();
    const changes = heard(s.store, () => {
      s.store.modify('branch', 'br1', o => ({ ...o, deleted: true }));
      s.store.modify('branch', 'br1', () => ({}));
      s.store.modify('branch', 'br1', () => undefined);
      // The order of keys is no difference, and what JSON leaves out was never there.
      s.store.modify('branch', 'br1', () => ({
        spec: { name: 'main', project: 'p', owner: undefined } as never,
      }));
      s.store.modify('branch', 'br1', () => ({ status: Object.assign(Object.create(null), ready) }));
    });
    assert.deepEqual(changes, []);
    assert.equal(s.store.version(), version);
  });

  it('that are to go keep the first time they were told so', () => {
    const time = testClock();
    using s = memoryStore(time.now);
    s.store.create('project', 'p', project);
    const first = s.store.modify('project', 'p', () => ({ deleted: true }))!;
    assert.equal(first.deletedAt, time.now().toISOString());
    assert.equal(first.generation, 1);
    time.forward(1_000);
    const again = s.store.modify('project', 'p', () => ({
      deleted: true,
      spec: { ...project.spec, role: 'r' },
    }))!;
    assert.equal(again.deletedAt, first.deletedAt);
  });

  it('that do not exist are not modified, and removing them is success', () => {
    using s = memoryStore();
    const asked = s.store.modify('project', 'p', () => assert.fail('there is nothing to change'));
    assert.equal(asked, undefined);
    s.store.remove('project', 'p');
    assert.equal(s.store.version(), 0);
  });

  it('begin again at generation 1 after their end', () => {
    using s = memoryStore();
    s.store.create('project', 'p', project);
    s.store.modify('project', 'p', () => ({ spec: { ...project.spec, role: 'r' }, deleted: true }));
    s.store.remove('project', 'p');
    assert.equal(s.store.get('project', 'p'), undefined);
    const anew = s.store.create('project', 'p', project);
    assert.deepEqual([anew.generation, anew.version, anew.deletedAt], [1, 4, undefined]);
  });
});

describe('transactions', () => {
  it('keep all of their writes or none, and listeners hear of them afterwards or never', () => {
    using s = memoryStore();
    s.store.create('project', 'old', project);
    const boom = new Error('boom');
    const changes = heard(s.store, () => {
      assert.throws(
        () =>
          s.store.transaction(() => {
            s.store.create('project', 'new', project);
            s.store.modify('project', 'old', () => ({ deleted: true }));
            s.store.remove('project', 'old');
            s.store.record({ kind: 'project', name: 'old', severity: 'info', reason: 'R', message: 'm' });
            throw boom;
          }),
        error => error === boom,
      );
    });
    assert.deepEqual(changes, []);
    assert.deepEqual(
      s.store.list('project').map(p => [p.name, p.deletedAt]),
      [['old', undefined]],
    );
    assert.deepEqual(s.store.events({ limit: 10 }), []);
    assert.equal(s.store.version(), 1);
    assert.deepEqual(
      heard(s.store, () => s.store.create('project', 'next', project)),
      ['put next'],
    );
  });

  it('within one another are one', () => {
    using s = memoryStore();
    const during: number[] = [];
    const changes = heard(s.store, () => {
      const inner = s.store.transaction(() => {
        const result = s.store.transaction(() => s.store.create('project', 'a', project));
        during.push(s.store.version());
        s.store.create('project', 'b', project);
        return result.name;
      });
      assert.equal(inner, 'a');
    });
    assert.deepEqual(during, [1]);
    assert.deepEqual(changes, ['put a', 'put b']);
    assert.throws(() =>
      s.store.transaction(() => {
        s.store.transaction(() => s.store.create('project', 'c', project));
        throw new Error('outer');
      }),
    );
    assert.throws(() =>
      s.store.transaction(() => {
        s.store.create('project', 'd', project);
        s.store.transaction(() => {
          throw new Error('inner');
        });
      }),
    );
    assert.deepEqual(
      s.store.list('project').map(p => p.name),
      ['a', 'b'],
    );
  });
});

describe('listeners', () => {
  it('hear of every write until they stop, and see it in the store', () => {
    using s = memoryStore();
    const names: (string | undefined)[] = [];
    const stop = s.store.onChange(c => names.push(s.store.get('project', c.name)?.name));
    s.store.create('project', 'a', project);
    s.store.remove('project', 'a');
    stop();
    s.store.create('project', 'b', project);
    assert.deepEqual(names, ['a', undefined]);
  });

  it('hear in the order of versions, also of what another listener writes', () => {
    using s = memoryStore();
    const versions: number[] = [];
    s.store.onChange(c => {
      if (c.type !== 'put' || c.object.deletedAt !== undefined) return;
      s.store.modify('project', c.name, () => ({ deleted: true }));
      s.store.remove('project', c.name);
    });
    s.store.onChange(c => versions.push(versionOf(c)));
    s.store.transaction(() => {
      s.store.create('project', 'a', project);
      s.store.create('project', 'b', project);
    });
    assert.deepEqual(versions, [1, 2, 3, 4, 5, 6]);
    assert.deepEqual(s.store.list('project'), []);
  });
});

describe('events', () => {
  it('are told oldest first, the newest ones, of one kind or object', () => {
    using s = memoryStore();
    const record = (name: string, reason: string) =>
      s.store.record({ kind: 'branch', name, severity: 'warning', reason, message: `${reason}!` });
    record('a', 'One');
    record('b', 'Two');
    record('a', 'Three');
    s.store.record({ kind: 'project', name: 'a', severity: 'info', reason: 'Four', message: '' });
    s.store.create('project', 'p', project);
    s.store.remove('project', 'p'); // a tombstone is no event
    const reasons = (filter: Parameters<Store['events']>[0]) => s.store.events(filter).map(e => e.reason);
    assert.deepEqual(reasons({ limit: 10 }), ['One', 'Two', 'Three', 'Four']);
    assert.deepEqual(reasons({ limit: 2 }), ['Three', 'Four']);
    assert.deepEqual(reasons({ name: 'a', limit: 10 }), ['One', 'Three', 'Four']);
    assert.deepEqual(reasons({ kind: 'branch', name: 'a', limit: 1 }), ['Three']);
    assert.deepEqual(s.store.events({ kind: 'branch', limit: 1 })[0], {
      version: 3,
      at: clock.now().toISOString(),
      kind: 'branch',
      name: 'a',
      severity: 'warning',
      reason: 'Three',
      message: 'Three!',
    });
  });
});

describe('since', () => {
  const told = (changes: readonly Change[] | undefined) =>
    changes?.map(c => `${c.type} ${c.name} ${versionOf(c)}`);

  it('tells the last write of each object, ends and events, in their order', () => {
    using s = memoryStore();
    s.store.create('project', 'a', project);
    s.store.create('project', 'b', project);
    s.store.modify('project', 'a', () => ({ deleted: true }));
    s.store.record({ kind: 'project', name: 'a', severity: 'info', reason: 'R', message: 'm' });
    s.store.remove('project', 'b');
    s.store.create('project', 'b', project);
    s.store.remove('project', 'a');
    assert.deepEqual(told(s.store.since(0)), ['event a 4', 'gone b 5', 'put b 6', 'gone a 7']);
    assert.deepEqual(told(s.store.since(5)), ['put b 6', 'gone a 7']);
    assert.deepEqual(told(s.store.since(7)), []);
  });

  it('does not know what comes after now', () => {
    using s = memoryStore();
    s.store.create('project', 'a', project);
    assert.equal(s.store.since(2), undefined);
  });

  it('knows nothing when ends of objects were forgotten, and everything from there on', () => {
    using s = memoryStore();
    s.store.create('project', 'gone', project);
    s.store.remove('project', 'gone');
    s.store.create('project', 'here', project);
    const event = { kind: 'project', name: 'here', severity: 'info', reason: 'R', message: '' } as const;
    s.store.transaction(() => {
      while (s.store.version() < 5_499) s.store.record(event);
    });
    assert.ok(s.store.since(0), 'all of the history is still there');
    s.store.record(event);
    assert.ok(s.store.since(0) === undefined);
    assert.ok(s.store.since(499) === undefined);
    assert.equal(s.store.since(500)?.length, 5_000);
    assert.equal(s.store.get('project', 'here')?.name, 'here');
  });
});

describe('a file', () => {
  it('keeps everything over a close, and counts on', async () => {
    await using dir = await tempDir();
    const file = join(dir.path, 'state.db');
    const first = openStore(file, clock.now);
    first.create('branch', 'br1', branch);
    first.modify('branch', 'br1', () => ({ status: ready, deleted: true }));
    first.create('project', 'p', project);
    first.remove('project', 'p');
    first.record({ kind: 'branch', name: 'br1', severity: 'info', reason: 'R', message: 'm' });
    const before = [first.list('branch'), first.events({ limit: 9 }), first.since(0), first.version()];
    first.close();

    const second = openStore(file, clock.now);
    try {
      assert.deepEqual(
        [second.list('branch'), second.events({ limit: 9 }), second.since(0), second.version()],
        before,
      );
      assert.equal(second.create('project', 'p', project).version, 6);
    } finally {
      second.close();
    }
  });

  it('is for its owner only, with its log, whatever mode it had', async () => {
    await using dir = await tempDir();
    const file = join(dir.path, 'state.db');
    await writeFile(file, '');
    await chmod(file, 0o644);
    const store = openStore(file);
    try {
      store.create('branch', 'br1', branch);
      const files = [file, `${file}-wal`, `${file}-shm`];
      assert.deepEqual(files.map(existsSync), [true, true, true]);
      const modes = await Promise.all(files.map(async f => ((await stat(f)).mode & 0o777).toString(8)));
      assert.deepEqual(modes, ['600', '600', '600']);
    } finally {
      store.close();
    }
  });
});
