/** What every server driver must do, real or in memory. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { Access, ServerDriver } from '../../src/drivers/branch-parts.ts';
import type { Ctx } from '../../src/drivers/contract.ts';
import { silentLog } from '../../src/lib/log.ts';
import { scramVerifier } from '../../src/lib/scram.ts';
import { until } from '../../src/lib/wait.ts';
import type { ServerLogQuery } from '../../src/model/log.ts';

export type ServerFixture = AsyncDisposable & {
  readonly servers: ServerDriver;
  /** A data directory of the driver's user: empty, or a copy of one that no server runs on. */
  dataDir(id: string, from?: string): Promise<string>;
  /** Whether a role may log in to a running server. */
  opens(id: string, role: string, password: string): Promise<boolean>;
  /** Gives another role a password, as a client would. */
  addRole(id: string, role: string, password: string): Promise<void>;
  /** Ends a server as a crash does; returns when it is dead, whether the driver has noticed or not. */
  kill(id: string): Promise<void>;
};

export function serverDriverConformance(name: string, open: () => Promise<ServerFixture>): void {
  describe(`server driver ${name}`, () => {
    let f: ServerFixture;
    let servers: ServerDriver;
    before(async () => {
      f = await open();
      servers = f.servers;
      await servers.initialise(await f.dataDir('seed'), ctx());
    });
    after(() => f?.[Symbol.asyncDispose]());

    const ctx = (): Ctx => ({ signal: AbortSignal.timeout(60_000), log: silentLog });
    const access = async (password: string, inherited = false): Promise<Access> => ({
      role: 'app',
      database: 'app',
      verifier: await scramVerifier(password),
      inherited,
    });
    /** A server that runs, on a cluster of its own. */
    const start = async (id: string) => {
      const spec = { dataDir: await f.dataDir(id, 'seed'), name: id };
      await servers.adopt(spec.dataDir, ctx());
      return { spec, seen: await servers.ensure(id, spec, ctx()) };
    };

    it('knows nothing of a server that never was, and ends it without complaint', async () => {
      assert.equal(await servers.observe('none', ctx()), undefined);
      assert.equal(await servers.live('none', ctx()), undefined);
      assert.equal(servers.exits('none').count, 0);
      await servers.stop('none', ctx());
      await servers.remove('none', ctx());
      assert.ok(!(await servers.list(ctx())).includes('none'));
      await assert.rejects(servers.grant('none', await access('x'), ctx()), { code: 'postgres/not-running' });
    });

    it('starts a server once, and shows and lists it', async () => {
      const { spec, seen } = await start('one');
      assert.deepEqual(await servers.observe('one', ctx()), seen);
      assert.deepEqual(await servers.ensure('one', spec, ctx()), seen);
      assert.ok((await servers.list(ctx())).includes('one'));
      assert.ok(await servers.live('one', ctx()));
      assert.equal(seen.granted, false);
    });

    it('tells the newest of what a server says, and follows it until the signal', async () => {
      await start('talker');
      const logs = (query: ServerLogQuery, signal = AbortSignal.timeout(60_000)) =>
        servers.logs('talker', query, { signal, log: silentLog });
      const [last, ...more] = await Array.fromAsync(logs({ lines: 1 }));
      assert.match(last!, /database system is ready to accept connections/);
      assert.deepEqual([more, await Array.fromAsync(logs({ lines: 0 }))], [[], []]);
      const over = new AbortController();
      for await (const line of logs({ lines: 1, follow: true }, over.signal)) {
        assert.equal(line, last);
        over.abort();
      }
      assert.deepEqual(await Array.fromAsync(servers.logs('none', { lines: 5 }, ctx())), []);
    });

    it('lets in whom it was told, with the newest password only', async () => {
      await start('door');
      const first = await access('first');
      await servers.grant('door', first, ctx());
      assert.equal((await servers.observe('door', ctx()))?.granted, true);
      assert.equal(await f.opens('door', 'app', 'first'), true);
      await servers.grant('door', await access('second'), ctx());
      assert.deepEqual(
        [await f.opens('door', 'app', 'first'), await f.opens('door', 'app', 'second')],
        [false, true],
      );
      await servers.grant('door', first, ctx());
      assert.equal(await f.opens('door', 'app', 'first'), true);
    });

    it('ends the passwords that came along with a copy, once', async () => {
      await start('parent');
      await servers.grant('parent', await access('of-the-parent'), ctx());
      await f.addRole('parent', 'guest', 'welcome');
      await servers.stop('parent', ctx());
      const dataDir = await f.dataDir('child', 'parent');
      await servers.adopt(dataDir, ctx());
      await servers.ensure('child', { dataDir, name: 'child' }, ctx());
      await servers.grant('child', await access('mine', true), ctx());
      assert.equal(await f.opens('child', 'app', 'of-the-parent'), false);
      assert.equal(await f.opens('child', 'guest', 'welcome'), false);
      assert.equal(await f.opens('child', 'app', 'mine'), true);
      await f.addRole('child', 'friend', 'hello');
      await servers.grant('child', await access('mine-newer', true), ctx());
      assert.equal(await f.opens('child', 'friend', 'hello'), true);
    });

    it('stops a server in order, and starts it again on the same data', async () => {
      const { spec, seen } = await start('sleeper');
      await servers.grant('sleeper', await access('open-sesame'), ctx());
      assert.equal(await servers.isClean(spec.dataDir), false);
      await servers.stop('sleeper', ctx());
      assert.equal(await servers.isClean(spec.dataDir), true);
      assert.equal(await servers.observe('sleeper', ctx()), undefined);
      assert.ok(!(await servers.list(ctx())).includes('sleeper'));
      await servers.stop('sleeper', ctx());
      assert.notEqual((await servers.ensure('sleeper', spec, ctx())).pid, seen.pid);
      assert.equal(await f.opens('sleeper', 'app', 'open-sesame'), true);
    });

    it('tells of servers that end by themselves, counts them, and forgets that when it stops them', async () => {
      const { spec } = await start('weak');
      const told: string[] = [];
      const stopTelling = servers.onExit(id => void told.push(id));
      for (const count of [1, 2]) {
        await f.kill('weak');
        await until(() => (told.length === count ? true : undefined), {
          what: 'it is told',
          deadlineMs: 60_000,
        });
        const exits = servers.exits('weak');
        assert.equal(exits.count, count);
        assert.ok(exits.livedMs! >= 0);
        assert.equal(await servers.isClean(spec.dataDir), false);
        await servers.ensure('weak', spec, ctx());
      }
      servers.forgive('weak');
      assert.equal(servers.exits('weak').count, 0);
      assert.ok(servers.exits('weak').upMs! >= 0, 'it is watched still');
      await servers.stop('weak', ctx());
      assert.deepEqual([told, servers.exits('weak').count], [['weak', 'weak'], 0]);
      await servers.ensure('weak', spec, ctx());
      stopTelling();
      await f.kill('weak');
      await servers.remove('weak', ctx());
      assert.equal(told.length, 2);
    });

    it('stops all servers when it is closed', async () => {
      await start('last');
      await servers.close();
      assert.equal(await servers.observe('last', ctx()), undefined);
    });
  });
}
