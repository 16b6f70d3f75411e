import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { BaselineChange } from '../../src/baseline/contract.ts';
import { kubernetesBaseline } from '../../src/baseline/kubernetes.ts';
import { clusterClient } from '../../src/kubernetes/client.ts';
import {
  compareVersions,
  type KubernetesObject,
  resourceName,
  resources,
} from '../../src/kubernetes/resource.ts';
import { until } from '../../src/lib/wait.ts';
import { baselineConformance } from '../conformance/baseline.ts';
import { configMap, deployment, service } from '../support/documents.ts';
import { type FakeApiServer, fakeApiServer } from '../support/fake-api-server.ts';

const plural = (kind: string) => resourceName(resources[kind as keyof typeof resources], {});

async function opened(prepare: (server: FakeApiServer) => void = () => {}) {
  const server = await fakeApiServer();
  prepare(server);
  const client = clusterClient(server.access);
  const source = kubernetesBaseline({ client, informers: { pauseMs: [5, 50] } });
  await source.synced;
  /** Until the informers have got as far as the cluster is with that kind. */
  const told = (kind: string, version = String(server.version)) =>
    until(
      () => {
        const state = source.states().find(one => one.resource.startsWith(`${plural(kind)} `));
        return compareVersions(state?.resourceVersion, version) >= 0 ? true : undefined;
      },
      { what: `news of ${kind}`, deadlineMs: 60_000 },
    );
  const put = async (object: object) => {
    const { kind } = object as { kind: string };
    const { resourceVersion } = server.put(plural(kind), object).metadata;
    await told(kind, resourceVersion);
  };
  return {
    ...{ server, source, baseline: source.baseline, put, told },
    async [Symbol.asyncDispose]() {
      await source.close();
      client.close();
      await server[Symbol.asyncDispose]();
    },
  };
}

const placed = <M extends { readonly metadata: { readonly namespace?: string } }>(manifest: M): M => ({
  ...manifest,
  metadata: { namespace: 'demo', ...manifest.metadata },
});

/** Somebody else waits for its end, as those do who mark it. */
const held = 'of/others';

describe('by informers', () => {
  baselineConformance(async () => {
    const one = await opened();
    const { server } = one;
    const at = (name: string) => {
      const [kind, ...key] = name.split('/') as [string, string, string];
      return { kind, key: key.join('/'), object: () => server.get(plural(kind), key.join('/'))! };
    };
    return {
      baseline: one.baseline,
      async deploy(...manifests) {
        for (const manifest of manifests.map(placed)) {
          const before = server.get(
            plural(manifest.kind),
            `${manifest.metadata.namespace}/${manifest.metadata.name}`,
          );
          const { status = undefined, metadata } = (before ?? {}) as Partial<KubernetesObject>;
          await one.put({
            ...manifest,
            metadata: { ...metadata, ...manifest.metadata },
            ...(status !== undefined && { status }),
          });
        }
      },
      async status(name, { observedGeneration }) {
        const { kind, object } = at(name);
        const { spec } = object();
        const counts = { replicas: 1, updatedReplicas: 1, availableReplicas: 1, readyReplicas: 1 };
        await one.put(
          kind === 'Service'
            ? { ...object(), spec: { ...(spec as object), clusterIP: '10.96.0.9' } }
            : { ...object(), status: { ...counts, observedGeneration } },
        );
      },
      async mark(name) {
        const { kind, key, object } = at(name);
        const { metadata } = object();
        await one.put({ ...object(), metadata: { ...metadata, finalizers: [held] } });
        server.remove(plural(kind), key);
        await one.told(kind, object().metadata.resourceVersion);
      },
      async remove(name) {
        const { kind, key, object } = at(name);
        if (object().metadata.deletionTimestamp === undefined) server.remove(plural(kind), key);
        else server.put(plural(kind), { ...object(), metadata: { ...object().metadata, finalizers: [] } });
        await one.told(kind);
      },
      [Symbol.asyncDispose]: () => one[Symbol.asyncDispose](),
    };
  });
});

