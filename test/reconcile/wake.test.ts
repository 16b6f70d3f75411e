import assert from 'node:assert/strict';
import { describe } from 'node:test';
import { storeBaseline } from '../../src/baseline/store-baseline.ts';
import type { BranchState } from '../../src/model/branch.ts';
import { noteFound } from '../../src/reconcile/speech.ts';
import { wake } from '../../src/reconcile/wake.ts';
import { createBranch, deleteBranch } from '../../src/rules/branches.ts';
import { deleteSandbox } from '../../src/rules/sandboxes.ts';
import {
  applied,
  configMap,
  defaultProject,
  deploy,
  deployment,
  fork,
  install,
  service,
  tablePlugin,
} from '../support/documents.ts';
import { it, testStore } from '../support/stores.ts';

/** Writes down what a scheduler would be told; reading empties it. */
async function testWake() {
  const store = testStore();
  let said: string[] = [];
  const baseline = storeBaseline(store);
  const main = await defaultProject(store);
  const waking = wake(store, baseline, {
    add: (key, { intent, interrupt, lane } = {}) =>
      void said.push([key, intent && 'intent', interrupt && 'interrupt', lane].filter(Boolean).join(' ')),
    tell: topic => void said.push(`tell ${topic}`),
  });
  store.onChange(waking.change);
  baseline.watch(waking.baseline);
  const read = () => {
    const all = said;
    said = [];
    return all.sort();
  };
  return {
    store,
    main,
    waking,
    read,
    async state(id: string, state: BranchState, message = '') {
      const status = { state, reason: 'R', message, conditions: [], observedGeneration: 1 };
      await store.modify('branch', id, () => ({ status }));
    },
    [Symbol.asyncDispose]: () => store.close(),
  };
}

