import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, statSync } from 'node:fs';
import { chown, mkdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { openServers } from '../../../src/drivers/postgres/server.ts';
import { withSession } from '../../../src/drivers/postgres/session.ts';
import { runAs } from '../../../src/drivers/postgres/user.ts';
import { type ExecError, exec } from '../../../src/lib/exec.ts';
import { identify } from '../../../src/lib/process.ts';
import { scramVerifier } from '../../../src/lib/scram.ts';
import { until } from '../../../src/lib/wait.ts';
import { adminRole, type RolePasswords } from '../../../src/model/branch.ts';
import {
  asSuperuser,
  type TestPlace,
  type TestServers,
  testCtx,
  testPlace,
  testServers,
} from '../../support/postgres.ts';
import { testProcesses } from '../../support/processes.ts';

describe('PostgreSQL servers', () => {
  let place: TestPlace;
  let s: TestServers;
  let dataDir: string;
  const ctx = testCtx;
  const ensure = () => s.servers.ensure('b1', { dataDir, name: 'feature-x' }, ctx());
  const sql = (text: string, options = s.options) =>
    asSuperuser(options, 'b1', async client => (await client.query(text)).rows);
  const dead = (pid: number) =>
    until(() => (identify(pid) === undefined ? true : undefined), { what: 'it ends', deadlineMs: 60_000 });

  before(async () => {
    place = await testPlace();
    s = await testServers(place);
    dataDir = join(place.home, 'pgdata');
    await mkdir(dataDir, { mode: 0o700 });
    await chown(dataDir, place.user.uid, place.user.gid);
    await s.servers.initialise(dataDir, ctx());
  });
  after(async () => {
    await s?.[Symbol.asyncDispose]();
    await place?.[Symbol.asyncDispose]();
  });

  it('starts a server that knows its branch and is reached by its socket and password only', async () => {
    const { socket, pid } = await ensure();
    assert.deepEqual(await s.servers.observe('b1', ctx()), { socket, pid, granted: false });
    const [row] = await sql(
      `SELECT current_setting('offshoot.branch') AS branch, current_setting('offshoot.branch_name') AS name,
              current_setting('listen_addresses') AS tcp,
              (SELECT string_agg(concat_ws(' ', type, database, user_name, auth_method), ',') FROM pg_hba_file_rules) AS hba`,
    );
    assert.deepEqual(row, {
      branch: 'b1',
      name: 'feature-x',
      tcp: '',
      hba: 'local {all} {all} scram-sha-256',
    });
    const directory = await stat(dirname(socket));
    assert.deepEqual([directory.uid, directory.mode & 0o777], [place.user.uid, 0o700]);
    await assert.rejects(sql('SELECT 1', { ...s.options, adminSecret: 'guess' }), { code: '28P01' });
  });

  it('leaves a running server alone, also when another process started it', async () => {
    const { pid } = await ensure();
    assert.equal((await ensure()).pid, pid);
    const later = await openServers(s.options);
    assert.equal((await later.ensure('b1', { dataDir, name: 'feature-x' }, ctx())).pid, pid);
    assert.deepEqual(await later.list(ctx()), ['b1']);
  });

  it('tells of a server that ended by itself, to whoever adopted it too, and starts it again', async () => {
    const { pid } = await ensure();
    await sql('CREATE TABLE kept AS SELECT 1 AS n');
    const adopter = await openServers(s.options);
    await adopter.ensure('b1', { dataDir, name: 'feature-x' }, ctx());
    const told = [s.servers, adopter].map(servers => new Promise<string>(r => void servers.onExit(r)));
    // A backend that computes does not notice that its postmaster has gone, and would keep a new one from starting.
    const busy = sql('DO $$ BEGIN LOOP NULL; END LOOP; END $$').catch((error: unknown) => error);
    await until(async () => (await sql(`SELECT 1 FROM pg_stat_activity WHERE query LIKE 'DO%'`))[0], {
      what: 'the backend is busy',
      deadlineMs: 60_000,
    });
    process.kill(pid, 'SIGKILL');
    assert.deepEqual(await Promise.all(told), ['b1', 'b1']);
    assert.equal(await s.servers.observe('b1', ctx()), undefined);
    assert.notEqual((await ensure()).pid, pid);
    assert.deepEqual(await sql('SELECT n FROM kept'), [{ n: 1 }]);
    assert.ok((await busy) instanceof Error);
  });

  it('ends as a whole, and tells, when one of its processes is killed', async () => {
    const { pid } = await ensure();
    const told = new Promise<string>(resolve => void s.servers.onExit(resolve));
    const killed = sql('SELECT pg_backend_pid() AS backend, pg_sleep(60)').catch((error: Error) => error);
    const [{ backend }] = await until(
      async () => {
        const rows = await sql(`SELECT pid AS backend FROM pg_stat_activity WHERE wait_event = 'PgSleep'`);
        return rows.length > 0 ? (rows as [{ backend: number }]) : undefined;
      },
      { what: 'it sleeps', deadlineMs: 60_000 },
    );
    process.kill(backend, 'SIGKILL');
    assert.equal(await told, 'b1');
    assert.ok((await killed) instanceof Error);
    await dead(pid);
    assert.equal((await s.servers.observe('b1', ctx()))?.pid, undefined);
    await ensure();
    assert.deepEqual(await sql('SELECT 1 AS one'), [{ one: 1 }]);
  });

  it('outlives the daemon that started it', async () => {
    await s.servers.remove('b1', ctx());
    const home = join(place.home, 'of-a-daemon-that-dies');
    await mkdir(home);
    const { processes: _, ...options } = { ...s.options, home, instance: home };
    const starter = join(import.meta.dirname, '../../support/start-and-die.ts');
    const child = exec(process.execPath, [starter, 'b1', dataDir], {
      env: { PATH: process.env.PATH, OPTIONS: JSON.stringify(options) },
    });
    await assert.rejects(child, (error: ExecError) => error.signalName === 'SIGKILL');
    const processes = await testProcesses(home);
    const later = await openServers({ ...options, processes });
    try {
      const left = await later.observe('b1', ctx());
      assert.ok(left !== undefined);
      assert.equal((await later.ensure('b1', { dataDir, name: 'feature-x' }, ctx())).pid, left.pid);
      await later.remove('b1', ctx());
      assert.equal(identify(left.pid), undefined);
    } finally {
      await processes.close();
    }
  });

  it('does not touch a server that somebody else runs on the data directory', async () => {
    const { pid } = await ensure();
    const home = join(place.home, 'of-a-stranger');
    await mkdir(home);
    await using stranger = await testServers({ ...place, home, runtimeDir: home });
    await assert.rejects(stranger.servers.ensure('b1', { dataDir, name: 'x' }, ctx()), {
      code: 'postgres/start-failed',
      message: /lock file "postmaster.pid" already exists/,
    });
    await stranger.servers.remove('b1', ctx());
    assert.equal((await s.servers.observe('b1', ctx()))?.pid, pid);
  });

  it('has a process before it has data, when it is told that a branch is coming', async () => {
    await s.servers.remove('b1', ctx());
    s.servers.prepare!('b1', { name: 'feature-x' });
    const part = 'postgres/b1';
    const held = await until(async () => (await s.options.processes.members(part))[0], {
      what: 'it is there',
      deadlineMs: 60_000,
    });
    assert.equal(await s.servers.observe('b1', ctx()), undefined);
    assert.equal((await ensure()).pid, held);
    s.servers.prepare!('b1', { name: 'feature-x' });
    assert.equal((await ensure()).pid, held, 'what runs is left alone');

    await s.servers.remove('b1', ctx());
    s.servers.prepare!('b1', { name: 'another' });
    await ensure();
    assert.deepEqual(await sql(`SELECT current_setting('offshoot.branch_name') AS name`), [
      { name: 'feature-x' },
    ]);

    await s.servers.remove('b1', ctx());
    s.servers.prepare!('b1', { name: 'never' });
    await s.servers.remove('b1', ctx());
    assert.deepEqual(s.options.processes.list('postgres'), []);
  });

  it('is not misled by the pid of a dead server that somebody else has now', async () => {
    await s.servers.remove('b1', ctx());
    await writeFile(join(dataDir, 'postmaster.pid'), `${process.pid}\n${dataDir}\n1\n5432\n\n\n\nready\n`);
    const { pid } = await ensure();
    assert.notEqual(pid, process.pid);

    // In a pod that was started again pids are small and come back soon, and another server's is of the same user.
    await s.servers.remove('b1', ctx());
    const other = spawn('sleep', ['600'], { ...runAs(s.options.user), stdio: 'ignore' });
    await once(other, 'spawn');
    try {
      const socketDir = join(s.options.runtimeDir, 's', 'b1');
      await mkdir(socketDir, { recursive: true });
      const left = `${other.pid}\n${dataDir}\n1\n5432\n${socketDir}\n`;
      await writeFile(join(socketDir, '.s.PGSQL.5432.lock'), left, { mode: 0o644 });
      assert.notEqual((await ensure()).pid, other.pid);
    } finally {
      other.kill();
    }
  });

  it('flushes once for all copies that were asked for before', async () => {
    await ensure();
    const flushes = async () =>
      Number((await sql('SELECT num_requested AS n FROM pg_stat_checkpointer'))[0]?.n);
    const copy = async (since?: number) => (await s.servers.live('b1', ctx(), since))!.checkpoint(ctx());
    /** More than a copy is left to recover from. */
    const writeMuch = () => sql(`SELECT pg_logical_emit_message(false, 'test', repeat('x', 600 * 1024))`);
    const asked = performance.now();
    const before = await flushes();
    await writeMuch();
    await copy(asked);
    await copy(asked);
    // PostgreSQL counts one a moment after it has said that it is done.
    const counted = (more: number, what: string) =>
      until(async () => ((await flushes()) >= before + more ? true : undefined), {
        what,
        deadlineMs: 60_000,
      });
    await counted(1, 'the flush is counted');
    await writeMuch();
    await copy(performance.now());
    await counted(2, 'what was asked for since then needs another one');
    await writeMuch();
    await copy();
    await counted(3, 'and so does what is asked for now');
    await writeMuch();
    const together = performance.now();
    await Promise.all([copy(together), copy(together), copy(together)]);
    await counted(4, 'copies that are made together share one');
    assert.equal(await flushes(), before + 4, 'none was made twice');
  });

  it('makes no checkpoint for a copy that has little to recover from, but writes down all that was said to be committed', async () => {
    await ensure();
    await sql('CREATE TABLE IF NOT EXISTS late (n int)');
    await sql('CHECKPOINT');
    const place = async () => {
      const [row] =
        await sql(`SELECT redo_lsn::text AS redo, pg_current_wal_flush_lsn() - redo_lsn AS written,
        pg_current_wal_flush_lsn() >= pg_current_wal_insert_lsn() AS flushed FROM pg_control_checkpoint()`);
      return row!;
    };
    await sql(`ALTER SYSTEM SET wal_writer_delay = '10s'`);
    await sql('SELECT pg_reload_conf()');
    const before = await place();
    await sql('SET synchronous_commit = off; INSERT INTO late SELECT generate_series(1, 100)');
    assert.equal((await place()).flushed, false, 'nobody has written it down yet');
    await (await s.servers.live('b1', ctx()))!.checkpoint(ctx());
    const after = await place();
    assert.deepEqual([after.redo, after.flushed], [before.redo, true]);
    await sql('ALTER SYSTEM RESET wal_writer_delay');
    await sql('SELECT pg_reload_conf()');
  });

  it('asks a server that is copied again and again in one session, which is nobody who uses it', async () => {
    await ensure();
    const live = async () => (await s.servers.live('b1', ctx()))!.checkpoint(ctx());
    const ours = async () =>
      (
        await sql(
          `SELECT pid FROM pg_stat_activity WHERE query LIKE '%pg_control_checkpoint()' AND pid <> pg_backend_pid()`,
        )
      ).map(({ pid }) => Number(pid));
    await Promise.all([live(), live(), live()]);
    const [one, ...more] = await ours();
    assert.deepEqual(more, []);
    await live();
    assert.deepEqual(await ours(), [one]);
    await sql(`SELECT pg_terminate_backend(${one})`);
    await live();
    assert.notDeepEqual(await ours(), [one]);
    assert.equal(await s.servers.users('b1', ctx()), 0);
    assert.deepEqual(await ours(), []);
  });

  it('grants access whatever the owner has set for his database, or done with it', async () => {
    await ensure();
    const done = [
      'SELECT 1',
      'ALTER DATABASE app SET role = app',
      'ALTER DATABASE app SET standard_conforming_strings = off',
      'ALTER DATABASE app ALLOW_CONNECTIONS false',
      'DROP DATABASE app',
    ];
    for (const [round, text] of done.entries()) {
      if (round > 0) await sql(text);
      const verifier = await scramVerifier(`password-${round}`);
      await s.servers.grant('b1', { role: 'app', database: 'app', verifier, inherited: round > 0 }, ctx());
      const rows = await sql(
        "SELECT rolpassword FROM pg_authid, pg_database WHERE rolname = 'app' AND datname = 'app'",
      );
      assert.deepEqual(rows, [{ rolpassword: verifier }], text);
    }
  });

  it('ends, keeps or gives the passwords of other roles, as it is told; one that somebody has set stays', async () => {
    await ensure();
    await sql('CREATE ROLE team LOGIN; CREATE ROLE bare LOGIN; CREATE ROLE nobody NOLOGIN');
    const theirs = await scramVerifier('theirs');
    const setTheirs = (role: string) => sql(`ALTER ROLE ${role} PASSWORD '${theirs}'`);
    const forget = () => sql(`ALTER ROLE ${adminRole} RESET offshoot.adopted`);
    const granted = async (others: RolePasswords, inherited = true) => {
      const verifier = await scramVerifier(`${others}-${Math.random()}`);
      const access = { role: 'app', database: 'app', verifier, inherited, others };
      const passwordless = await s.servers.grant('b1', access, ctx());
      assert.equal(await s.servers.grant('b1', access, ctx()), passwordless);
      assert.equal((await s.servers.observe('b1', ctx()))?.passwordless ?? 0, passwordless);
      const rows = await sql(
        "SELECT rolname, rolpassword FROM pg_authid WHERE rolname IN ('app', 'team', 'bare', 'nobody')",
      );
      const { app, ...more } = Object.fromEntries(rows.map(row => [row.rolname, row.rolpassword]));
      assert.equal(app, verifier);
      const words = Object.entries(more).map(([role, password]) => [
        role,
        password === verifier ? 'ours' : password === theirs ? 'theirs' : password,
      ]);
      return { passwordless, ...Object.fromEntries(words) };
    };
    await setTheirs('team');
    assert.deepEqual(await granted('kept'), { passwordless: 1, team: 'theirs', bare: null, nobody: null });
    await forget();
    assert.deepEqual(await granted('ended'), { passwordless: 2, team: null, bare: null, nobody: null });
    await setTheirs('team');
    assert.deepEqual(await granted('branch'), {
      passwordless: 0,
      team: 'theirs',
      bare: 'ours',
      nobody: null,
    });
    await forget();
    assert.deepEqual(await granted('branch'), { passwordless: 0, team: 'ours', bare: 'ours', nobody: null });
    assert.deepEqual(await granted('branch'), { passwordless: 0, team: 'ours', bare: 'ours', nobody: null });
    await setTheirs('bare');
    assert.deepEqual(await granted('branch', false), {
      passwordless: 0,
      team: 'ours',
      bare: 'theirs',
      nobody: null,
    });
    // What was given is taken again; what somebody has set himself is his.
    assert.deepEqual(await granted('ended'), { passwordless: 1, team: null, bare: 'theirs', nobody: null });
  });

  it('starts a server again whose socket was swept away', async () => {
    const { pid, socket } = await ensure();
    await rm(dirname(socket), { recursive: true });
    assert.deepEqual(await s.servers.list(ctx()), ['b1']);
    assert.notEqual((await ensure()).pid, pid);
    await sql('SELECT 1');
  });

  it('removes server, socket and log, keeps the data, and does not mind doing it twice', async () => {
    const { pid, socket } = await ensure();
    const log = join(place.home, 'logs', 'postgres', 'b1.log');
    assert.match(await readFile(log, 'utf8'), /ready to accept connections/);
    await s.servers.remove('b1', ctx());
    assert.equal(identify(pid), undefined);
    assert.deepEqual([dirname(socket), log, join(dataDir, 'PG_VERSION')].map(existsSync), [
      false,
      false,
      true,
    ]);
    await s.servers.remove('b1', ctx());
    assert.deepEqual(await s.servers.list(ctx()), []);
    assert.equal(await s.servers.live('b1', ctx()), undefined);
    await assert.rejects(sql('SELECT 1'), { code: 'ENOENT' });
  });

  it('removes a server that has lost its files', async () => {
    const { pid, socket } = await ensure();
    await rm(dirname(socket), { recursive: true });
    await s.servers.remove('b1', ctx());
    assert.equal(identify(pid), undefined);
  });

  it('says why a server did not start', async () => {
    const version = join(dataDir, 'PG_VERSION');
    const right = await readFile(version);
    await writeFile(version, '9.6\n');
    try {
      await assert.rejects(ensure(), {
        code: 'postgres/start-failed',
        message:
          'the PostgreSQL server of branch "b1" did not start: it ended: database files are incompatible with server',
        output: /initialized by PostgreSQL version 9\.6/,
      });
    } finally {
      await writeFile(version, right);
    }
    assert.deepEqual(await s.servers.observe('b1', ctx()), undefined);
  });

  it('cuts a log that grows too long while it is written, and keeps its end', async () => {
    const log = join(place.home, 'logs', 'postgres', 'b1.log');
    await ensure();
    await writeFile(log, Buffer.alloc(11 * 2 ** 20, 'x'));
    // It may be cut while it is still being written, and then once more.
    const older = () => statSync(`${log}.1`, { throwIfNoEntry: false })?.size;
    await until(() => (statSync(log).size < 10_000 && older() === 10 * 2 ** 20) || undefined, {
      what: 'the log is cut, and its end kept',
      deadlineMs: 60_000,
    });
    await s.servers.remove('b1', ctx());
    assert.equal(existsSync(`${log}.1`), false);
  });

  it('keeps the log of a server small that does not run, also when an earlier daemon had it', async () => {
    await using elsewhere = await testPlace();
    const logs = join(elsewhere.home, 'logs', 'postgres');
    await mkdir(logs, { recursive: true });
    const log = join(logs, 'asleep.log');
    await writeFile(log, Buffer.alloc(11 * 2 ** 20, 'x'));
    await using _ = await testServers(elsewhere);
    await until(() => statSync(`${log}.1`, { throwIfNoEntry: false }), {
      what: 'the log is cut',
      deadlineMs: 60_000,
    });
  });

  it('logs errors without the statements that made them, which may be of any size', async () => {
    await ensure();
    const log = join(place.home, 'logs', 'postgres', 'b1.log');
    const before = (await stat(log)).size;
    await assert.rejects(sql(`SELECT 1 / 0 /* ${'long '.repeat(50_000)} */`), { code: '22012' });
    const added = (await readFile(log, 'utf8')).slice(before);
    assert.match(added, /division by zero/);
    assert.ok(added.length < 2_000, `${added.length} bytes`);
  });

  it('gives up a session when it is aborted', async () => {
    await ensure();
    const abort = new AbortController();
    const { adminSecret } = s.options;
    const address = {
      id: 'b1',
      socketDir: join(s.options.runtimeDir, 's', 'b1'),
      database: 'postgres',
      adminSecret,
    };
    const sleeping = withSession(
      address,
      async query => {
        const sleep = query('SELECT pg_sleep(60)');
        abort.abort(new Error('enough'));
        return sleep;
      },
      { ...ctx(), signal: abort.signal },
    );
    await assert.rejects(sleeping, /enough/);
  });

  it('refuses socket paths that are too long for the system', async () => {
    const runtimeDir = join(place.runtimeDir, 'long'.repeat(25));
    const servers = await openServers({ ...s.options, runtimeDir });
    await assert.rejects(servers.ensure('b1', { dataDir, name: 'feature-x' }, ctx()), {
      code: 'postgres/socket-path',
    });
  });

  it('stops all servers when it is closed', async () => {
    const { pid } = await ensure();
    const later = await openServers(s.options);
    await later.close();
    await dead(pid);
    assert.deepEqual(await s.servers.list(ctx()), []);
  });
});