describe('the baseline of a cluster', () => {
  it('leaves out what workloads, the cluster and we have made', async () => {
    const owned = (kind: string, name: string, more: object = {}) => ({
      ...{ kind, spec: deployment(name).spec },
      metadata: {
        name,
        namespace: 'demo',
        ownerReferences: [{ kind: 'X', name: 'x', uid: '1', controller: true }],
        ...more,
      },
    });
    await using b = await opened(server => {
      server.put('replicasets.apps', owned('ReplicaSet', 'users-abc'));
      server.put('pods', { ...owned('Pod', 'users-abc-1'), spec: deployment('x').spec.template.spec });
      server.put('jobs.batch', owned('Job', 'nightly-1'));
      const fork = deployment('users-fork');
      server.put(
        'deployments.apps',
        placed({ ...fork, metadata: { ...fork.metadata, labels: { 'offshoot.dev/sandbox': 's' } } }),
      );
      server.put('secrets', {
        metadata: { name: 'release', namespace: 'demo' },
        type: 'helm.sh/release.v1',
        data: {},
      });
      const labels = { 'offshoot.dev/secret-of': 'branch' };
      server.put('secrets', { metadata: { name: 'ours', namespace: 'demo', labels }, data: {} });
      const managed = { 'endpointslice.kubernetes.io/managed-by': 'endpointslice-controller.k8s.io' };
      server.put('endpointslices.discovery.k8s.io', {
        metadata: { name: 'users-1', namespace: 'demo', labels: managed },
      });
      server.put('pods', {
        metadata: { name: 'bare', namespace: 'demo', labels: { app: 'bare' } },
        spec: deployment('x').spec.template.spec,
      });
    });
    assert.deepEqual(
      b.baseline.list('Workload').map(({ kind, name }) => `${kind} ${name}`),
      ['Pod bare'],
    );
    assert.deepEqual([b.baseline.list('Secret'), b.baseline.list('EndpointSlice')], [[], []]);
    assert.equal(b.baseline.workloadsBehind(placed(service('bare', { port: 80 }))).length, 1);
  });

  it('shows objects as documents have them, with the text of Secrets, and nothing that is of use to the cluster only', async () => {
    const noise = {
      managedFields: [{ manager: 'kubectl' }],
      annotations: {
        'kubectl.kubernetes.io/last-applied-configuration': '{}',
        'deployment.kubernetes.io/revision': '3',
        mine: 'x',
      },
    };
    const { apiVersion: _, ...users } = deployment('users');
    await using b = await opened(server => {
      server.put('deployments.apps', placed({ ...users, metadata: { ...users.metadata, ...noise } }));
      const data = {
        text: Buffer.from('grüße').toString('base64'),
        bytes: Buffer.from([255, 0]).toString('base64'),
      };
      server.put('secrets', { metadata: { name: 's', namespace: 'demo' }, type: 'Opaque', data });
    });
    const shown = b.baseline.get('Deployment', 'demo', 'users')!.object;
    assert.equal(shown.apiVersion, 'apps/v1');
    assert.deepEqual(shown.metadata, { ...users.metadata, namespace: 'demo', annotations: { mine: 'x' } });
    const { data, binaryData } = b.baseline.get('Secret', 'demo', 's')!.object;
    assert.deepEqual([data, binaryData], [{ text: 'grüße' }, { bytes: '/wA=' }]);
  });

  it('begins with what is there in order of creation, and has the same revisions for every process', async () => {
    await using b = await opened(server => {
      server.put('configmaps', placed(configMap('settings', { a: '1' })));
      server.put('services', placed(service('users', { port: 80 })));
      server.put('deployments.apps', placed(deployment('users')));
    });
    const client = clusterClient(b.server.access);
    const other = kubernetesBaseline({ client });
    await other.synced;
    for (const [kind, name] of [
      ['ConfigMap', 'settings'],
      ['Service', 'users'],
      ['Deployment', 'users'],
    ] as const)
      assert.equal(
        other.baseline.get(kind, 'demo', name)!.revision,
        b.baseline.get(kind, 'demo', name)!.revision,
      );
    await other.close();
    client.close();
  });

  it('shows a Rollout that borrows the template of a Deployment with that, and as another one when it is another', async () => {
    const named = (name: string) => ({
      ...{ kind: 'Rollout', metadata: { name: 'web', namespace: 'demo', generation: 1 } },
      spec: { workloadRef: { apiVersion: 'apps/v1', kind: 'Deployment', name } },
    });
    await using b = await opened(server => server.put('rollouts.argoproj.io', named('users')));
    const shown = () => b.baseline.get('Rollout', 'demo', 'web');
    const changes: string[] = [];
    b.baseline.watch(({ kind, before, now }) => {
      if (kind === 'Rollout') changes.push(`${before ? 'was' : '-'} → ${now ? 'is' : '-'}`);
    });
    assert.equal(shown(), undefined);
    const users = placed(deployment('users'));
    await b.put(users);
    const first = shown()!;
    assert.deepEqual(first.object.spec.template, users.spec.template);
    assert.equal(first.object.apiVersion, 'argoproj.io/v1alpha1');
    const other = placed(deployment('users', { env: [{ name: 'A', value: '1' }] }));
    await b.put({ ...b.server.get('deployments.apps', 'demo/users')!, spec: other.spec });
    assert.deepEqual(shown()!.object.spec.template, other.spec.template);
    assert.notEqual(shown()!.revision, first.revision);
    await b.put({ ...b.server.get('rollouts.argoproj.io', 'demo/web')!, spec: named('none').spec });
    assert.equal(shown(), undefined);
    const own = { ...other.spec };
    await b.put({ ...b.server.get('rollouts.argoproj.io', 'demo/web')!, spec: own });
    assert.deepEqual(shown()!.object.spec.template, own.template);
    b.server.remove('rollouts.argoproj.io', 'demo/web');
    await b.told('Rollout');
    assert.equal(shown(), undefined);
    assert.deepEqual(changes, ['- → is', 'was → is', 'was → -', '- → is', 'was → -']);
  });

  it('tells how a workload stands, by its own status', async () => {
    await using b = await opened();
    const seen: string[] = [];
    b.baseline.watch(
      ({ now }: BaselineChange) =>
        void (now?.status && seen.push(`${now.status.reason}: ${now.status.message}`)),
    );
    const stands = async (status: object) =>
      b.put({ ...placed(deployment('users')), status: { observedGeneration: 1, replicas: 1, ...status } });
    await stands({ updatedReplicas: 1 });
    const conditions = [
      { type: 'Progressing', status: 'False', reason: 'ProgressDeadlineExceeded', message: 'too slow' },
    ];
    await stands({ updatedReplicas: 1, conditions });
    await stands({ updatedReplicas: 1, availableReplicas: 1 });
    await stands({ updatedReplicas: 1, availableReplicas: 1, replicas: 2 });
    const job = {
      kind: 'Job',
      metadata: { name: 'j', namespace: 'demo' },
      spec: { template: deployment('x').spec.template },
    };
    await b.put({ ...job, status: { conditions: [{ type: 'Complete', status: 'True' }] } });
    const waiting = { state: { waiting: { reason: 'ImagePullBackOff', message: 'no such image' } } };
    const pod = {
      kind: 'Pod',
      metadata: { name: 'p', namespace: 'demo' },
      spec: deployment('x').spec.template.spec,
    };
    await b.put({ ...pod, status: { phase: 'Pending', containerStatuses: [waiting] } });
    assert.deepEqual(seen, [
      'Starting: 0 of 1 pods are ready, 1 are up to date',
      'ProgressDeadlineExceeded: too slow',
      'Running: ',
      'Starting: 1 of 1 pods are ready, 1 are up to date',
      'Completed: ',
      'ImagePullBackOff: no such image',
    ]);
  });

  it('looks into the namespaces that it may', async () => {
    await using server = await fakeApiServer();
    for (const namespace of ['a', 'b', 'c'])
      server.put('configmaps', { ...configMap('x', {}), metadata: { name: 'x', namespace } });
    server.fault = ({ namespace }) => (namespace === undefined ? { status: 403 } : undefined);
    const client = clusterClient(server.access);
    const source = kubernetesBaseline({ client, namespaces: ['a', 'b'] });
    await source.synced;
    assert.deepEqual(
      source.baseline.list('ConfigMap').map(({ namespace }) => namespace),
      ['a', 'b'],
    );
    await source.close();
    client.close();
  });
});

