import assert from 'node:assert/strict';
import { chmod, mkdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { it } from 'node:test';
import { blockedAt } from '../../src/lib/reach.ts';
import { tempDir } from '../support/temp.ts';

it('names the topmost directory that a user may not enter', async () => {
  await using dir = await tempDir();
  const closed = join(dir.path, 'closed');
  const inner = join(closed, 'inner');
  await mkdir(inner, { recursive: true });
  await chmod(dir.path, 0o711);
  await chmod(closed, 0o710);
  await chmod(inner, 0o700);
  const { uid, gid } = await stat(closed);
  const [otherUid, otherGid] = [uid + 12345, gid + 12345];

  assert.equal(await blockedAt(inner, { uid: otherUid, gid: otherGid }), closed);
  assert.equal(await blockedAt(inner, { uid: otherUid, gid }), inner);
  assert.equal(await blockedAt(dir.path, { uid: otherUid, gid: otherGid }), undefined);
  assert.equal(await blockedAt(inner, { uid, gid }), undefined);
  assert.equal(await blockedAt(inner, { uid: 0, gid: 0 }), undefined);
});
