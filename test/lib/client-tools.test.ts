import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { probeClientTools } from '../../src/cli/client-tools.ts';
import { clientToolFor, findClientTools } from '../../src/lib/client-tools.ts';
import { tempDir } from '../support/temp.ts';

test('a client program is at least as new as its server, and the nearest of those', async () => {
  await using dir = await tempDir();
  const program = async (folder: string, name: string, says: string) => {
    await mkdir(join(dir.path, folder), { recursive: true });
    await writeFile(join(dir.path, folder, name), `#!/bin/sh\necho "${says}"\n`, { mode: 0o755 });
  };
  // Versions that no machine has.
  await program('a', 'pg_dump', 'pg_dump (PostgreSQL) 94.2');
  await program('b', 'pg_dump', 'pg_dump (PostgreSQL) 96beta1');
  await program('c', 'pg_dump', 'something else');
  const env = {
    OFFSHOOT_CLIENT_TOOLS: join(dir.path, 'b'),
    PATH: `${join(dir.path, 'c')}:${join(dir.path, 'a')}:/usr/bin:/bin`,
  };
  const places = { env, cwd: dir.path };
  const versions = (await findClientTools('pg_dump', places)).map(tool => tool.version);
  assert.deepEqual(versions.slice(0, 2), ['96beta1', '94.2']);
  assert.equal((await clientToolFor('pg_dump', 95, places))?.path, join(dir.path, 'b', 'pg_dump'));
  assert.equal((await clientToolFor('pg_dump', 94, places))?.path, join(dir.path, 'a', 'pg_dump'));
  assert.equal(await clientToolFor('pg_dump', 97, places), undefined);
  const checks = await probeClientTools(places);
  assert.deepEqual(
    checks.map(check => check.name),
    ['psql', 'pg_dump', 'pg_restore'],
  );
  assert.match(checks[1]!.detail, /^96beta1 in .*, also 94\.2 in /);
});
