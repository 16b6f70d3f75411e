/** Two loops on one store: one has the branches of a node, the other all else, and they know each other by status only. */
import assert from 'node:assert/strict';
import { describe } from 'node:test';
import { deleteSandbox } from '../../src/rules/sandboxes.ts';
import type { Kind, Stored } from '../../src/store/contract.ts';
import {
  applied,
  branchPlugin,
  defaultProject,
  deploy,
  deployment,
  fork,
  install,
} from '../support/documents.ts';
import { loopOn } from '../support/loop.ts';
import { memoryWorld } from '../support/memory-drivers.ts';
import { it, testStore } from '../support/stores.ts';
import { whenObject } from '../support/when.ts';

async function apart() {
  const world = memoryWorld();
  const store = testStore();
  const main = await defaultProject(store);
  await install(store, 'branch', branchPlugin);
  const node = loopOn(store, world, { programs: undefined });
  const controller = loopOn(store, world, { branches: undefined });
  const signal = AbortSignal.timeout(60_000);
  const when = <K extends Kind, T>(
    kind: K,
    name: string,
    probe: (o: Stored<K> | undefined) => T | undefined,
  ) => whenObject(store, kind, name, probe, signal);
  return {
    ...{ world, store, main, node, controller, signal, when },
    async [Symbol.asyncDispose]() {
      await Promise.all([node.close(), controller.close()]);
      await store.close();
    },
  };
}

describe('a node of branches apart from what decides', () => {
  it('makes what a sandbox asks for, and takes it away', async () => {
    await using two = await apart();
    await Promise.all([two.node.start(), two.controller.start()]);
    await deploy(two.store, deployment('users'));
    await applied(two.store, 'sb', {
      resources: [{ name: 'db', plugin: 'branch' }],
      forks: [fork('users')],
    });
    await two.when('sandbox', 'sb', o => o?.status?.ready || undefined);
    const branch = two.store.list('branch').find(({ spec }) => spec.owner === 'sandbox/sb');
    assert.ok(branch);
    assert.ok(two.world.running.has(branch.name));
    await deleteSandbox(two.store, 'sb', { force: false });
    await two.when('sandbox', 'sb', o => o === undefined || undefined);
    await two.when('branch', branch.name, o => o === undefined || undefined);
    assert.deepEqual([...two.world.disk.keys()], [two.main.name]);
  });

  it('is not needed to know a login’s way, which stands in the status, and is waited for', async () => {
    await using two = await apart();
    await two.controller.start();
    const { name } = two.main;
    const login = two.controller.awake(name, two.signal);
    await two.node.start();
    const endpoint = await login;
    assert.deepEqual(endpoint, { socket: two.world.running.get(name)?.socket });
    await assert.rejects(two.controller.awake('nobody', two.signal), { code: 'gateway/branch-unknown' });
    // A server that ends is started again by its node; the other one only reads of it.
    two.world.crash(name);
    const again = await two.when('branch', name, o =>
      o?.status?.state === 'ready' && two.world.running.has(name) ? o.status.open : undefined,
    );
    assert.deepEqual(await two.controller.awake(name, two.signal), again.endpoint);
    two.world.disk.get(name)!.cluster!.broken = true;
    two.world.crash(name);
    await two.when('branch', name, o => o?.status?.state === 'failed' || undefined);
    await assert.rejects(two.controller.awake(name, two.signal), { code: 'gateway/branch-not-ready' });
  });
});
