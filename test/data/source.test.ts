/** What is in the way of an import is said before anything is made; what goes wrong later, too. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runImport } from '../../src/data/import.ts';
import { createProgress } from '../../src/data/progress.ts';
import { verify } from '../../src/data/rows.ts';
import { openSource } from '../../src/data/session.ts';
import { openSnapshot, supportedMajor } from '../../src/data/source.ts';
import type { ImportOptions } from '../../src/model/import.ts';
import { readSourceAddress, type SourceAddress } from '../../src/model/source-address.ts';
import { scriptedPostgres } from '../support/scripted-postgres.ts';
import { sourceServer } from '../support/source-server.ts';

test('a source', async t => {
  await using server = await sourceServer({ major: 18 });
  await server.sql(
    'postgres',
    `CREATE ROLE reader LOGIN PASSWORD 'r'; CREATE TABLE seen (i int); CREATE TABLE hidden_1 (i int); CREATE TABLE hidden_2 (i int); CREATE TABLE guarded (i int);
     INSERT INTO seen VALUES (1); GRANT SELECT ON seen, guarded TO reader; ALTER TABLE guarded ENABLE ROW LEVEL SECURITY`,
  );
  const admin = readSourceAddress(server.url('postgres'), String);
  const reader = readSourceAddress(server.url('postgres', { user: 'reader', password: 'r' }), String);
  const fails = async (
    from: SourceAddress,
    options: ImportOptions,
    roomBytes: number,
    code: string,
    why: RegExp,
  ) => {
    const opening = openSnapshot(from, options, roomBytes);
    await assert.rejects(opening, (error: Error & { code: string }) => {
      assert.equal(error.code, code);
      assert.match(error.message, why);
      return true;
    });
  };
  const room = 2 ** 40;

  await t.test('that cannot be reached, or refuses the login, is named without its password', async () => {
    const away = { ...admin, server: { ...admin.server, port: 1 } };
    await fails(
      away,
      {},
      room,
      'import/unreachable',
      /the source postgres@127\.0\.0\.1:1\/postgres cannot be reached/,
    );
    await fails(
      { ...admin, password: 'wrong' },
      {},
      room,
      'import/refused',
      /password authentication failed/,
    );
    const absent = { ...admin, server: { ...admin.server, database: 'absent' } };
    await fails(absent, {}, room, 'import/refused', /database "absent" does not exist/);
  });

  await t.test('of another version is refused', () => {
    assert.equal(supportedMajor('13.0', 130_000), 13);
    assert.throws(() => supportedMajor('12.22', 120_022), { code: 'import/version' });
    assert.throws(() => supportedMajor('19beta1', 190_000), { code: 'import/version' });
  });

  await t.test('names the tables that may not be read, and takes the rest', async () => {
    await fails(reader, {}, room, 'import/no-rights', /(public\.(hidden_1|hidden_2|guarded)(, )?){3}$/);
    const source = await openSnapshot(reader, { exclude: ['hidden_*', 'public.guarded'] }, room);
    assert.deepEqual(
      source.choice.tables.map(({ plain }) => plain),
      ['seen'],
    );
    await source.close();
  });

  await t.test('has the tables that were named', () =>
    fails(admin, { exclude: ['sean'] }, room, 'import/no-such-table', /no table sean/),
  );

  await t.test('larger than the free room is refused', () =>
    fails(admin, {}, 2 ** 20, 'import/no-room', /and there is room for 0 bytes/),
  );

  await t.test('that shares no snapshot says what to do, and can be taken over one connection', async () => {
    await server.sql('postgres', 'REVOKE EXECUTE ON FUNCTION pg_export_snapshot() FROM PUBLIC');
    const options = { tables: ['seen'] };
    await fails(
      reader,
      options,
      room,
      'import/no-snapshot',
      /permission denied for function pg_export_snapshot/,
    );
    await (await openSnapshot(reader, { ...options, jobs: 1 }, room)).close();
  });

  await t.test('with other rows than what came is found out by checksums', async () => {
    await server.sql('postgres', 'CREATE DATABASE other');
    await server.sql('other', 'CREATE TABLE seen (i int); INSERT INTO seen VALUES (2)');
    const source = await openSnapshot(admin, { tables: ['seen'] }, room);
    const target = await openSource({ ...admin.server, database: 'other' }, admin.password);
    const pairs = [{ source: source.session, target }];
    const same = () =>
      verify(source.choice.tables, pairs, () => undefined, undefined, AbortSignal.timeout(60_000));
    await assert.rejects(same(), { code: 'import/differs' });
    await target.query('UPDATE seen SET i = 1');
    await same();
    await target.close();
    await source.close();
  });

  await t.test('what fails later says while what', async () => {
    const progress = createProgress(() => {});
    const signal = AbortSignal.timeout(60_000);
    const spec = { count: 1, at: '', source: admin.server };
    const target = { socketDir: '/nonexistent', user: 'nobody', password: '' };
    const options = {
      spec,
      source: admin.server,
      password: admin.password,
      target,
      database: 'd',
      role: 'r',
      roomBytes: room,
      progress,
      signal,
    };
    await assert.rejects(runImport(options), { code: 'import/failed' });
    // It waits for this lock when its server goes away.
    const holder = await openSource(admin.server, admin.password);
    await holder.query('BEGIN; LOCK TABLE seen IN ACCESS EXCLUSIVE MODE');
    const running = runImport(options);
    const lost = assert.rejects(running, (error: Error & { code: string }) => {
      assert.equal(error.code, 'import/lost');
      assert.match(error.message, /the source went away while looking at the source/);
      return true;
    });
    for (;;) {
      const [waits] = await holder.query(`SELECT FROM pg_locks WHERE NOT granted`);
      if (waits !== undefined) break;
    }
    await server.kill();
    await lost;
    await holder.close();
  });
});

test('a source that lets one in and never answers is not looked at for ever', {
  timeout: 30_000,
}, async () => {
  await using server = await scriptedPostgres(() => {});
  const source = {
    host: '127.0.0.1',
    port: server.port,
    user: 'u',
    database: 'd',
    sslmode: 'disable',
  } as const;
  await assert.rejects(openSnapshot({ server: source, password: 'p' }, {}, 2 ** 40, 200), /timeout/);
});
