import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chmod, readdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { after, describe, it } from 'node:test';
import { nowhere } from '../../src/model/folder.ts';
import { migrations } from '../../src/store/migrations.ts';
import { openStore } from '../../src/store/sqlite.ts';
import { storeConformance } from '../conformance/store.ts';
import { testClock } from '../support/documents.ts';
import { tempDir } from '../support/temp.ts';

const project = { spec: { database: 'app', role: 'app' }, status: null, secret: null };
const branch = { spec: { project: 'p', name: 'main' }, status: null, secret: { password: 'secret' } };
const ready = { state: 'ready', reason: 'R', message: 'm', conditions: [], observedGeneration: 1 } as const;
const clock = testClock();

const dir = await tempDir();
after(() => dir[Symbol.asyncDispose]());
let files = 0;
const newFile = () => join(dir.path, `state-${++files}.db`);

storeConformance('sqlite', async options => openStore(newFile(), options));

describe('a file', () => {
  it('keeps everything over a close, and counts on', async () => {
    const file = newFile();
    const first = openStore(file, { now: clock.now });
    await first.create('branch', 'br1', branch);
    await first.create('branch', 'br0', branch);
    await first.modify('branch', 'br1', () => ({ status: ready, deleted: true }));
    await first.create('project', 'p', project);
    await first.remove('project', 'p');
    await first.record({ kind: 'branch', name: 'br1', severity: 'info', reason: 'R', message: 'm' });
    const before = [first.list('branch'), await first.events({ limit: 9 }), first.since(0), first.version()];
    await first.close();
    assert.deepEqual(
      (await readdir(dir.path)).filter(name => file.endsWith(name.split('-wal')[0]!)).length,
      1,
    );

    const second = openStore(file, { now: clock.now });
    const now = [second.list('branch'), await second.events({ limit: 9 }), second.since(0), second.version()];
    assert.deepEqual(now, before);
    assert.equal((await second.create('project', 'p', project)).version, 7);
    await second.close();
  });

  it('is for its owner only, with its log, whatever mode it had', async () => {
    const file = newFile();
    await writeFile(file, '');
    await chmod(file, 0o644);
    const store = openStore(file);
    await store.create('branch', 'br1', branch);
    const modes = await Promise.all(
      [file, `${file}-wal`].map(async f => ((await stat(f)).mode & 0o777).toString(8)),
    );
    assert.deepEqual(modes, ['600', '600']);
    await store.close();
  });

  it('does not grow with what is written over and over', async () => {
    const file = newFile();
    const store = openStore(file);
    await store.create('branch', 'br1', branch);
    const message = 'x'.repeat(20_000);
    for (let i = 0; i < 200; i++) {
      await store.modify('branch', 'br1', () => ({ status: { ...ready, message: `${i} ${message}` } }));
    }
    for (const name of [file, `${file}-wal`]) assert.ok((await stat(name)).size < 2 * 1024 * 1024, name);
    await store.close();
    const again = openStore(file);
    assert.match(again.get('branch', 'br1')!.status!.message, /^199 /);
    await again.close();
  });
});

describe('a sync that fails', () => {
  it('is a write that failed: not in memory, and not in the file when the next one has succeeded', async () => {
    const file = newFile();
    const trouble: { error?: Error } = {};
    const sync = async () => {
      if (trouble.error !== undefined) throw trouble.error;
    };
    const store = openStore(file, { sync });
    await store.create('branch', 'old', branch);
    await store.create('branch', 'going', branch);
    trouble.error = Object.assign(new Error('EIO: i/o error, fsync'), { code: 'EIO' });
    const failing = [
      store.create('branch', 'new', branch),
      store.modify('branch', 'old', () => ({ secret: { password: 'lost' } })),
      store.remove('branch', 'going'),
      store.record({ kind: 'branch', name: 'old', severity: 'info', reason: 'Lost', message: '' }),
    ];
    for (const write of failing) {
      await assert.rejects(write, {
        code: 'store/write-failed',
        params: { file, why: trouble.error.message },
      });
    }
    // Also while the trouble lasts, in another batch.
    await assert.rejects(store.create('branch', 'newer', branch), { code: 'store/write-failed' });
    assert.deepEqual(
      store.list('branch').map(b => [b.name, b.secret.password]),
      [
        ['old', 'secret'],
        ['going', 'secret'],
      ],
    );
    delete trouble.error;
    await store.modify('branch', 'old', () => ({ status: ready }));
    const before = [store.list('branch'), store.since(0), store.version()];
    assert.equal(store.version(), 3);
    await store.close();
    const again = openStore(file);
    assert.deepEqual(
      [again.list('branch').toReversed(), again.since(0), again.version()],
      [store.list('branch').toReversed(), ...before.slice(1)],
    );
    await again.close();
  });
});

