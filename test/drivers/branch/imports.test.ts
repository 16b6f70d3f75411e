/** Importers are kept by what is on record of them; what one does is in test/data and test/e2e/import.test.ts. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { hiddenOf, openImports } from '../../../src/drivers/branch/imports.ts';
import type { BranchWish } from '../../../src/drivers/contract.ts';
import { uploadFolder } from '../../../src/drivers/uploads.ts';
import { silentLog } from '../../../src/lib/log.ts';
import { newSealKey, seal } from '../../../src/lib/sealed.ts';
import { until } from '../../../src/lib/wait.ts';
import { memoryBranches } from '../../support/memory-branches.ts';
import { testCtx } from '../../support/postgres.ts';
import { testProcesses } from '../../support/processes.ts';
import { tempDir } from '../../support/temp.ts';
import { Trouble } from '../../support/trouble.ts';

const sealKey = newSealKey();

const wish = (count: number, more = {}): BranchWish => ({
  ...{ project: 'shop', branch: 'main', createdAt: '', role: 'app', database: 'app', verifier: '' },
  import: {
    ...{ count, at: '2030-01-01T00:00:00Z', sealed: seal(sealKey, 'secret') },
    source: { host: 'h', port: 1, user: 'u', database: 'd', sslmode: 'disable' },
    ...more,
  },
});

test('importers', async t => {
  await using dir = await tempDir();
  const processes = await testProcesses(dir.path);
  t.after(() => processes.close());
  const { volumes, servers, disk } = memoryBranches(new Trouble());
  const open = (script: string) =>
    openImports({
      ...{
        home: dir.path,
        instance: dir.path,
        processes,
        volumes,
        adminSecret: 'a',
        sealKey,
        log: silentLog,
      },
      servers: { ...servers, filling: async () => ({ argv: ['postgres'], socketDir: '/s' }) },
      command: [process.execPath, '-e', script],
      minFreeBytes: 0,
    });
  const untilEnded = (id: string) =>
    until(() => (processes.find(`import/${id}`) === undefined ? true : undefined), {
      what: 'the importer ends',
      deadlineMs: 60_000,
    });

  await t.test('one that dies is begun anew, with an empty volume, but not for ever', async () => {
    const imports = open('process.exit(1)');
    for (let times = 0; times < 3; times++) {
      const seen = await imports.look('bra', wish(1), undefined, testCtx());
      assert.deepEqual(seen, { ready: false, status: { count: 1, state: 'running' } });
      assert.ok(disk.has(hiddenOf('bra')));
      await untilEnded('bra');
    }
    const seen = await imports.look('bra', wish(1), undefined, testCtx());
    assert.equal(seen?.failure?.code, 'import/died');
    const left = await readdir(join(dir.path, 'imports', 'bra'));
    assert.ok(!left.includes('job.json'), 'the passwords that it has not read are gone');
    assert.equal(seen?.status.state, 'failed');
    assert.ok(!disk.has(hiddenOf('bra')));
    const again = await imports.look('bra', wish(2), undefined, testCtx());
    assert.equal(again?.status.state, 'running');
    await imports.remove('bra', testCtx());
    assert.ok(!disk.has(hiddenOf('bra')));
  });

  await t.test('one that runs is found again, and ends when it is cancelled', async () => {
    const script = 'setInterval(() => {}, 1000)';
    await open(script).look('brb', wish(1), undefined, testCtx());
    const { leader } = processes.find('import/brb')!;
    const later = open(script);
    assert.equal((await later.look('brb', wish(1), undefined, testCtx()))?.status.state, 'running');
    assert.equal(processes.find('import/brb')?.leader.pid, leader.pid);
    const seen = await later.look('brb', wish(1, { cancelled: true }), undefined, testCtx());
    assert.equal(seen?.failure?.code, 'import/cancelled');
    assert.equal(processes.find('import/brb'), undefined);
    assert.ok(!disk.has(hiddenOf('brb')));
  });

  await t.test('a dump is taken, stays while it is loaded, and goes with the end of that', async () => {
    const upload = '0123456789abcdef01234567';
    const source = { file: 'shop.dump', upload };
    const sent = uploadFolder(dir.path, upload);
    const taken = join(dir.path, 'dumps', 'brd', upload);
    await mkdir(sent, { recursive: true });
    await writeFile(join(sent, 'dump'), 'SELECT 1;');
    const imports = open('process.exit(1)');
    for (let times = 0; times < 3; times++) {
      await imports.look('brd', wish(1, { source }), undefined, testCtx());
      assert.deepEqual([existsSync(sent), existsSync(taken)], [false, true]);
      await untilEnded('brd');
    }
    await writeFile(join(dir.path, 'imports', 'brd', 'progress.json'), '{"phase":"file"}');
    const died = await imports.look('brd', wish(1, { source }), undefined, testCtx());
    assert.equal(died?.failure?.code, 'import/died');
    assert.equal(died?.status.progress?.phase, 'file', 'where it was');
    assert.ok(!existsSync(taken));
    const gone = await imports.look('brd', wish(2, { source }), undefined, testCtx());
    assert.equal(gone?.failure?.code, 'import/file-gone');
    assert.equal(gone?.status.progress, undefined);
    assert.match(gone?.status.message ?? '', /from the file shop\.dump, which is not kept/);
    await mkdir(sent, { recursive: true });
    await imports.look('brd', wish(3, { source, cancelled: true }), undefined, testCtx());
    assert.ok(!existsSync(sent), 'nobody wants it any more');
  });

  await t.test('one that is done is ready once, and its report stays', async () => {
    const imports = open('setInterval(() => {}, 1000)');
    await imports.look('brc', wish(1), undefined, testCtx());
    const report = { tables: 1, rows: 2, bytes: 3, ms: 4, version: '18.4', leftOut: [] };
    await writeFile(join(dir.path, 'imports', 'brc', 'result.json'), JSON.stringify({ count: 1, report }));
    const seen = await imports.look('brc', wish(1), undefined, testCtx());
    assert.deepEqual(seen, { ready: true, status: { count: 1, state: 'done', report } });
    await imports.taken('brc', testCtx());
    assert.ok(!disk.has(hiddenOf('brc')));
    const later = open('');
    assert.equal(await later.look('brc', wish(1), 1, testCtx()), undefined);
    assert.deepEqual(later.of('brc'), { count: 1, state: 'done', report });
  });
});
