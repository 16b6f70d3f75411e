/** What a real API server and its controllers make of documents, as the baseline shows it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { kubernetesBaseline } from '../../src/baseline/kubernetes.ts';
import { kubeconfigAccess } from '../../src/kubernetes/access.ts';
import { clusterClient } from '../../src/kubernetes/client.ts';
import { until } from '../../src/lib/wait.ts';
import { apply, kubectl, namespace, noCluster } from '../support/cluster.ts';
import { configMap, deployment, service } from '../support/documents.ts';

const { OFFSHOOT_KUBERNETES: context = '1', KUBECONFIG: file = '' } = process.env;

test('the baseline of a cluster is what was applied, and how it stands', { skip: noCluster }, async () => {
  await using ns = await namespace();
  const into = <M extends { readonly metadata: object }>(manifest: M): M => ({
    ...manifest,
    metadata: { ...manifest.metadata, namespace: ns.name },
  });
  const users = into(
    deployment('users', { image: 'lab.local/none:1', envFrom: [{ configMapRef: { name: 'settings' } }] }),
  );
  const before = [into(configMap('settings', { a: '1' })), into(service('users', { port: 80 }))];
  await apply(before);
  const access = await kubeconfigAccess(file, { env: process.env, ...(context !== '1' && { context }) });
  const client = clusterClient(access);
  const source = kubernetesBaseline({ client, namespaces: [ns.name] });
  try {
    await source.synced;
    const { baseline } = source;
    const soon = <T>(what: string, probe: () => T | undefined) => until(probe, { what, deadlineMs: 60_000 });
    const { host } = baseline.get('Service', ns.name, 'users')!.status!.addresses![80]!;
    assert.match(host, /^\d+\.\d+\.\d+\.\d+$|:/);
    await apply([users]);
    const found = await soon('the workload', () => baseline.get('Deployment', ns.name, 'users'));
    assert.deepEqual(found.object.metadata.labels, users.metadata.labels);
    assert.deepEqual(found.object.spec.template.metadata, users.spec.template.metadata);
    const starting = await soon('its status', () => {
      const now = baseline.get('Deployment', ns.name, 'users')!;
      return now.status?.reason === 'Starting' ? now : undefined;
    });
    assert.equal(starting.object, found.object);
    assert.deepEqual(
      baseline.workloadsBehind(before[1] as never).map(({ name }) => name),
      ['users'],
    );
    assert.deepEqual(
      baseline.usersOf('ConfigMap', ns.name, 'settings').map(({ name }) => name),
      ['users'],
    );
    assert.deepEqual(
      baseline.list('Workload').map(({ kind }) => kind),
      ['Deployment'],
      'its pods are its own',
    );
    await kubectl(['-n', ns.name, 'delete', 'deployment', 'users', '--wait=false']);
    await soon('its end', () =>
      baseline.get('Deployment', ns.name, 'users') === undefined ? true : undefined,
    );
    assert.ok(source.states().every(({ synced, failures }) => synced && failures === 0));
  } finally {
    await source.close();
    client.close();
  }
});