it('a namespace that may not be read keeps no other from being known, says why, and is known at once when it may', async () => {
  await using server = await fakeApiServer();
  const inNamespace = (namespace: string, object: { readonly metadata: object }) => ({
    ...object,
    metadata: { ...object.metadata, namespace },
  });
  const web = (namespace: string) => inNamespace(namespace, deployment('web', { image: 'acme/web:1' }));
  for (const namespace of ['open', 'shut']) {
    server.put(plural('Deployment'), web(namespace));
    server.put(plural('Service'), inNamespace(namespace, service('web')));
  }
  let isShut = (_: string) => true;
  server.fault = ({ namespace, resource }) =>
    namespace === 'shut' && isShut(resource) ? { status: 403, body: { message: 'no' } } : undefined;
  const client = clusterClient(server.access);
  const namespaces = ['open', 'shut'];
  const { baseline, ...source } = kubernetesBaseline({ client, namespaces, informers: { pauseMs: [5, 20] } });
  try {
    await source.synced;
    assert.ok(baseline.get('Deployment', 'open', 'web'));
    assert.equal(baseline.whyUnknown!('open'), undefined);
    assert.match(baseline.whyUnknown!('shut')!, /does not allow "(list|watch) .* in namespace "shut"": no/);
    assert.match(baseline.whyUnknown!('other')!, /none of those/);
    // One of its kinds alone is not told: what is made of it would lack the rest.
    isShut = resource => resource !== plural('Deployment');
    await until(
      () =>
        source.states().find(one => one.resource === 'deployments.apps in namespace "shut"')?.synced ||
        undefined,
      { what: 'its Deployments are listed', deadlineMs: 60_000 },
    );
    assert.equal(baseline.get('Deployment', 'shut', 'web'), undefined);
    const told: BaselineChange[] = [];
    const isWhole: boolean[] = [];
    baseline.watch(change => {
      told.push(change);
      isWhole.push(source.states().every(one => one.synced));
    });
    isShut = () => false;
    await until(() => (told.length === 2 ? true : undefined), { what: 'it is told', deadlineMs: 60_000 });
    assert.deepEqual(told.map(({ kind, namespace }) => `${kind} ${namespace}`).toSorted(), [
      'Deployment shut',
      'Service shut',
    ]);
    assert.deepEqual(isWhole, [true, true]);
    assert.equal(baseline.whyUnknown!('shut'), undefined);
  } finally {
    await source.close();
    client.close();
  }
});
