import assert from 'node:assert/strict';
import { chmod, chown, mkdir, readdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { it } from 'node:test';
import { adopt } from '../../../src/drivers/postgres/cluster.ts';
import { openServers } from '../../../src/drivers/postgres/server.ts';
import { until } from '../../../src/lib/wait.ts';
import { testCtx, testPlace, testServers } from '../../support/postgres.ts';
import { tempDir } from '../../support/temp.ts';

async function copiedDirectory(path: string): Promise<void> {
  for (const name of ['pg_tblspc', 'pg_replslot/old', 'pg_stat_tmp'])
    await mkdir(join(path, name), { recursive: true });
  for (const name of [
    'postmaster.pid',
    'postmaster.opts',
    'standby.signal',
    'recovery.signal',
    'backup_label',
    'PG_VERSION',
    'pg_replslot/old/state',
    'pg_stat_tmp/x',
  ])
    await writeFile(join(path, name), '');
}

it('makes a copied directory forget the server that it was', async () => {
  await using dir = await tempDir();
  await copiedDirectory(dir.path);
  await adopt(dir.path);
  assert.deepEqual((await readdir(dir.path, { recursive: true })).sort(), [
    'PG_VERSION',
    'backup_label',
    'pg_replslot',
    'pg_stat_tmp',
    'pg_tblspc',
  ]);
});

it('refuses a directory whose tablespaces are elsewhere', async () => {
  await using dir = await tempDir();
  await copiedDirectory(dir.path);
  await symlink('/nonexistent', join(dir.path, 'pg_tblspc', '16384'));
  await assert.rejects(adopt(dir.path), { code: 'postgres/tablespaces' });
});

it('says why no cluster could be made, and leaves no secret behind', async () => {
  await using place = await testPlace();
  await using s = await testServers(place);
  const dataDir = join(place.home, 'taken');
  await mkdir(dataDir);
  await chmod(dataDir, 0o755);
  await writeFile(join(dataDir, 'file'), '');
  await assert.rejects(s.servers.initialise(dataDir, testCtx()), {
    code: 'postgres/initdb-failed',
    message: /taken: directory ".*taken" exists but is not empty$/,
    output: /hint: If you want to create/,
  });
  assert.deepEqual(
    (await readdir(place.home)).filter(name => name !== 'processes'),
    ['taken'],
  );
});

it('ends what an initdb of a process that died still does', async () => {
  await using place = await testPlace();
  await using s = await testServers(place);
  const dataDir = join(place.home, 'pgdata');
  await mkdir(dataDir, { mode: 0o700 });
  await chown(dataDir, place.user.uid, place.user.gid);
  const making = s.servers.initialise(dataDir, testCtx()).catch((error: unknown) => error);
  const { processes } = s.options;
  const running = () => processes.list('initdb');
  await until(() => (running().some(part => processes.find(part)) ? true : undefined), {
    what: 'initdb runs',
    deadlineMs: 60_000,
  });
  await openServers(s.options);
  assert.deepEqual(running(), []);
  assert.match(String(await making), /killed by SIGKILL/);
});
