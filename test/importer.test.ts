/** An importer, as the process that it is. What it fills is tested in test/e2e/import.test.ts. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import type { ImportJob } from '../src/drivers/branch/imports.ts';
import { exec } from '../src/lib/exec.ts';
import { tempDir } from './support/temp.ts';

test('an importer whose server cannot be started says so at once, and keeps no passwords', async () => {
  await using dir = await tempDir();
  const job: ImportJob = {
    spec: {
      ...{ count: 1, at: '2030-01-01T00:00:00Z' },
      source: { host: '127.0.0.1', port: 1, user: 'u', database: 'd', sslmode: 'disable' },
    },
    ...{ password: 'secret', adminSecret: 'secret', database: 'app', role: 'app', roomBytes: 2 ** 30 },
    server: { argv: [join(dir.path, 'no-postgres')] },
    ...{ socketDir: dir.path, dataDir: dir.path, folder: dir.path },
  };
  const file = join(dir.path, 'job.json');
  await writeFile(file, JSON.stringify(job));
  const { stderr } = await exec(process.execPath, [join(import.meta.dirname, '../src/importer.ts'), file], {
    deadlineMs: 30_000,
  });
  assert.match(stderr, /spawn .*no-postgres ENOENT/);
  assert.ok(!existsSync(file));
  const result = await readFile(join(dir.path, 'result.json'), 'utf8');
  assert.equal(JSON.parse(result).count, 1);
  assert.doesNotMatch(result + stderr, /secret/);
});
