/** What resolves in which workload, and to what. */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import type { Service, Workload } from '../../src/model/kubernetes.ts';
import type { ManifestStatus } from '../../src/model/workload-status.ts';
import { clusterNames } from '../../src/reconcile/cluster-names.ts';
import { memoryBaseline } from '../support/memory-baseline.ts';

const workload = (
  kind: 'Deployment' | 'StatefulSet',
  name: string,
  {
    namespace = 'shop',
    ...spec
  }: { namespace?: string; pod?: object; replicas?: number; serviceName?: string } = {},
): Workload<'Deployment' | 'StatefulSet'> => {
  const { pod, ...more } = spec;
  const containers = [{ name: 'main', image: 'acme/server:1' }];
  return {
    ...{ apiVersion: 'apps/v1', kind, metadata: { name, namespace } },
    spec: { ...more, template: { metadata: { labels: { app: name } }, spec: { containers, ...pod } } },
  };
};

const service = (name: string, spec: Service['spec']): Service => ({
  ...{ apiVersion: 'v1', kind: 'Service', metadata: { name, namespace: 'shop' } },
  spec: { selector: { app: name }, ...spec },
});

const status = { ready: true, reason: 'Running', message: 'ready', observedGeneration: 1 };
const addressed = (host: string, more: Partial<ManifestStatus> = {}): ManifestStatus => ({
  ...{ ...status, addresses: { 5432: { host, port: 5432 } }, ...more },
});

const tcp = { ports: [{ name: 'tcp', port: 5432 }] };
const pods = [
  { name: 'db-0', ip: '10.0.0.1' },
  { name: 'db-1', ip: '10.0.0.2' },
];

/** The StatefulSet `db` with two pods behind the headless Service `db`, and who asks: in its namespace, and elsewhere. */
function around(ports: Service['spec'], db: Partial<ManifestStatus>, found?: ManifestStatus['found']) {
  const set = workload('StatefulSet', 'db', { serviceName: 'db', replicas: 2 });
  const [near, far] = [workload('Deployment', 'near'), workload('Deployment', 'far', { namespace: 'other' })];
  const { baseline, change } = memoryBaseline(set, near, far, service('db', { clusterIP: 'None', ...ports }));
  change('StatefulSet/shop/db', { status: { ...status, ...db } });
  change('Service/shop/db', { status: addressed('10.0.1.1', { ...(found && { found }) }) });
  const resolve = (who: Workload, name: string) =>
    clusterNames(baseline, who).flatMap(({ ip, names }) => (names.includes(name) ? [ip] : []));
  return { set, near, far, resolve };
}

const all = { ips: pods.map(({ ip }) => ip), pods };

it('a headless Service means its pods, those that are ready, and each pod has a name of its own', () => {
  const { near, far, resolve } = around(tcp, { ips: ['10.0.0.2'], pods });
  for (const form of ['db', 'db.shop', 'db.shop.svc', 'db.shop.svc.cluster.local']) {
    assert.deepEqual(resolve(near, form), ['10.0.0.2']);
    assert.deepEqual(resolve(near, `db-0.${form}`), ['10.0.0.1']); // its peers look for it before it is ready
  }
  assert.deepEqual(resolve(far, 'db-1.db.shop'), ['10.0.0.2']);
  assert.deepEqual([resolve(far, 'db'), resolve(far, 'db-1.db')], [[], []]);
});

it('where a routing key may travel it means the router, but for its own pods', () => {
  for (const ports of [{ ports: [{ port: 5432 }] }, { ports: [{ name: 'grpc', port: 5432 }] }]) {
    const { set, near, resolve } = around(ports, all);
    assert.deepEqual(resolve(near, 'db'), ['10.0.1.1']);
    assert.deepEqual(resolve(set, 'db'), ['10.0.0.1', '10.0.0.2']);
    assert.deepEqual(resolve(near, 'db-0.db'), ['10.0.0.1']);
  }
  const { near, resolve } = around({ ports: [{ port: 5432 }] }, all, { 5432: 'tcp' });
  assert.deepEqual(resolve(near, 'db'), ['10.0.0.1', '10.0.0.2']);
});

it('without pods that have addresses of their own, all these names mean the router', () => {
  const { set, near, resolve } = around(tcp, {});
  for (const who of [set, near])
    for (const name of ['db', 'db-0.db', 'db-1.db.shop.svc.cluster.local'])
      assert.deepEqual(resolve(who, name), ['10.0.1.1'], name);
  assert.deepEqual(resolve(near, 'db-2.db'), []);
});

it('other pods have a name below a headless Service by hostname and subdomain', () => {
  const pod = { hostname: 'primary', subdomain: 'db' };
  const { baseline, change } = memoryBaseline(
    workload('Deployment', 'db', { pod }),
    workload('Deployment', 'near'),
    service('db', { clusterIP: 'None' }), // without ports it has no address of its own
  );
  const names = () => clusterNames(baseline, workload('Deployment', 'near'));
  assert.deepEqual(names(), []);
  change('Deployment/shop/db', {
    status: { ...status, ips: ['10.0.0.7'], pods: [{ name: 'db-0', ip: '10.0.0.7' }] },
  });
  assert.deepEqual(
    names().map(({ ip, names }) => [ip, names[0]]),
    [
      ['10.0.0.7', 'db.shop'],
      ['10.0.0.7', 'primary.db.shop'],
    ],
  );
});
