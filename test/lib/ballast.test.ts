import assert from 'node:assert/strict';
import { appendFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { it } from 'node:test';
import { ballast } from '../../src/lib/ballast.ts';
import { isNoSpace } from '../../src/lib/no-space.ts';
import { smallDisk, smallDiskMissing } from '../support/small-disk.ts';
import { tempDir } from '../support/temp.ts';

const MIB = 2 ** 20;
const skip = (await smallDiskMissing()) ?? false;

for (const kind of ['tmpfs', 'ext4'] as const)
  it(`keeps room on a disk that somebody else fills, and gives it up in parts (${kind})`, {
    skip,
  }, async () => {
    await using disk = await smallDisk(64 * MIB, kind);
    const kept = ballast(join(disk.path, 'ballast'), 8 * MIB, 4 * MIB);
    assert.equal(kept.held(), 0);
    assert.equal(await kept.take(), true);
    assert.ok(kept.held() >= 8 * MIB);
    await disk.fill();
    const mine = (mib: number) => writeFile(join(disk.path, `mine-${mib}`), Buffer.alloc(mib * MIB, 1));
    await assert.rejects(mine(1), isNoSpace);
    assert.ok(kept.release(5 * MIB) >= 2 * MIB);
    await mine(2);
    assert.ok(kept.release() >= 4 * MIB);
    await mine(4);
    assert.equal(kept.release(), 0);

    assert.equal(await kept.take(), false, 'there is no room');
    assert.equal(kept.held(), 0, 'and it does not take the last of it');
    await disk.clear();
    assert.equal(await kept.take(), true);
  });

it('gives its room to a file, which nobody else has then, however full the disk is', { skip }, async () => {
  await using disk = await smallDisk(64 * MIB);
  const [file, kept] = [join(disk.path, 'log'), ballast(join(disk.path, 'ballast'), 8 * MIB, 4 * MIB)];
  await writeFile(file, 'so far');
  assert.equal(await kept.take(), true);
  await disk.fill();
  assert.ok((await kept.giveTo(file)) >= 8 * MIB);
  await assert.rejects(writeFile(join(disk.path, 'mine'), Buffer.alloc(MIB, 1)), isNoSpace);
  await appendFile(file, Buffer.alloc(7 * MIB, 1));
  assert.equal((await stat(file)).size, 7 * MIB + 6);
  assert.equal(await kept.giveTo(file), 0);
  assert.equal(await kept.giveTo(join(disk.path, 'nowhere')), 0);
});

it('leaves the disk as much as is asked for besides', async () => {
  await using dir = await tempDir();
  const kept = ballast(join(dir.path, 'ballast'), MIB, 2 ** 60);
  assert.equal(await kept.take(), false);
  assert.equal(kept.release(), 0);
});
