import assert from 'node:assert/strict';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { findPostgres } from '../../../src/drivers/postgres/binaries.ts';
import { choosePostgres, openInstallations } from '../../../src/drivers/postgres/installations.ts';
import { testPlace } from '../../support/postgres.ts';

test('a data directory says by which PostgreSQL it is run; one that is gone, or another one now, is told', async () => {
  await using stack = new AsyncDisposableStack();
  const { home, runtimeDir, user } = stack.use(await testPlace());
  const ours = await findPostgres({ searchFrom: import.meta.url, runtimeDir, user });
  stack.defer(ours.close);
  const around = { ours, user, runtimeDir };
  const installations = openInstallations(around);
  stack.defer(installations.close);
  const dataDir = async (name: string, version: string): Promise<string> => {
    await mkdir(join(home, name));
    await writeFile(join(home, name, 'PG_VERSION'), `${version}\n`);
    return join(home, name);
  };

  const usual = await installations.of(await dataDir('usual', '18'));
  assert.deepEqual([usual.bin, usual.major], [ours.bin, 18]);
  assert.match(usual.extensionControlPath ?? '', /:\$system$/);
  const older = await dataDir('older', '15');
  await installations.note(older, ours.bin);
  await assert.rejects(installations.of(older), {
    code: 'postgres/other-version',
    message: /^the data were made by PostgreSQL 15, and in .* is 18 now$/,
  });
  const moved = await dataDir('moved', '15');
  await installations.note(moved, join(home, 'nowhere', 'bin'));
  const gone = {
    code: 'postgres/gone',
    message: /^the PostgreSQL of this project, in .*\/nowhere\/bin, is not what it was: /,
  };
  await assert.rejects(installations.of(moved), gone);
  await assert.rejects(installations.of(moved), gone);

  assert.equal(await choosePostgres('18', around), undefined);
  await assert.rejects(choosePostgres('14', around), { code: 'postgres/missing' });
  await assert.rejects(choosePostgres(home, around), { code: 'postgres/missing' });
  const named = await choosePostgres(ours.bin, around);
  assert.equal(named?.version, ours.version);
  await installations.close();
  assert.deepEqual(
    (await readdir(runtimeDir)).filter(name => name.startsWith('pg-')),
    [],
  );
});
