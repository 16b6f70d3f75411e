/** Two requests at once: whichever comes first, the rules hold afterwards. */
import assert from 'node:assert/strict';
import { describe } from 'node:test';
import { storeBaseline } from '../../src/baseline/store-baseline.ts';
import { nowhere } from '../../src/model/folder.ts';
import {
  createBranch,
  createProject,
  deleteBranch,
  deleteProject,
  findBranch,
} from '../../src/rules/branches.ts';
import { createKey } from '../../src/rules/keys.ts';
import { applyManifests, deleteManifest } from '../../src/rules/manifests.ts';
import { deletePlugin } from '../../src/rules/plugins.ts';
import { applySandbox, deleteSandbox, removeSandbox } from '../../src/rules/sandboxes.ts';
import type { Store } from '../../src/store/contract.ts';
import {
  applied,
  configMap,
  defaultProject,
  deploy,
  deployment,
  fork,
  install,
  tablePlugin,
} from '../support/documents.ts';
import { it, testStore } from '../support/stores.ts';

/** Codes of the refusals, sorted; the others went through. */
async function refusals(requests: readonly Promise<unknown>[]): Promise<readonly string[]> {
  const ends = await Promise.allSettled(requests);
  return ends
    .flatMap(end => (end.status === 'rejected' ? [String(end.reason.code ?? end.reason)] : []))
    .sort();
}

const child = (store: Store, name: string, parent = 'main', owner?: string) =>
  createBranch(store, { project: 'default', name, parent, ...(owner !== undefined && { owner }) });

describe('of two requests at once', () => {
  it('one gets the name', async () => {
    const store = testStore();
    const spec = { database: 'app', role: 'app' };
    const projects = [1, 2, 3].map(() => createProject(store, 'default', spec));
    assert.deepEqual(await refusals(projects), ['project/exists', 'project/exists']);
    assert.deepEqual(
      store.list('branch').map(b => b.spec.name),
      ['main'],
    );

    const branches = [1, 2, 3].map(() => child(store, 'a'));
    assert.deepEqual(await refusals(branches), ['branch/exists', 'branch/exists']);
    assert.equal(store.list('branch').length, 2);

    const keys = [1, 2].map(n => createKey(store, { label: 'laptop', hash: `${n}`, preview: '…' }));
    assert.deepEqual(await refusals(keys), ['key/exists']);

    const sandboxes = await Promise.all(
      [1, 2].map(() => applySandbox(store, storeBaseline(store), { name: 'sb', spec: { cluster: 'l' } })),
    );
    assert.deepEqual(sandboxes.map(s => s.outcome).sort(), ['created', 'unchanged']);
  });

  it('a branch goes, or something grows from it, never both', async () => {
    const store = testStore();
    await defaultProject(store);
    for (let i = 0; i < 10; i++) {
      const parent = await child(store, `parent${i}`);
      const requests = [() => deleteBranch(store, parent), () => child(store, `child${i}`, `parent${i}`)];
      const [code] = await refusals(
        (i % 2 === 0 ? requests : requests.toReversed()).map(request => request()),
      );
      const gone = store.get('branch', parent.name)?.deletedAt !== undefined;
      assert.equal(code, gone ? 'branch/parent-missing' : 'branch/has-children');
      assert.equal(findBranch(store, 'default', `child${i}`) === undefined, gone);
    }
  });

  it('a project goes, or gets a branch, never both', async () => {
    for (const first of ['delete', 'create']) {
      const store = testStore();
      await defaultProject(store);
      const requests = [() => deleteProject(store, storeBaseline(store), 'default'), () => child(store, 'a')];
      const [code] = await refusals(
        (first === 'delete' ? requests : requests.toReversed()).map(request => request()),
      );
      const gone = store.get('project', 'default')?.deletedAt !== undefined;
      assert.equal(code, gone ? 'api/not-found' : 'project/not-empty');
      assert.equal(findBranch(store, 'default', 'a') === undefined, gone);
    }
  });

  it('a plugin goes, or a sandbox uses it, never both', async () => {
    for (const first of ['delete', 'apply']) {
      const store = testStore();
      await install(store, 'table', tablePlugin);
      const requests = [
        () => deletePlugin(store, 'table'),
        () => applied(store, 'sb', { resources: [{ name: 'db', plugin: 'table' }] }),
      ];
      const [code] = await refusals(
        (first === 'delete' ? requests : requests.toReversed()).map(request => request()),
      );
      const gone = store.get('plugin', 'table@0.0.0') === undefined;
      assert.equal(code, gone ? 'sandbox/plugin-missing' : 'plugin/in-use');
      assert.equal(store.get('sandbox', 'sb') === undefined, gone);
    }
  });

  it('a workload goes, or a sandbox forks it, never both', async () => {
    for (const first of ['delete', 'apply']) {
      const store = testStore();
      const name = await deploy(store, deployment('users'));
      const requests = [
        () => deleteManifest(store, name),
        () => applied(store, 'sb', { forks: [fork('users')] }),
      ];
      const [code] = await refusals(
        (first === 'delete' ? requests : requests.toReversed()).map(request => request()),
      );
      const gone = store.get('manifest', name)?.deletedAt !== undefined;
      assert.equal(code, gone ? 'sandbox/baseline-missing' : 'manifest/in-use');
      assert.equal(store.get('sandbox', 'sb') === undefined, gone);
    }
  });

  it("a sandbox's record goes, or gets a branch, never both", async () => {
    for (const first of ['remove', 'create']) {
      const store = testStore();
      await defaultProject(store);
      await applied(store, 'sb');
      const requests = [() => removeSandbox(store, 'sb'), () => child(store, 'a', 'main', 'sandbox/sb')];
      const [code] = await refusals(
        (first === 'remove' ? requests : requests.toReversed()).map(request => request()),
      );
      const gone = store.get('sandbox', 'sb') === undefined;
      assert.equal(code, gone ? 'api/not-found' : undefined);
      assert.equal(findBranch(store, 'default', 'a') === undefined, gone);
    }
    const store = testStore();
    await defaultProject(store);
    await applied(store, 'sb');
    await deleteSandbox(store, 'sb', { force: false });
    await assert.rejects(child(store, 'a', 'main', 'sandbox/sb'), { code: 'sandbox/deleting' });
  });
});

describe('manifests', () => {
  it('are all checked before any of them is written', async () => {
    const store = testStore();
    const name = await deploy(store, deployment('users'));
    await deleteManifest(store, name);
    const version = store.version();
    const image = { dir: '/x', command: ['x'] };
    await assert.rejects(
      applyManifests(store, [configMap('one', {}), deployment('users')], { images: { 'users:1': image } }),
      { code: 'manifest/deleting' },
    );
    assert.equal(store.version(), version);
    const outcomes = async (colour: string) =>
      (
        await applyManifests(store, [configMap('one', { colour }), configMap('two', {})], {
          images: { 'users:1': image },
        })
      ).applied.map(m => m.outcome);
    assert.deepEqual(await outcomes('red'), ['created', 'created']);
    assert.deepEqual(await outcomes('blue'), ['configured', 'unchanged']);
    assert.deepEqual(store.get('folder', nowhere)?.spec, { images: { 'users:1': image } });
    assert.deepEqual((await applyManifests(store, [], { images: { 'users:1': image } })).applied, []);
  });
});
