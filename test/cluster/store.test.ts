/** The store's contract on a real API server: each store has a namespace of its own. */
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { testLabel } from '../../scripts/kubernetes/cluster.ts';
import { kubeconfigAccess } from '../../src/kubernetes/access.ts';
import { type ClusterClient, clusterClient } from '../../src/kubernetes/client.ts';
import { keptKinds } from '../../src/kubernetes/kinds.ts';
import { resourceOf } from '../../src/kubernetes/resource.ts';
import { openKubernetesStore } from '../../src/store/kubernetes.ts';
import { withoutFinalizer } from '../../src/store/kubernetes-object.ts';
import { type StoreOptions, storeConformance } from '../conformance/store.ts';
import { noCluster } from '../support/cluster.ts';

const { OFFSHOOT_KUBERNETES: context = '1', KUBECONFIG: file = '' } = process.env;
const namespaces = { group: '', version: 'v1', plural: 'namespaces' };

async function open(options: StoreOptions) {
  const access = await kubeconfigAccess(file, { env: process.env, ...(context !== '1' && { context }) });
  const client = clusterClient(access);
  const namespace = `offshoot-test-${randomBytes(4).toString('hex')}`;
  await client.create(namespaces, { metadata: { name: namespace, labels: { [testLabel]: namespace } } });
  const store = await openKubernetesStore({ client, namespace, firstVersion: 0, ...options });
  const close = store.close.bind(store);
  return Object.assign(store, {
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

if (noCluster === false) storeConformance('on a cluster', open, { manifests: false });
else test('the store on a cluster', { skip: noCluster }, () => {});
