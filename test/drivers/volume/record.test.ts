import assert from 'node:assert/strict';
import { stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { it } from 'node:test';
import { readRecord, writeRecord } from '../../../src/drivers/volume/record.ts';
import { recordOf } from '../../support/postgres.ts';
import { tempDir } from '../../support/temp.ts';

it('reads what was written last, and nothing where nothing is', async () => {
  await using dir = await tempDir();
  assert.equal(await readRecord(dir.path), undefined);
  await writeRecord(dir.path, recordOf('parent'));
  await writeRecord(dir.path, recordOf('child', 'parent'));
  assert.deepEqual(await readRecord(dir.path), recordOf('child', 'parent'));
  assert.equal((await stat(join(dir.path, 'volume.json'))).mode & 0o777, 0o600);
});

for (const [what, text] of [
  ['is cut off', '{"id":'],
  ['is no object', '[]'],
  ['lacks a field', '{"id":"a","project":"p","branch":"b"}'],
] as const)
  it(`refuses a record that ${what}`, async () => {
    await using dir = await tempDir();
    await writeFile(join(dir.path, 'volume.json'), text);
    await assert.rejects(readRecord(dir.path), { code: 'volume/record-unreadable' });
  });