describe('the schema', () => {
  /** As the first release made it, with one project, an event and a tombstone. */
  const firstRelease = (file: string) => {
    const db = new DatabaseSync(file);
    db.exec(`PRAGMA journal_mode = WAL; ${migrations[0]}`);
    db.exec(`
      INSERT INTO objects VALUES ('project', 'p', 2, 3, '{"database":"app","role":"r"}', 'null', 'null', 'then', 'now', NULL);
      INSERT INTO history VALUES (1, 'then', 'project', 'q', NULL, NULL, NULL), (2, 'then', 'project', 'p', 'info', 'R', 'm');
      UPDATE counter SET version = 3`);
    db.close();
  };

  it('of the first release is brought up to date, and a copy from before is kept', async () => {
    const file = newFile();
    firstRelease(file);
    const store = openStore(file);
    const { generation, version, spec, createdAt } = store.get('project', 'p')!;
    assert.deepEqual([generation, version, spec.role, createdAt], [2, 3, 'r', 'then']);
    assert.deepEqual(
      store.since(0)?.map(c => `${c.type} ${c.name}`),
      ['gone q', 'event p', 'put p'],
    );
    await store.create('project', 'q', project);
    await store.close();

    const copy = new DatabaseSync(`${file}.v1`);
    assert.deepEqual(
      copy
        .prepare('SELECT name FROM objects')
        .all()
        .map(row => row.name),
      ['p'],
    );
    copy.close();
    assert.equal(((await stat(`${file}.v1`)).mode & 0o777).toString(8), '600');
    const again = openStore(file);
    assert.equal(again.list('project').length, 2);
    await again.close();
  });

  it('is whole when a step was interrupted before its end, at any point', async () => {
    const file = newFile();
    firstRelease(file);
    // One that died while it copied, and one that died in the step itself.
    await writeFile(`${file}.v1.partial`, 'half a copy');
    const dying = spawnSync(process.execPath, [
      '--input-type=module',
      '-e',
      `import { DatabaseSync } from 'node:sqlite';
       const db = new DatabaseSync(${JSON.stringify(file)});
       db.exec('PRAGMA cache_size = 1; PRAGMA cache_spill = 1; BEGIN IMMEDIATE');
       db.exec(${JSON.stringify(migrations[1])});
       db.exec('PRAGMA user_version = 2');
       process.kill(process.pid, 'SIGKILL');`,
    ]);
    assert.equal(dying.signal, 'SIGKILL');
    const store = openStore(file);
    assert.equal(store.get('project', 'p')?.spec.role, 'r');
    await store.close();
    const db = new DatabaseSync(file);
    assert.equal(db.prepare('PRAGMA user_version').get()?.user_version, migrations.length);
    db.close();
    const copy = new DatabaseSync(`${file}.v1`);
    assert.equal(copy.prepare('SELECT count(*) AS n FROM objects').get()?.n, 1);
    copy.close();
    assert.ok(!existsSync(`${file}.v1.partial`));
  });

  it('with one table of images for all keeps it as that of what came from no folder', async () => {
    const file = newFile();
    firstRelease(file);
    const db = new DatabaseSync(file);
    db.exec(`
      INSERT INTO objects VALUES
        ('image', 'a', 3, 4, '{"dir":"/a","command":["x"]}', 'null', 'null', 'then', 'later', NULL),
        ('image', 'b:{ref}', 1, 5, '{"dir":"/b","command":["y"]}', 'null', 'null', 'now', 'now', NULL);
      UPDATE counter SET version = 5`);
    db.close();
    const store = openStore(file);
    const [folder, ...others] = store.list('folder');
    assert.deepEqual([folder?.name, folder?.version, others], [nowhere, 5, []]);
    assert.deepEqual(folder?.spec.images, {
      a: { dir: '/a', command: ['x'] },
      'b:{ref}': { dir: '/b', command: ['y'] },
    });
    assert.equal((await store.create('project', 'q', project)).version, 6);
    await store.close();
    const after = new DatabaseSync(file);
    assert.equal(after.prepare("SELECT count(*) AS n FROM objects WHERE kind = 'image'").get()?.n, 0);
    after.close();
  });

  it('of a newer release is refused, and the file left alone', async () => {
    const file = newFile();
    await openStore(file).close();
    const db = new DatabaseSync(file);
    db.exec(`PRAGMA user_version = ${migrations.length + 1}`);
    db.close();
    const known = migrations.length;
    assert.throws(() => openStore(file), {
      code: 'store/newer',
      params: { file, found: known + 1, known },
    });
    const after = new DatabaseSync(file);
    assert.deepEqual(after.prepare('PRAGMA user_version').get()?.user_version, known + 1);
    after.close();
  });

  it('is not guessed from what is no store', async () => {
    const file = newFile();
    await writeFile(file, 'this is no database, but it is long enough to look like one'.repeat(100));
    assert.throws(() => openStore(file), { code: 'store/unreadable' });
  });
});