describe('a change of', () => {
  it('plugins wakes what was written before they were there', async () => {
    await using w = await testWake();
    const spec = { cluster: 'local', resources: [{ name: 'db', plugin: 'table@1' }] };
    const secret = { routingKey: 'bcdfghjklmnpq', resources: {} };
    await w.store.create('sandbox', 'early', { spec, status: null, secret });
    w.read();
    await install(w.store, 'other', tablePlugin);
    assert.deepEqual(w.read(), []);
    await install(w.store, 'table@1.0.0', tablePlugin);
    assert.deepEqual(w.read(), ['sandbox early intent']);
  });

  it('what is asked for wakes its object; of what was seen, nobody but who waits', async () => {
    await using w = await testWake();
    await w.state(w.main.name, 'creating');
    assert.deepEqual(w.read(), [`branch ${w.main.name} intent`, `tell branch/${w.main.name}`]);
    await w.state(w.main.name, 'creating', 'goes on');
    assert.deepEqual(w.read(), []);
    await w.state(w.main.name, 'ready');
    assert.deepEqual(w.read(), [`tell branch/${w.main.name}`]);
    await w.store.modify('branch', w.main.name, () => ({ secret: { password: 'another' } }));
    assert.deepEqual(w.read(), [`branch ${w.main.name} intent`]);
    await w.store.record({ kind: 'branch', name: w.main.name, severity: 'info', reason: 'R', message: '' });
    assert.deepEqual(w.read(), []);
  });

  it('a branch that is to go interrupts; its end is told to those who wait for it, and why it does not come', async () => {
    await using w = await testWake();
    const child = await createBranch(w.store, { project: 'default', name: 'child', parent: 'main' });
    assert.deepEqual(w.read(), [`branch ${child.name} intent`]);
    await deleteBranch(w.store, child);
    assert.deepEqual(w.read(), [`branch ${child.name} intent interrupt delete`]);
    await w.state(child.name, 'deleting');
    await w.state(child.name, 'deleting', 'the disk is busy');
    assert.deepEqual(w.read(), [`tell branch/${child.name}`, `tell branch/${child.name}`]);
    await w.store.remove('branch', child.name);
    assert.deepEqual(w.read(), [
      'tell branch/' + child.name,
      'tell branches/default',
      `tell children/${w.main.name}`,
    ]);
  });

  it('a sandbox that is to go interrupts, by force once more', async () => {
    await using w = await testWake();
    await applied(w.store, 'sb');
    await deleteSandbox(w.store, 'sb', { force: false });
    await deleteSandbox(w.store, 'sb', { force: true });
    assert.deepEqual(w.read(), [
      'sandbox sb intent',
      'sandbox sb intent interrupt delete',
      'sandbox sb intent interrupt delete',
    ]);
  });

  it('the baseline wakes what is made of it, and nothing else', async () => {
    await using w = await testWake();
    await deploy(w.store, deployment('users'), deployment('orders'));
    await applied(w.store, 'one', { forks: [fork('users')] });
    await applied(w.store, 'two', { forks: [fork('orders')] });
    w.read();
    await deploy(w.store, deployment('users', { env: [{ name: 'A', value: 'b' }] }));
    assert.deepEqual(w.read(), ['manifest Deployment/demo/users intent', 'sandbox one intent']);
  });

  it('a ConfigMap wakes what mentions it, forks of which only their document says so, and forks with a patch', async () => {
    await using w = await testWake();
    const envFrom = [{ configMapRef: { name: 'settings' } }];
    await deploy(w.store, deployment('users', { envFrom }), deployment('orders'));
    await applied(w.store, 'users', { forks: [fork('users')] });
    await applied(w.store, 'orders', { forks: [fork('orders')] });
    const configMapOf = (name: string) => ({ configMap: { name, key: 'a' } });
    await applied(w.store, 'says', { forks: [fork('orders', { A: configMapOf('settings') })] });
    await applied(w.store, 'says-other', { forks: [fork('orders', { A: configMapOf('other') })] });
    const customizations = { patch: { type: 'merge', value: '{}' } } as const;
    await applied(w.store, 'patched', { forks: [{ ...fork('orders'), customizations }] });
    w.read();
    await deploy(w.store, configMap('settings', {}));
    assert.deepEqual(w.read(), [
      'manifest ConfigMap/demo/settings intent',
      'manifest Deployment/demo/users intent',
      'sandbox patched intent',
      'sandbox says intent',
      'sandbox users intent',
    ]);
  });

  it('a Service wakes the workloads that it sends to', async () => {
    await using w = await testWake();
    await deploy(w.store, deployment('users'), deployment('orders'));
    await applied(w.store, 'one', { forks: [fork('users')] });
    await applied(w.store, 'two', { forks: [fork('orders')] });
    w.read();
    await deploy(w.store, service('users', { port: 80 }));
    assert.deepEqual(w.read(), [
      'manifest Deployment/demo/users intent',
      'manifest Service/demo/users intent',
      'sandbox one intent',
    ]);
  });

  it('the address of a Service wakes all workloads, its other status none', async () => {
    await using w = await testWake();
    await deploy(w.store, deployment('users'));
    await applied(w.store, 'one', { forks: [fork('users')] });
    const name = await deploy(w.store, service('users', { port: 80 }));
    w.read();
    const status = { ready: true, reason: 'Listening', message: '', observedGeneration: 1 };
    await w.store.modify('manifest', name, () => ({ status }));
    assert.deepEqual(w.read(), []);
    const addresses = { 80: { host: '127.0.0.1', port: 80 } };
    await w.store.modify('manifest', name, () => ({ status: { ...status, addresses } }));
    assert.deepEqual(w.read(), ['manifest Deployment/demo/users', 'sandbox one']);
  });

  it('the pods behind a headless Service wakes all workloads, others nobody', async () => {
    await using w = await testWake();
    const users = await deploy(w.store, deployment('users'));
    const other = await deploy(w.store, deployment('other'));
    const peers = service('users', { port: 80 });
    await deploy(w.store, { ...peers, spec: { ...peers.spec, clusterIP: 'None' } });
    w.read();
    const seen = (ip: string) => ({
      ...{ ready: true, reason: 'R', message: '', observedGeneration: 1 },
      ...{ ips: [ip], pods: [{ name: 'pod-0', ip }] },
    });
    await w.store.modify('manifest', other, () => ({ status: seen('10.0.0.1') }));
    assert.deepEqual(w.read(), []);
    await w.store.modify('manifest', users, () => ({ status: seen('10.0.0.2') }));
    assert.deepEqual(w.read(), ['manifest Deployment/demo/other', 'manifest Deployment/demo/users']);
    await w.store.modify('manifest', users, () => ({ status: { ...seen('10.0.0.2'), message: 'well' } }));
    assert.deepEqual(w.read(), []);
  });

  it('what a port is found to speak wakes its Service, and the sandboxes behind it', async () => {
    await using w = await testWake();
    const name = await deploy(w.store, deployment('cache'), service('cache', { port: 6379 }));
    await applied(w.store, 'one', { forks: [fork('cache')] });
    const status = { ready: true, reason: 'Listening', message: '', observedGeneration: 1 };
    await w.store.modify('manifest', name, () => ({ status }));
    w.read();
    await noteFound(w.store, { 'svc:demo/cache:6379': 'tcp', 'svc:demo/gone:1': 'tcp', nonsense: 'tcp' });
    assert.deepEqual(w.read(), [`manifest ${name}`, 'sandbox one']);
    await noteFound(w.store, { 'svc:demo/cache:6379': 'http' });
    assert.deepEqual(w.read(), [`manifest ${name}`, 'sandbox one']);
    await noteFound(w.store, { 'svc:demo/cache:6379': 'tcp' });
    assert.deepEqual(w.read(), [], 'HTTP stays');
  });

  it('a workload wakes whose it is', async () => {
    await using w = await testWake();
    for (const id of ['base.demo.users.v1', 'sb-one.demo.users']) w.waking.workload(id);
    assert.deepEqual(w.read(), ['manifest Deployment/demo/users.v1', 'sandbox one']);
  });
});

it('at the start everything is looked at: what was there before what is only wished for', async () => {
  await using w = await testWake();
  const child = await createBranch(w.store, { project: 'default', name: 'child', parent: 'main' });
  await w.state(w.main.name, 'ready');
  await applied(w.store, 'sb');
  await deleteSandbox(w.store, 'sb', { force: false });
  w.read();
  w.waking.all();
  assert.deepEqual(
    w.read(),
    [
      `branch ${child.name} usual`,
      `branch ${w.main.name} recovery`,
      'project default usual',
      'sandbox sb delete',
    ].sort(),
  );
  await w.state(w.main.name, 'ready', 'still');
  assert.deepEqual(w.read(), []);
});
