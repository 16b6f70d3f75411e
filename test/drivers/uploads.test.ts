/** Dumps that are sent here, as the API has them. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { readFile, stat, symlink, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { openUploads, uploadFolder } from '../../src/drivers/uploads.ts';
import { importsAtHand } from '../../src/roles/at-hand.ts';
import { tempDir } from '../support/temp.ts';

test('uploads', async t => {
  await using dir = await tempDir();
  const home = dir.path;
  const room = () => Promise.reject(new Error('of no interest'));
  const uploadsOf = async (minFreeBytes: number) =>
    (await importsAtHand({ home, minFreeBytes }, {}, room)).uploads;
  const uploads = await uploadsOf(0);

  await t.test('pieces come in order, again too, and nobody else reads them', async () => {
    const id = await uploads.begin(10);
    const put = (offset: number, text: string) => uploads.append(id, 'toc.dat', offset, Buffer.from(text));
    assert.equal(await put(0, 'hello'), 5);
    assert.equal(await put(0, 'hello'), 5);
    assert.equal(await put(9, 'later'), 5, 'there is a gap before it');
    assert.equal(await put(5, ' world'), 11);
    const path = join(uploadFolder(home, id), 'toc.dat');
    assert.equal(await readFile(path, 'utf8'), 'hello world');
    assert.equal((await stat(path)).mode & 0o777, 0o600);
    assert.equal((await stat(uploadFolder(home, id))).mode & 0o777, 0o700);
    for (const name of ['../x', '.', '..', 'a/b', '', '-x'])
      await assert.rejects(uploads.append(id, name, 0, Buffer.from('x')), { code: 'api/bad-request' });
    for (const other of ['../uploads', '0'.repeat(24)])
      await assert.rejects(uploads.append(other, 'x', 0, Buffer.from('x')), { code: 'api/not-found' });
    await uploads.remove('../../etc');
    await uploads.remove(id);
    assert.ok(!existsSync(uploadFolder(home, id)));
  });

  await t.test('a disk that is full, or would be, is said, and nothing stays', async t => {
    const much = Number.MAX_SAFE_INTEGER;
    await assert.rejects(uploads.begin(much), { code: 'import/no-room' });
    const tight = await uploadsOf(much);
    const id = await tight.begin(undefined);
    await assert.rejects(tight.append(id, 'dump', 0, Buffer.from('x')), { code: 'import/full' });
    assert.ok(!existsSync(uploadFolder(home, id)));
    if (!existsSync('/dev/full')) return t.skip('there is no /dev/full here');
    const other = await uploads.begin(undefined);
    await symlink('/dev/full', join(uploadFolder(home, other), 'dump'));
    await assert.rejects(uploads.append(other, 'dump', 0, Buffer.from('x')), { code: 'import/full' });
    assert.ok(!existsSync(uploadFolder(home, other)));
  });

  await t.test(
    'one that nobody goes on with is removed after an hour, and after a day that of a daemon before',
    async t => {
      t.mock.timers.enable({ apis: ['setTimeout', 'Date'], now: Date.now() });
      const own = await openUploads(home);
      const [idle, busy, kept] = [await own.begin(), await own.begin(), await own.begin()];
      own.keep(kept);
      t.mock.timers.tick(3_000_000);
      await own.append(busy, 'dump', 0, Buffer.from('x'));
      t.mock.timers.tick(700_000);
      const gone = async (id: string) => {
        for (let i = 0; i < 1_000 && existsSync(uploadFolder(home, id)); i++) await new Promise(setImmediate);
        return !existsSync(uploadFolder(home, id));
      };
      assert.ok(await gone(idle));
      assert.ok(existsSync(uploadFolder(home, busy)) && existsSync(uploadFolder(home, kept)));
      const old = new Date(Date.now() - 25 * 3_600_000);
      await utimes(uploadFolder(home, kept), old, old);
      const next = await openUploads(home);
      assert.ok(!existsSync(uploadFolder(home, kept)));
      assert.ok(existsSync(uploadFolder(home, busy)));
      t.mock.timers.tick(25 * 3_600_000);
      assert.ok(await gone(busy));
      assert.equal(await next.folder(busy), undefined);
    },
  );
});
