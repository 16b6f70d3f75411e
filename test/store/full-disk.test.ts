/** A disk without room: a clear error, nothing changed, and everything goes on when there is room again. */
import assert from 'node:assert/strict';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { exec } from '../../src/lib/exec.ts';
import { openStore, type SqliteOptions } from '../../src/store/sqlite.ts';
import { type TempDir, tempDir } from '../support/temp.ts';

const project = { spec: { database: 'app', role: 'app' }, status: null, secret: null };
const large = {
  spec: { project: 'p', name: 'x' },
  status: null,
  secret: { password: 'x'.repeat(20_000) },
};

test('a write that finds no room is refused, and nothing else is lost', async t => {
  await using disk = await smallDisk(t);
  if (disk === undefined) return;
  const file = join(disk.path, 'state.db');
  const store = openStore(file);
  await store.create('project', 'p', project);
  const ballast = join(disk.path, 'ballast');
  await fill(ballast);

  let made = 0;
  const fillUp = async () => {
    for (; ; made++) await store.create('branch', `br${made}`, large);
  };
  await assert.rejects(fillUp(), { code: 'store/no-space', params: { file } });
  const version = store.version();
  await assert.rejects(
    store.modify('project', 'p', () => ({ spec: { ...project.spec, role: 'x'.repeat(9_000) } })),
    {
      code: 'store/no-space',
      message: `there is no room left to write ${file}; nothing of this change was kept`,
    },
  );
  assert.deepEqual([store.version(), store.get('project', 'p')?.spec.role], [version, 'app']);
  assert.equal(store.list('branch').length, made);

  await rm(ballast);
  await store.create('branch', 'after', large);
  await store.close();
  const again = openStore(file);
  assert.equal(again.list('branch').length, made + 1);
  assert.equal(again.get('project', 'p')?.spec.role, 'app');
  await again.close();
});

test('a store is opened and read on a full disk', async t => {
  await using disk = await smallDisk(t);
  if (disk === undefined) return;
  const file = join(disk.path, 'state.db');
  const store = openStore(file);
  await store.create('project', 'p', project);
  await store.close();
  await fill(join(disk.path, 'ballast'));
  const again = openStore(file);
  assert.equal(again.get('project', 'p')?.name, 'p');
  await assert.rejects(again.create('branch', 'br', large), { code: 'store/no-space' });
  await again.close();
});

test('room that is kept for the next writes is given up for them, and they are tried once more', async t => {
  await using disk = await smallDisk(t);
  if (disk === undefined) return;
  const ballast = join(disk.path, 'ballast');
  let asked = 0;
  const onNoSpace: SqliteOptions['onNoSpace'] = async () => {
    asked += 1;
    await rm(ballast, { force: true });
    return true;
  };
  const store = openStore(join(disk.path, 'state.db'), { onNoSpace });
  await store.create('project', 'p', project);
  await fill(ballast);
  await store.create('branch', 'br', large);
  assert.equal(asked, 1);
  await fill(ballast);
  await fill(join(disk.path, 'more'));
  await assert.rejects(
    Promise.all(Array.from({ length: 100 }, (_, i) => store.create('branch', `br${i}`, large))),
    { code: 'store/no-space' },
  );
  assert.equal(asked, 2, 'once for a write');
  assert.equal(store.list('branch').length, 1);
  await store.close();
});

/** A file system of 1 MiB in memory. */
async function smallDisk(t: TestContext): Promise<TempDir | undefined> {
  const dir = await tempDir();
  try {
    await exec('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'none', dir.path]);
  } catch {
    await dir[Symbol.asyncDispose]();
    t.skip('only root may mount the small disk that this needs');
    return undefined;
  }
  return {
    path: dir.path,
    async [Symbol.asyncDispose]() {
      await exec('umount', [dir.path]);
      await dir[Symbol.asyncDispose]();
    },
  };
}

/** Writes a file until there is no room at all. */
async function fill(path: string): Promise<void> {
  await assert.rejects(writeFile(path, Buffer.alloc(2 * 1024 * 1024)), { code: 'ENOSPC' });
}
