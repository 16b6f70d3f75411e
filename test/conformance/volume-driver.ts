/** What every volume driver must do, shown on real file systems with real servers. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { VolumeDriver, VolumeSpec } from '../../src/drivers/branch-parts.ts';
import type { Ctx } from '../../src/drivers/contract.ts';
import { openVolumes } from '../../src/drivers/volume/choose.ts';
import { flushFileSystem } from '../../src/lib/mounts.ts';
import { isNoSpace } from '../../src/lib/no-space.ts';
import { until } from '../../src/lib/wait.ts';
import { recordOf, type TestBranches, testCtx, volumeOptions } from '../support/postgres.ts';
import { startWriter } from '../support/writer.ts';

/**
 * @param name of the driver that `open` gives
 * @param skip why it cannot be tested here, or false
 */
export function volumeDriverConformance(
  name: string,
  skip: string | false,
  open: () => Promise<TestBranches>,
): void {
  describe(`volume driver ${name}`, { skip }, () => {
    let b: TestBranches;
    let volumes: VolumeDriver;
    const ctx = (): Ctx => testCtx();

    before(async () => {
      b = await open();
      volumes = b.volumes;
    });
    after(() => b?.[Symbol.asyncDispose]());

    const write = (dataDir: string, text: string) => writeFile(join(dataDir, 'word'), text);
    const read = (dataDir: string) => readFile(join(dataDir, 'word'), 'utf8');
    const empty = (id: string, word = ''): VolumeSpec => ({
      record: recordOf(id),
      prepare: dataDir => write(dataDir, word),
    });
    const grown = (id: string, source: string): VolumeSpec => ({
      record: recordOf(id, source),
      source: { id: source },
      prepare: async () => {},
    });
    /** Names in the directory that holds the volumes. */
    const names = async () => {
      await volumes.ensure('root-of', empty('root-of'), ctx());
      const seen = await volumes.observe('root-of', ctx());
      return { root: dirname(dirname(seen!.dataDir)), names: await readdir(dirname(dirname(seen!.dataDir))) };
    };

    it('makes an empty volume for the owner of the servers, prepared before it is seen', async () => {
      let during: unknown = 'prepare did not run';
      const made = await volumes.ensure(
        'fresh',
        {
          record: recordOf('fresh'),
          async prepare(dataDir) {
            await write(dataDir, 'hello');
            during = await volumes.observe('fresh', ctx());
          },
        },
        ctx(),
      );
      assert.equal(during, undefined);
      assert.equal(await read(made.dataDir), 'hello');
      assert.deepEqual(await volumes.observe('fresh', ctx()), made);
      assert.deepEqual(made.record, recordOf('fresh'));
      const stats = await stat(made.dataDir);
      assert.deepEqual([stats.uid, stats.mode & 0o777], [b.place.user.uid, 0o700]);
      assert.ok((await volumes.list(ctx())).includes('fresh'));
    });

    it('gives back what is there when asked again', async () => {
      await volumes.ensure('again', empty('again', 'first'), ctx());
      const second = await volumes.ensure('again', empty('again', 'second'), ctx());
      assert.equal(await read(second.dataDir), 'first');
    });

    it('keeps all of a record, and replaces it when it is another', async () => {
      await volumes.ensure('noted', empty('noted'), ctx());
      const trashed = { at: '2029-03-01T00:00:00.000Z', until: '2029-03-02T00:00:00.000Z' };
      const record = { ...recordOf('noted'), owner: 'sandbox/pr', role: 'app', database: 'app', trashed };
      const made = await volumes.ensure('noted', { ...empty('noted'), record }, ctx());
      assert.deepEqual(made.record, record);
      assert.deepEqual((await volumes.observe('noted', ctx()))?.record, record);
    });

    it('grows a volume that is independent of its source, in both directions', async () => {
      const parent = await volumes.ensure('parent', empty('parent', 'before'), ctx());
      const child = await volumes.ensure('child', grown('child', 'parent'), ctx());
      assert.equal(await read(child.dataDir), 'before');
      assert.equal(child.record.parent, 'parent');
      await write(child.dataDir, 'of the child');
      await write(parent.dataDir, 'of the parent');
      assert.equal(await read(child.dataDir), 'of the child');
      assert.equal(await read(parent.dataDir), 'of the parent');
    });

    it('tells what a volume takes of its own', async () => {
      const MIB = 2 ** 20;
      const fill = (dataDir: string, name: string, mib: number) =>
        writeFile(join(dataDir, name), Buffer.alloc(mib * MIB, name), { flush: true });
      const first = await volumes.ensure('counted', empty('counted'), ctx());
      await fill(first.dataDir, 'a', 4);
      const second = await volumes.ensure('counted-child', grown('counted-child', 'counted'), ctx());
      await fill(second.dataDir, 'b', 2);
      const shared = volumes.copyOnWrite ? 0 : 4 * MIB;
      await flushFileSystem(second.dataDir);
      const counts = (await volumes.capabilities()).find(c => c.name === 'volume/sizes')?.ok === true;
      for (const seen of [
        await volumes.usage('counted-child'),
        (await volumes.usages()).get('counted-child'),
      ]) {
        assert.equal(seen?.exact, counts);
        const own = seen!.bytes - shared;
        assert.ok(own >= 2 * MIB && own < 3 * MIB, `${own / MIB} MiB`);
      }
      const parent = await volumes.usage('counted');
      assert.ok(parent!.bytes >= 4 * MIB && parent!.bytes < 5 * MIB, `${parent!.bytes / MIB} MiB`);

      const logical = (await volumes.logicalBytes('counted-child', ctx()))!;
      assert.ok(logical >= 6 * MIB && logical < 7 * MIB, `all of it: ${logical / MIB} MiB`);

      await volumes.remove('counted-child', ctx());
      assert.equal(await volumes.logicalBytes('counted-child', ctx()), undefined);
      assert.equal(await volumes.usage('counted-child'), undefined);
      assert.equal((await volumes.usages()).has('counted-child'), false);
    });

    it('keeps a limit where the kernel counts, until it is raised', async t => {
      const MIB = 2 ** 20;
      const { dataDir } = await volumes.ensure('limited', empty('limited'), ctx());
      await volumes.setLimit('limited', 8 * MIB);
      const grow = (name: string) =>
        writeFile(join(dataDir, name), Buffer.alloc(6 * MIB, name), { flush: true });
      await grow('a');
      if (!(await volumes.capabilities()).some(c => c.name === 'volume/sizes' && c.ok)) {
        t.diagnostic('nobody refuses more here');
        return await volumes.setLimit('limited', undefined);
      }
      await assert.rejects(grow('b'), isNoSpace);
      await write((await volumes.ensure('unlimited', empty('unlimited'), ctx())).dataDir, 'others go on');
      await volumes.setLimit('limited', 32 * MIB);
      await grow('b');
      await volumes.setLimit('limited', 1 * MIB); // less than it takes already: nothing is lost, and it may shrink
      await rm(join(dataDir, 'a'));
      await volumes.setLimit('limited', undefined);
      await grow('c');
      await assert.rejects(volumes.setLimit('nobody', MIB), { code: 'ENOENT' });
    });

    it('tells how much room there is', async () => {
      const { where, totalBytes, freeBytes, reserveBytes } = await volumes.room();
      assert.ok(existsSync(where));
      assert.ok(totalBytes > freeBytes && freeBytes > reserveBytes && reserveBytes > 0);
    });

    it('removes a volume, and one that is not there', async () => {
      const { dataDir } = await volumes.ensure('gone', empty('gone'), ctx());
      await volumes.remove('gone', ctx());
      assert.equal(existsSync(dirname(dataDir)), false);
      assert.equal(await volumes.observe('gone', ctx()), undefined);
      await volumes.remove('gone', ctx());
    });

    it('replaces a volume when the new one is complete, and keeps the old one until then', async () => {
      await volumes.ensure('old', empty('old', 'of old'), ctx());
      await volumes.ensure('model', empty('model', 'of the model'), ctx());
      const copied = await volumes.ensure('old-child', grown('old-child', 'old'), ctx());
      const anew = (replace: () => Promise<void>): VolumeSpec => ({
        ...grown('old', 'model'),
        record: { ...recordOf('old', 'model'), resets: 1 },
        replace,
      });
      const refused = anew(() => Promise.reject(new Error('in use')));
      await assert.rejects(volumes.ensure('old', refused, ctx()), /in use/);
      const kept = await volumes.observe('old', ctx());
      assert.equal(await read(kept!.dataDir), 'of old');
      assert.equal(kept?.record.resets, undefined);

      let during = 'replace was not called';
      const made = await volumes.ensure(
        'old',
        anew(async () => {
          during = await read((await volumes.observe('old', ctx()))!.dataDir);
        }),
        ctx(),
      );
      assert.equal(during, 'of old');
      assert.deepEqual(await volumes.observe('old', ctx()), made);
      assert.equal(made.dataDir, kept!.dataDir);
      assert.equal(made.record.resets, 1);
      assert.equal(await read(made.dataDir), 'of the model');
      assert.equal(await read(copied.dataDir), 'of old', 'a child keeps what it has');
      assert.deepEqual(
        (await names()).names.filter(name => name.startsWith('old.')),
        [],
      );
    });

    it('takes a volume back whose successor never came, and clears it away when it did', async () => {
      await volumes.ensure('torn-away', empty('torn-away', 'kept'), ctx());
      const { root } = await names();
      await rename(join(root, 'torn-away'), join(root, 'torn-away.former'));
      await mkdir(join(root, 'torn-away.partial', 'volume', 'pgdata'), { recursive: true });
      assert.ok((await volumes.list(ctx())).includes('torn-away'));
      assert.equal(await read((await volumes.observe('torn-away', ctx()))!.dataDir), 'kept');

      await mkdir(join(root, 'torn-away.former', 'pgdata'), { recursive: true });
      const options = volumeOptions(b.place, volumes.name as 'pool');
      await openVolumes(options);
      assert.ok(existsSync(join(root, 'torn-away.former')), 'who only looks removes nothing');
      if (volumes.name !== 'pool') await openVolumes({ ...options, keep: true }); // of a pool there is one keeper
      assert.equal(existsSync(join(root, 'torn-away.former')), volumes.name === 'pool');
      await volumes.remove('torn-away', ctx());
      assert.deepEqual(
        (await names()).names.filter(name => name.startsWith('torn-away')),
        [],
      );
    });

    it('lists what was left half made or half removed, and clears it away', async () => {
      const { root } = await names();
      await mkdir(join(root, 'torn.partial', 'pgdata'), { recursive: true });
      await mkdir(join(root, 'torn.removing', 'pgdata'), { recursive: true });
      assert.ok((await volumes.list(ctx())).includes('torn'));
      assert.equal(await volumes.observe('torn', ctx()), undefined);
      await volumes.remove('torn', ctx());
      assert.equal((await volumes.list(ctx())).includes('torn'), false);

      await mkdir(join(root, 'torn.partial', 'pgdata'), { recursive: true });
      await volumes.ensure('torn', empty('torn', 'whole'), ctx());
      assert.deepEqual(
        (await names()).names.filter(name => name.startsWith('torn')),
        ['torn'],
      );
    });

    it('leaves nothing behind when preparing fails or is aborted', async () => {
      const failing = { ...empty('failing'), prepare: () => Promise.reject(new Error('no luck')) };
      await assert.rejects(volumes.ensure('failing', failing, ctx()), /no luck/);
      const abort = new AbortController();
      const aborted = {
        ...empty('failing'),
        async prepare(_: string, inner: Ctx) {
          abort.abort(new Error('stopped'));
          inner.signal.throwIfAborted();
        },
      };
      await assert.rejects(volumes.ensure('failing', aborted, { ...ctx(), signal: abort.signal }), /stopped/);
      assert.equal((await volumes.list(ctx())).includes('failing'), false);
    });

    it('refuses a source that is not there', async () => {
      await assert.rejects(volumes.ensure('orphan', grown('orphan', 'nobody'), ctx()), {
        code: 'volume/source-missing',
      });
    });

    it('refuses ids that would name another place', async () => {
      await assert.rejects(volumes.ensure('../up', empty('up'), ctx()), TypeError);
    });

    it('says so when there is no room, before and during the work', async () => {
      const options = volumeOptions(b.place, volumes.name as 'pool');
      const { driver: greedy } = await openVolumes({ ...options, minFreeBytes: 2 ** 60 });
      await assert.rejects(greedy.ensure('big', empty('big'), ctx()), { code: 'volume/no-space' });
      const full = Object.assign(new Error('write'), { code: 'ENOSPC' });
      const filling = { ...empty('big'), prepare: () => Promise.reject(full) };
      await assert.rejects(volumes.ensure('big', filling, ctx()), { code: 'volume/no-space', cause: full });
      assert.equal((await volumes.list(ctx())).includes('big'), false);
    });

    it('branches a running server under write load: all that was committed, nothing torn', async () => {
      await b.branch('main');
      await b.sql('main', 'CREATE EXTENSION amcheck');
      await using writer = await startWriter(b, 'main');
      const acknowledged = writer.acknowledged;
      await b.branch('twig', 'main');
      const [row] = await b.sql(
        'twig',
        'SELECT count(*)::int AS rows, max(n) AS last, min(n) AS first FROM load',
      );
      assert.ok(Number(row!.last) >= acknowledged, `${row!.last} rows, ${acknowledged} were acknowledged`);
      assert.deepEqual([row!.first, row!.rows], [1, row!.last]);
      await b.sql('twig', `SELECT bt_index_check('load_pkey', true)`);
      assert.deepEqual(await b.sql('twig', `SELECT * FROM verify_heapam('load')`), []);
      assert.deepEqual(await b.sql('twig', 'SELECT slot_name FROM pg_replication_slots'), []);

      await b.sql('twig', 'DELETE FROM load');
      const later = writer.acknowledged;
      await until(() => (writer.acknowledged > later ? true : undefined), {
        what: 'the parent goes on serving',
        deadlineMs: 60_000,
      });
      const [kept] = await b.sql('main', 'SELECT count(*)::int AS rows FROM load');
      assert.ok(Number(kept!.rows) >= later);
    });

    it('branches a branch', async () => {
      await b.sql('twig', 'INSERT INTO load VALUES (7)');
      await b.branch('leaf', 'twig');
      assert.deepEqual(await b.sql('leaf', 'SELECT n FROM load'), [{ n: 7 }]);
    });

    it('branches what a killed server left', async () => {
      await b.sql('main', 'CREATE TABLE t AS SELECT 42 AS n');
      const seen = await b.servers.observe('main', ctx());
      process.kill(seen!.pid, 'SIGKILL');
      await until(async () => ((await b.servers.observe('main', ctx())) === undefined ? true : undefined), {
        what: 'the server is dead',
        deadlineMs: 60_000,
      });
      await b.branch('heir', 'main');
      assert.deepEqual(await b.sql('heir', 'SELECT n FROM t'), [{ n: 42 }]);
      const { dataDir } = (await b.volumes.observe('main', ctx()))!;
      // PostgreSQL clears the shared memory of the killed server away when it starts the next one.
      await b.servers.ensure('main', { dataDir, name: 'main' }, ctx());
    });
  });
}
