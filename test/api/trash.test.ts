import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { DeletedView, TrashView } from '../../src/model/view.ts';
import { createBranch } from '../../src/rules/branches.ts';
import { testApi } from '../support/api.ts';
import { applied } from '../support/documents.ts';

const projects = '/api/v1/projects';
const branches = `${projects}/default/branches`;
const trash = '/api/v1/trash';

test('a deleted branch is in the trash, and nowhere else, until it is restored', async () => {
  await using api = await testApi();
  const { id } = await api.client.branches.create('default', { name: 'fix' });
  api.sizes.set(id, { bytes: 4096, exact: true });
  const deleted = await api.client.branches.delete('default', 'fix');
  assert.equal(deleted.state, 'trashed');
  const { at, until } = deleted.trashed!;
  assert.equal(Date.parse(until) - Date.parse(at), 86_400_000);
  assert.deepEqual(await api.client.trash.list(), [
    { id, kind: 'branch', name: 'fix', project: 'default', at, until, bytes: 4096 },
  ] satisfies TrashView[]);
  assert.deepEqual(
    (await api.client.branches.list('default')).map(b => b.name),
    ['main'],
  );
  assert.equal((await api.client.projects.list())[0]?.branches, 1);
  for (const path of [`${branches}/fix`, `${branches}/${id}/credentials`])
    assert.match(await api.refused('GET', path), /^404 api\/not-found: branch/);
  await api.client.branches.create('default', { name: 'fix' });
  assert.match(
    await api.refused('POST', `${trash}/${id}/restore`, {}),
    /^409 trash\/name-taken: there is a branch named "fix" again; restore it under another name: "offshoot trash restore br\w+ --as NAME"$/,
  );
  assert.match(
    await api.refused('POST', `${trash}/${id}/restore`, { to: 'x' }),
    /^400 api\/bad-request: .*to/,
  );
  const back = await api.client.trash.restore('fix', { as: 'fix-old' });
  assert.deepEqual([back.name, back.object, back.project], ['fix-old', id, 'default']);
  assert.equal((await api.client.branches.get('default', 'fix-old')).state, 'creating');
  assert.deepEqual(await api.client.trash.list(), []);
});

test('a deleted project frees its name at once', async () => {
  await using api = await testApi();
  await api.client.projects.create({ name: 'shop', database: 'store' });
  await api.client.branches.create('shop', { name: 'fix' });
  await api.client.branches.delete('shop', 'fix');
  const { trashed } = (await api.request('DELETE', `${projects}/shop`)).json() as DeletedView;
  assert.match(trashed!.id, /^shop~/);
  await api.client.projects.create({ name: 'shop' });
  assert.deepEqual(
    (await api.client.trash.list()).map(e => [e.kind, e.name, e.project]),
    [
      ['branch', 'fix', 'shop'],
      ['project', 'shop', null],
    ],
  );
  assert.match(await api.refused('GET', `${projects}/${trashed!.id}`), /^404/);
  assert.match(
    await api.refused('POST', `${trash}/fix/restore`, {}),
    /^409 trash\/parent-trashed: .*project shop/,
  );
  const back = await api.client.trash.restore('shop', { as: 'shop-old' });
  assert.deepEqual([back.name, back.object], ['shop-old', 'shop-old']);
  assert.deepEqual(
    (await api.client.projects.list()).map(p => [p.name, p.database]),
    [
      ['default', 'app'],
      ['shop', 'app'],
      ['shop-old', 'store'],
    ],
  );
  assert.equal((await api.client.trash.restore('fix')).project, 'shop-old');
});

test('emptying, in part and whole', async () => {
  await using api = await testApi();
  for (const name of ['a', 'b', 'c']) {
    await api.client.branches.create('default', { name });
    await api.client.branches.delete('default', name);
  }
  assert.equal((await api.client.trash.empty('b')).name, 'b');
  assert.match(
    await api.refused('DELETE', `${trash}/b`),
    /^404 .*trash entry "b" .*; see "offshoot trash list"$/,
  );
  assert.deepEqual(await api.client.trash.emptyAll(), { entries: 2 });
  assert.deepEqual(await api.client.trash.list(), []);
  const going = api.store.list('branch').filter(b => b.deletedAt !== undefined);
  assert.equal(going.length, 3);
});

test('what belongs to a sandbox goes at once, and everything where there is no trash', async () => {
  await using api = await testApi();
  await applied(api.store, 'x');
  await createBranch(api.store, { project: 'default', name: 'sb-x', parent: 'main', owner: 'sandbox/x' });
  const owned = await api.client.branches.delete('default', 'sb-x', { force: true });
  assert.equal(owned.state, 'deleting');
  await using none = await testApi({ trashMs: 0 });
  await none.client.branches.create('default', { name: 'fix' });
  const { id, state } = await none.client.branches.delete('default', 'fix');
  assert.equal(state, 'deleting');
  await none.store.remove('branch', id);
  assert.equal((await none.client.projects.delete('default')).trashed, null);
});
