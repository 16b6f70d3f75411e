/** The store's contract on a real API server: each store has a namespace of its own. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { kubeconfigAccess } from '../../src/kubernetes/access.ts';
import { type ClusterClient, clusterClient } from '../../src/kubernetes/client.ts';
import { keptKinds } from '../../src/kubernetes/kinds.ts';
import { resourceOf } from '../../src/kubernetes/resource.ts';
import { silentLog } from '../../src/lib/log.ts';
import { openKubernetesStore } from '../../src/store/kubernetes.ts';
import { withoutFinalizer } from '../../src/store/kubernetes-object.ts';
import { type StoreOptions, storeConformance } from '../conformance/store.ts';
import { kubectl, noCluster, testLabels } from '../support/cluster.ts';

const { OFFSHOOT_KUBERNETES: context = '1', KUBECONFIG: file = '' } = process.env;
const namespaces = { group: '', version: 'v1', plural: 'namespaces' };

async function open(options: StoreOptions) {
  const access = await kubeconfigAccess(file, { env: process.env, ...(context !== '1' && { context }) });
  const client = clusterClient(access);
  const namespace = `offshoot-test-${randomBytes(4).toString('hex')}`;
  await client.create(namespaces, { metadata: { name: namespace, labels: testLabels } });
  const store = await openKubernetesStore({ client, namespace, firstVersion: 0, ...options });
  const close = store.close.bind(store);
  return Object.assign(store, {
    namespace,
    async close() {
      await close();
      await clear(client, namespace);
      client.close();
    },
  });
}

/** Nobody is there to take down what objects stand for, which they would wait for. */
async function clear(client: ClusterClient, namespace: string): Promise<void> {
  for (const kind of keptKinds) {
    for await (const { items } of client.pages(resourceOf(kind), { namespace }))
      await Promise.all(items.map(object => client.replace(resourceOf(kind), withoutFinalizer(object))));
  }
  await client.remove(namespaces, { name: namespace });
}

test('what the store calls ready kubectl waits for, and sees at once', { skip: noCluster }, async () => {
  const store = await open({ now: () => new Date(), log: silentLog });
  try {
    const status = { ready: false, reason: 'ForksPending', message: 'm', failed: false, conditions: [] };
    const rest = { forks: [], endpoints: [], observedGeneration: 1 };
    const secret = { routingKey: 'k5ncuujcjllj2', resources: {} };
    const made = await store.create('sandbox', 'fix-42', {
      spec: { cluster: 'local' },
      status: null,
      secret,
    });
    const update = (changes: object) =>
      store.modify('sandbox', 'fix-42', () => ({ status: { ...status, ...rest, ...changes } }));
    await update({});
    const get = async (path: string) =>
      (await kubectl(['-n', store.namespace, 'get', 'sandbox', 'fix-42', '-o', `jsonpath=${path}`])).stdout;
    const ready = '{.status.conditions[?(@.type=="Ready")]';
    assert.equal(await get(`${ready}.status} ${ready}.reason}`), 'False ForksPending');
    const since = await get(`${ready}.lastTransitionTime}`);
    await update({ message: 'still' });
    assert.equal(await get(`${ready}.lastTransitionTime}`), since);
    await update({ ready: true, reason: 'AllReady' });
    await kubectl([
      '-n',
      store.namespace,
      'wait',
      'sandbox/fix-42',
      '--for=condition=Ready',
      '--timeout=240s',
    ]);
    assert.deepEqual(store.get('sandbox', made.name)?.status?.conditions, []);
  } finally {
    await store.close();
  }
});

if (noCluster === false) storeConformance('on a cluster', open, { manifests: false });
else test('the store on a cluster', { skip: noCluster }, () => {});
