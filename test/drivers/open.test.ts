import assert from 'node:assert/strict';
import { chmod } from 'node:fs/promises';
import { join } from 'node:path';
import { it } from 'node:test';
import { openDrivers } from '../../src/drivers/open.ts';
import { chooseServerUser } from '../../src/drivers/postgres/user.ts';
import { silentLog } from '../../src/lib/log.ts';
import { blockedAt } from '../../src/lib/reach.ts';
import { tempDir } from '../support/temp.ts';
import { testBaseEnv } from '../support/workload.ts';

it('lets the user of the servers reach their sockets, whatever the umask is', async t => {
  await using dir = await tempDir();
  await chmod(dir.path, 0o711);
  const runtimeDir = join(dir.path, 'run', 'offshoot', 'instance');
  const umask = process.umask(0o077);
  t.after(() => process.umask(umask));
  const drivers = await openDrivers({
    home: join(dir.path, 'home'),
    runtimeDir,
    instance: `test-${crypto.randomUUID()}`,
    volumes: 'copy',
    poolBytes: undefined,
    minFreeBytes: 2 ** 20,
    reserveBytes: undefined,
    postgresBin: undefined,
    cgroup: undefined,
    engine: { why: 'not here' },
    network: '10.208.0.0/12',
    shared: [],
    baseEnv: testBaseEnv,
    nodePath: process.execPath,
    log: silentLog,
  });
  try {
    assert.equal(await blockedAt(join(runtimeDir, 's'), await chooseServerUser()), undefined);
  } finally {
    await drivers.close();
  }
});
