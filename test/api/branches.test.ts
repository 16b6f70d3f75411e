/** Projects and branches over HTTP. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { BranchInsight } from '../../src/model/insight.ts';
import type { BranchView, ProjectView } from '../../src/model/view.ts';
import { createBranch } from '../../src/rules/branches.ts';
import type { Stored } from '../../src/store/contract.ts';
import { testApi } from '../support/api.ts';
import { applied } from '../support/documents.ts';
import { whenObject } from '../support/when.ts';

const projects = '/api/v1/projects';
const branches = `${projects}/default/branches`;

test('projects are made, listed and deleted', async () => {
  await using api = await testApi();
  const made = await api.request('POST', projects, { body: { name: 'shop', database: 'store' } });
  assert.equal(made.status, 201);
  const { createdAt, ...rest } = made.json() as ProjectView;
  assert.deepEqual(rest, {
    name: 'shop',
    database: 'store',
    role: 'app',
    branches: 1,
    branchLimitBytes: null,
    maxBranches: null,
    sleepAfterSeconds: 300,
    rolePasswords: 'ended',
  });
  for (const mode of ['kept', 'branch', 'ended'] as const)
    assert.equal((await api.client.projects.rolePasswords('shop', mode)).rolePasswords, mode);
  assert.deepEqual((await api.client.projects.get('shop')).rolePasswords, 'ended');
  assert.ok(Date.parse(createdAt) > 0);
  assert.deepEqual((await api.request('GET', `${projects}/shop`)).json(), made.json());
  assert.deepEqual(
    (await api.client.projects.list()).map(p => p.name),
    ['default', 'shop'],
  );
  const deleted = await api.request('DELETE', `${projects}/shop?now=true`);
  assert.deepEqual([deleted.status, deleted.json()], [202, { name: 'shop', trashed: null }]);
  assert.ok(api.store.get('project', 'shop')!.deletedAt);
});

test('projects that are refused', async () => {
  await using api = await testApi();
  assert.match(
    await api.refused('POST', projects, { name: 'default' }),
    /^409 project\/exists: project "default"/,
  );
  assert.match(
    await api.refused('POST', projects, { name: 'A B' }),
    /^422 branch\/bad-name: "A B" .* project name/,
  );
  assert.match(
    await api.refused('POST', projects, { name: 'x', role: 'pg_x' }),
    /^422 branch\/bad-name: "pg_x"/,
  );
  assert.match(await api.refused('POST', projects, { name: 'x', size: 1 }), /^400 api\/bad-request: .*size/);
  assert.match(
    await api.refused('GET', `${projects}/nix`),
    /^404 api\/not-found: project "nix" does not exist; see "offshoot project list"$/,
  );
  assert.match(await api.refused('DELETE', `${projects}/nix`), /^404 api\/not-found/);
  await api.client.branches.create('default', { name: 'fix' });
  assert.match(
    await api.refused('DELETE', `${projects}/default`),
    /^409 project\/not-empty: project "default" still has branches: fix; delete them first$/,
  );
});

test('branches are made, listed, read by name or id, and deleted', async () => {
  await using api = await testApi();
  const made = await api.request('POST', branches, { body: { name: 'fix' } });
  assert.equal(made.status, 201);
  const fix = made.json() as BranchView;
  const { id, createdAt, ...rest } = fix;
  assert.deepEqual(rest, {
    name: 'fix',
    project: 'default',
    parent: 'main',
    owner: null,
    state: 'creating',
    reason: 'InProgress',
    message: 'being created',
    conditions: [],
    limitBytes: null,
    sleepAfterSeconds: null,
    silentAfterSeconds: null,
    port: null,
    protected: false,
    scheduledDeleteTime: null,
  });
  assert.deepEqual((await api.request('GET', `${branches}/fix`)).json(), fix);
  assert.deepEqual((await api.request('GET', `${branches}/${id}`)).json(), fix);
  const list = (await api.request('GET', branches)).json() as BranchView[];
  assert.deepEqual(
    list.map(b => [b.name, b.parent]),
    [
      ['main', null],
      ['fix', 'main'],
    ],
  );
  for (const again of [false, true]) {
    const deleted = await api.request('DELETE', `${branches}/fix?now=true`);
    assert.deepEqual(
      [deleted.status, (deleted.json() as BranchView).state],
      [202, 'deleting'],
      String(again),
    );
  }
});

test('names as git has them go through every path', async () => {
  await using api = await testApi();
  const { branches } = api.client;
  const names = ['feature/Login-2', "it's$(x)#1%2F&;|<>!{}+=,", 'ブランチ/ä', 'ä'.repeat(127)];
  for (const name of names) {
    const { id } = await branches.create('default', { name });
    assert.match(id, /^br[a-z0-9]+$/);
    const below = await branches.create('default', { name: `${name.slice(0, 9)}/2`, parent: name });
    assert.equal(below.parent, name);
    assert.equal((await branches.get('default', name)).id, id);
    assert.match((await branches.credentials('default', name)).user, new RegExp(`^app[.]${id}$`));
    assert.equal((await branches.rotatePassword('default', name)).name, name);
    assert.equal((await branches.delete('default', below.name)).state, 'trashed');
    assert.equal((await branches.delete('default', name)).state, 'trashed');
  }
});

test('branches that are refused', async () => {
  await using api = await testApi();
  await api.client.branches.create('default', { name: 'fix' });
  const refused = (body: unknown) => api.refused('POST', branches, body);
  assert.match(await refused({ name: 'fix' }), /^409 branch\/exists: branch "fix" already exists/);
  assert.match(await refused({ name: 'My Fix' }), /^422 branch\/bad-name: .*; did you mean "my-fix"\?$/);
  assert.match(await refused({ name: 'x'.repeat(256) }), /^422 branch\/bad-name/);
  assert.match(
    await refused({ name: 'b', parent: 'nix' }),
    /^422 branch\/parent-missing: parent branch "nix"/,
  );
  assert.match(await refused({ name: 7 }), /^400 api\/bad-request: .*name/);
  assert.match(await api.refused('GET', `${projects}/nix/branches`), /^404 .*project "nix"/);
  assert.match(await api.refused('POST', `${projects}/nix/branches`, { name: 'b' }), /^404 .*project "nix"/);
  assert.match(
    await api.refused('GET', `${branches}/nix`),
    /^404 .*branch "nix" .*; see "offshoot branch list"/,
  );
  assert.match(await api.refused('DELETE', `${branches}/nix`), /^404/);
  assert.match(await api.refused('DELETE', `${branches}/main`), /^409 branch\/is-root/);
  await api.client.branches.create('default', { name: 'child', parent: 'fix' });
  assert.match(await api.refused('DELETE', `${branches}/fix`), /^409 branch\/has-children: .*: child/);
  assert.match(
    await api.refused('DELETE', `${branches}/child?force=maybe`),
    /^400 api\/bad-request: .*force/,
  );
});

test('a branch goes with what grows from it when asked to', async () => {
  await using api = await testApi();
  await api.client.branches.create('default', { name: 'fix' });
  await api.client.branches.create('default', { name: 'child', parent: 'fix' });
  assert.match(await api.refused('DELETE', `${branches}/fix`), /or repeat with --recursive/);
  const gone = await api.client.branches.delete('default', 'fix', { recursive: true, now: true });
  assert.equal(gone.state, 'deleting');
  assert.equal((await api.client.branches.get('default', 'child')).state, 'deleting');
});

test('a branch that belongs to a sandbox goes only by force', async () => {
  await using api = await testApi();
  await applied(api.store, 'x');
  await createBranch(api.store, { project: 'default', name: 'sb-x', parent: 'main', owner: 'sandbox/x' });
  assert.match(
    await api.refused('DELETE', `${branches}/sb-x`),
    /^409 branch\/owned: branch "sb-x" belongs to sandbox x; delete sandbox x instead, or repeat with --force$/,
  );
  const forced = await api.client.branches.delete('default', 'sb-x', { force: true });
  assert.deepEqual([forced.state, forced.owner], ['deleting', 'sandbox/x']);
});

test('another start, which a new password does not make forgotten', async () => {
  await using api = await testApi();
  const { id } = await api.client.branches.get('default', 'main');
  const status = { state: 'failed', reason: 'R', message: 'it broke', hint: 'h', conditions: [] } as const;
  await api.store.modify('branch', id, () => ({ status: { ...status, observedGeneration: 1 } }));
  const { state, reason, message, hint } = await api.client.branches.restart('default', 'main');
  assert.deepEqual([state, reason, message, hint], ['creating', 'InProgress', 'tried again', undefined]);
  await api.client.branches.rotatePassword('default', 'main');
  assert.equal(api.store.get('branch', id)?.secret.tries, 1);
  assert.match(await api.refused('POST', `${branches}/nix/restart`), /^404/);
});

test('sleep is answered when it is there, or why it is not; wake at once', async () => {
  await using api = await testApi();
  const { id } = await api.client.branches.get('default', 'main');
  const said = { reason: 'R', message: 'm', conditions: [], observedGeneration: 1 } as const;
  const heed = (state: 'asleep' | 'ready' | 'failed', count: number, staysAwake?: string) =>
    api.store.modify('branch', id, ({ spec }) => {
      assert.equal(spec.called?.count, count);
      return { status: { ...said, state, called: count, ...(staysAwake && { staysAwake }) } };
    });
  const heeded = async <T>(answer: Promise<T>, ...how: Parameters<typeof heed>) => {
    answer.catch(() => {});
    const called = (b: Stored<'branch'> | undefined) => b?.spec.called?.count === how[1] || undefined;
    await whenObject(api.store, 'branch', id, called, AbortSignal.timeout(60_000));
    await heed(...how);
    return await answer;
  };
  const main = ['default', 'main'] as const;
  assert.equal((await heeded(api.client.branches.sleep(...main), 'asleep', 1)).state, 'asleep');
  const woken = await api.client.branches.wake(...main);
  assert.deepEqual([woken.state, woken.reason], ['creating', 'Waking']);
  await assert.rejects(heeded(api.client.branches.sleep(...main), 'ready', 3, 'a session is open'), {
    ...{ code: 'branch/stays-awake', message: 'branch "main" stays awake: a session is open' },
  });
  await assert.rejects(heeded(api.client.branches.sleep(...main, { force: true }), 'failed', 4), {
    code: 'branch/failed',
  });
  assert.equal(api.store.get('branch', id)?.spec.called?.force, true);
  assert.match(await api.refused('POST', `${branches}/nix/sleep`), /^404/);

  assert.equal((await api.client.branches.sleepAfter(...main, 0.5)).sleepAfterSeconds, 0.5);
  assert.equal((await api.client.branches.sleepAfter(...main, null)).sleepAfterSeconds, null);
  assert.match(
    await api.refused('PUT', `${branches}/main/sleep-after`, { sleepAfterSeconds: 700_000 }),
    /^4/,
  );
  assert.equal((await api.client.projects.get('default')).sleepAfterSeconds, 300);
  const limited = await api.client.projects.limit('default', { sleepAfterSeconds: 0 });
  assert.equal(limited.sleepAfterSeconds, 0);
  assert.equal(
    (await api.client.projects.limit('default', { sleepAfterSeconds: null })).sleepAfterSeconds,
    300,
  );
});

test('a branch has a port of its own where there is one to be had', async () => {
  const opened: string[] = [];
  const isFree = async (port: number) => port !== 7432;
  const problem = (id: string) => (id === opened[0] ? 'it is taken' : undefined);
  await using api = await testApi({ ports: { isFree, opened: async id => opened.push(id), problem } });
  const main = ['default', 'main'] as const;
  const refused = (code: string, port: number, branch = 'main', message = /./) =>
    assert.rejects(api.client.branches.port('default', branch, port), { code, message });
  for (const port of [80, 65_536, 5442.5]) await refused('branch/bad-port', port);
  await refused('branch/port-taken', 7432, 'main', /7432 cannot be had: another program listens there/);
  const { id } = await api.client.branches.port(...main, 5442);
  assert.deepEqual(opened, [id]);
  assert.equal((await api.client.branches.port(...main, 5442)).port, 5442);
  assert.equal((await api.client.branches.get(...main)).portProblem, 'it is taken');
  await api.client.branches.create('default', { name: 'other' });
  await refused('branch/port-taken', 5442, 'other', /: branch main of project default has it$/);
  assert.equal((await api.client.branches.port(...main, null)).port, null);
  assert.equal((await api.client.branches.port('default', 'other', 5442)).port, 5442);
  await using cluster = await testApi();
  const silent = async (seconds: number | null) =>
    (await api.client.branches.silentAfter(...main, seconds)).silentAfterSeconds;
  assert.deepEqual([await silent(0.5), await silent(null), await silent(0)], [0.5, null, null]);
  await assert.rejects(silent(700_000), /^OffshootError/);
  await assert.rejects(cluster.client.branches.silentAfter(...main, 1), { code: 'branch/silence-not-here' });
  await assert.rejects(cluster.client.branches.port(...main, 5442), { code: 'branch/port-not-here' });
});

test('credentials, and a new password', async () => {
  await using api = await testApi();
  const { id } = await api.client.branches.get('default', 'main');
  const { password } = api.store.get('branch', id)!.secret;
  assert.deepEqual(await api.client.branches.credentials('default', 'main'), {
    host: '127.0.0.1',
    port: 7432,
    user: `app.${id}`,
    password,
    database: 'app',
    connectionString: `postgresql://app.${id}:${password}@127.0.0.1:7432/app`,
  });
  await api.client.branches.rotatePassword('default', 'main');
  const rotated = await api.client.branches.credentials('default', 'main');
  assert.notEqual(rotated.password, password);
  assert.equal(rotated.password, api.store.get('branch', id)!.secret.password);
  // Another number of sessions ends those that are open; unless they are to be kept.
  const { rotation, sessions, verifier } = api.store.get('branch', id)!.secret;
  assert.deepEqual([rotation, sessions], [1, 1]);
  await api.client.branches.rotatePassword('default', 'main', { keepSessions: true });
  const kept = api.store.get('branch', id)!.secret;
  assert.deepEqual([kept.rotation, kept.sessions], [2, 1]);
  assert.notEqual(kept.verifier, verifier);
  assert.match(await api.refused('GET', `${branches}/nix/credentials`), /^404/);
  assert.match(await api.refused('POST', `${branches}/nix/rotate-password`), /^404/);
});

test('branches have sizes, and limits: their own, that of their project, or half of everything', async () => {
  await using api = await testApi();
  const GIB = 2 ** 30;
  await api.client.projects.create({ name: 'shop', branchLimitBytes: 2 * GIB });
  assert.equal((await api.client.projects.list()).find(p => p.name === 'shop')?.branchLimitBytes, 2 * GIB);
  const limits: Record<string, number | null> = {};
  for (const [project, name, limitBytes] of [
    ['shop', 'own', GIB],
    ['shop', 'shared', undefined],
    ['default', 'free', undefined],
  ] as const) {
    const made = await api.client.branches.create(project, { name, limitBytes });
    api.sizes.set(made.id, { bytes: 5, exact: false });
    const { size, limitBytes: own } = await api.client.branches.get(project, name);
    assert.deepEqual([size?.bytes, size?.exact, own], [5, false, limitBytes ?? null]);
    limits[name] = size!.limitBytes;
  }
  assert.deepEqual(limits, { own: GIB, shared: 2 * GIB, free: 2 ** 39 });
  const root = await api.client.branches.get('shop', 'main');
  assert.equal(root.size, undefined, 'nothing is known of it');
  api.sizes.set(root.id, { bytes: 7, exact: true });
  const [main] = await api.client.branches.list('shop');
  assert.deepEqual(main?.size, { bytes: 7, exact: true, limitBytes: null });

  const raised = await api.client.branches.limit('shop', 'shared', 3 * GIB);
  assert.deepEqual([raised.limitBytes, raised.size?.limitBytes], [3 * GIB, 3 * GIB]);
  assert.equal(api.store.get('branch', raised.id)?.generation, 2);
  assert.equal((await api.client.branches.limit('shop', 'shared', null)).size?.limitBytes, 2 * GIB);
});

test('limits that are refused', async () => {
  await using api = await testApi();
  const small = /^422 branch\/bad-limit: a branch cannot have the limit "1 MiB": at least 64 MiB/;
  assert.match(await api.refused('POST', projects, { name: 'x', branchLimitBytes: 2 ** 20 }), small);
  assert.match(await api.refused('POST', branches, { name: 'x', limitBytes: 2 ** 20 }), small);
  assert.match(await api.refused('PUT', `${branches}/main/limit`, { limitBytes: 2 ** 20 }), small);
  assert.match(
    await api.refused('PUT', `${branches}/main/limit`, { limitBytes: -1 }),
    /^400 api\/bad-request/,
  );
  assert.match(
    await api.refused('PUT', `${branches}/nix/limit`, { limitBytes: 2 ** 30 }),
    /^404 api\/not-found/,
  );
});

test('branches have a time to live, a name, a reset and protection by the API', async () => {
  await using api = await testApi();
  const { client } = api;
  assert.match(await api.refused('POST', branches, { name: 'x', ttl: '2y' }), /^422 branch\/bad-ttl: .*"2y"/);
  await applied(api.store, 'sb');
  assert.match(
    await api.refused('POST', branches, { name: 'x', ttl: '2h', owner: 'sandbox/sb' }),
    /^422 branch\/bad-ttl: .*goes with sandbox sb/,
  );
  const made = await client.branches.create('default', { name: 'fix', ttl: '2h' });
  const left = Date.parse(made.scheduledDeleteTime!) - Date.parse(made.createdAt);
  assert.ok(Math.abs(left - 7_200_000) < 60_000, `${left} ms`);
  assert.equal((await client.branches.ttl('default', 'fix', null)).scheduledDeleteTime, null);
  assert.match(
    await api.refused('PUT', `${branches}/main/ttl`, { ttl: '2h' }),
    /branch\/bad-ttl: .*the root/,
  );
  assert.equal((await client.branches.rename('default', 'fix', 'feature/Login-2')).id, made.id);
  assert.match(
    await api.refused('PUT', `${branches}/main/name`, { name: 'x' }),
    /^409 branch\/rename-refused/,
  );
  const path = `${branches}/${encodeURIComponent('feature/Login-2')}`;
  const reset = await api.request('POST', `${path}/reset`);
  assert.deepEqual([reset.status, (reset.json() as BranchView).state], [202, 'creating']);
  assert.match(await api.refused('POST', `${branches}/main/reset`), /^409 branch\/reset-root/);
  assert.match(await api.refused('POST', `${path}/reset`, { to: 'nobody' }), /^422 branch\/not-ancestor/);
  assert.equal((await client.branches.protect('default', made.id, true)).protected, true);
  assert.match(await api.refused('DELETE', path), /^409 branch\/protected: .*unprotect feature\/Login-2/);
  assert.equal((await client.branches.protect('default', made.id, false)).protected, false);
});

test('projects have limits that can be changed one by one', async () => {
  await using api = await testApi();
  await api.client.branches.create('default', { name: 'a' });
  const limited = await api.client.projects.limit('default', { maxBranches: 1, branchLimitBytes: 2 ** 30 });
  assert.deepEqual([limited.maxBranches, limited.branchLimitBytes], [1, 2 ** 30]);
  assert.match(
    await api.refused('POST', branches, { name: 'b' }),
    /^409 project\/full: project "default" has 1 branches beside main, and may have 1; .*--max-branches MORE/,
  );
  const raised = await api.client.projects.limit('default', { maxBranches: null });
  assert.deepEqual([raised.maxBranches, raised.branchLimitBytes], [null, 2 ** 30]);
  await api.client.branches.create('default', { name: 'b' });
});

test('what a server does, and that none runs', async () => {
  const insight = { at: '2030-01-01T00:00:00.000Z' } as BranchInsight;
  for (const wanted of [insight, undefined]) {
    await using api = await testApi(wanted === undefined ? {} : { insight: wanted });
    const seen = await api.client.branches.insight('default', 'main');
    assert.deepEqual([seen.name, seen.insight], ['main', wanted ?? null]);
    assert.match(await api.refused('GET', `${branches}/nix/insight`), /^404 api\/not-found: branch "nix"/);
  }
});
