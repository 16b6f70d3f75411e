import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { it } from 'node:test';
import { identify } from '../../../src/lib/process.ts';
import { until } from '../../../src/lib/wait.ts';
import { asSuperuser, type TestBranches, testBranches, testCtx } from '../../support/postgres.ts';

/** Shared memory of a running server: ids of System V segments that it made, files that one of its backends has mapped. */
async function memoryOf(b: TestBranches, id: string) {
  const { pid } = (await b.servers.observe(id, testCtx()))!;
  const table = (await readFile('/proc/sysvipc/shm', 'utf8')).trim().split('\n').slice(1);
  const rows = table.map(row => row.trim().split(/\s+/));
  const maps = await asSuperuser(b.options, id, async client =>
    readFile(`/proc/${(await client.query('SELECT pg_backend_pid() AS pid')).rows[0]!.pid}/maps`, 'utf8'),
  );
  return {
    pid,
    segments: rows.filter(row => row[4] === `${pid}`).map(row => row[1]!),
    files: [...new Set(maps.match(/\/dev\/shm\/PostgreSQL\.\d+/g))],
  };
}

const segmentExists = async (id: string) =>
  new RegExp(`^\\s*-?\\d+\\s+${id}\\s`, 'm').test(await readFile('/proc/sysvipc/shm', 'utf8'));

it('is freed when the server that had it was killed, and only then', async t => {
  if (process.platform !== 'linux') return t.skip('only Linux keeps it, and lists it');
  await using b = await testBranches();
  await b.branch('parent');
  await b.branch('child', 'parent');
  const [kept, freed] = [await memoryOf(b, 'child'), await memoryOf(b, 'parent')];
  assert.equal(freed.segments.length, 1);
  assert.ok(freed.files.length > 1, 'the list, and a file that it lists');

  process.kill(freed.pid, 'SIGKILL');
  await until(() => (identify(freed.pid) === undefined ? true : undefined), {
    what: 'it is dead',
    deadlineMs: 60_000,
  });
  assert.ok(await segmentExists(freed.segments[0]!), 'the kernel keeps it');
  await b.servers.remove('parent', testCtx());
  assert.equal(await segmentExists(freed.segments[0]!), false);
  assert.deepEqual(freed.files.filter(existsSync), []);

  assert.ok(await segmentExists(kept.segments[0]!));
  assert.deepEqual(kept.files.filter(existsSync), kept.files);
});
