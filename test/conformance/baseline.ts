/** What every source of the baseline does; see src/baseline/contract.ts. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Baseline, BaselineChange, Found } from '../../src/baseline/contract.ts';
import type { Manifest, Service, Workload } from '../../src/model/kubernetes.ts';
import { manifestName } from '../../src/model/manifest-name.ts';
import type { ManifestStatus } from '../../src/model/workload-status.ts';
import { configMap, deployment, service } from '../support/documents.ts';

/** A source, and those who fill it. What they did shows when they have returned. */
export type BaselineUnderTest = AsyncDisposable & {
  readonly baseline: Baseline;
  deploy(...manifests: readonly Manifest[]): Promise<void>;
  /** @param name `Kind/namespace/name` */
  status(name: string, status: ManifestStatus): Promise<void>;
  /** Marks it: it is to go. */
  mark(name: string): Promise<void>;
  /** It is gone. */
  remove(name: string): Promise<void>;
};

export function baselineConformance(open: () => Promise<BaselineUnderTest>): void {
  describe('what is there', () => {
    it('is found by kind, namespace and name, and listed in order of creation', async () => {
      await using b = await open();
      await b.deploy(
        deployment('users'),
        inNamespace('other', deployment('users')),
        service('users', { port: 80 }),
        configMap('settings', { a: '1' }),
      );
      const { baseline } = b;
      assert.equal(baseline.get('Deployment', 'demo', 'users')?.object.kind, 'Deployment');
      assert.equal(baseline.get('Service', 'demo', 'users')?.object.spec.ports?.[0]?.port, 80);
      assert.deepEqual(baseline.get('ConfigMap', 'demo', 'settings')?.object.data, { a: '1' });
      assert.equal(baseline.get('Secret', 'demo', 'settings'), undefined);
      assert.equal(baseline.get('Deployment', 'nowhere', 'users'), undefined);
      assert.deepEqual(named(baseline.list('Workload')), ['demo/users', 'other/users']);
      assert.deepEqual(named(baseline.list('Deployment', 'other')), ['other/users']);
      assert.deepEqual(named(baseline.list('Service', 'other')), []);
    });

    it('is the same object and the same list as long as nothing changes, and frozen', async () => {
      await using b = await open();
      await b.deploy(deployment('users'), service('users', { port: 80 }));
      const [one, list] = [b.baseline.get('Deployment', 'demo', 'users')!, b.baseline.list('Service')];
      await b.deploy(deployment('users'));
      await b.status(manifestName('Deployment', 'demo', 'users'), running);
      assert.equal(b.baseline.list('Service'), list);
      const now = b.baseline.get('Deployment', 'demo', 'users')!;
      assert.notEqual(now, one, 'its status is another one');
      assert.equal(now.object, one.object);
      assert.ok(Object.isFrozen(now) && Object.isFrozen(now.object.spec.template));
      await b.status(manifestName('Service', 'demo', 'users'), running);
      assert.notEqual(b.baseline.list('Service'), list);
    });

    it('has another revision when something else is asked for, not when it is seen', async () => {
      await using b = await open();
      await b.deploy(deployment('users'));
      const revision = () => b.baseline.get('Deployment', 'demo', 'users')!.revision;
      const first = revision();
      await b.status(manifestName('Deployment', 'demo', 'users'), running);
      assert.equal(revision(), first);
      await b.deploy(deployment('users', { image: 'users:2' }));
      const second = revision();
      assert.notEqual(second, first);
      await b.remove(manifestName('Deployment', 'demo', 'users'));
      await b.deploy(deployment('users'));
      assert.ok(![first, second].includes(revision()), 'another one of that name');
    });

    it('does not show what is to go', async () => {
      await using b = await open();
      await b.deploy(deployment('users'), service('users', { port: 80 }), configMap('settings', {}));
      for (const kind of ['Deployment', 'Service']) await b.mark(manifestName(kind, 'demo', 'users'));
      assert.equal(b.baseline.get('Deployment', 'demo', 'users'), undefined);
      assert.deepEqual(b.baseline.list('Workload'), []);
      assert.deepEqual(b.baseline.servicesOf(deployment('users')), []);
    });
  });

  describe('what belongs together', () => {
    it('are a Service and the workloads whose pods have all its labels, of one namespace', async () => {
      await using b = await open();
      const selector = { app: 'users', tier: 'web' };
      const both = labelled('users', { ...selector, extra: 'yes' });
      const users = selecting('users', selector);
      await b.deploy(
        both,
        labelled('half', { app: 'users' }),
        inNamespace('other', both),
        users,
        selecting('all', {}),
        selecting('web', { tier: 'web' }),
      );
      assert.deepEqual(named(b.baseline.workloadsBehind(users)), ['demo/users']);
      assert.deepEqual(named(b.baseline.workloadsBehind(selecting('all', {}))), []);
      assert.deepEqual(named(b.baseline.servicesOf(both)).sort(), ['demo/users', 'demo/web']);
      assert.deepEqual(named(b.baseline.servicesOf(labelled('half', { app: 'users' }))), []);
    });

    it('a Service has the workloads behind it as long as they are there', async () => {
      await using b = await open();
      const users = service('users', { port: 80 });
      await b.deploy(deployment('users'), users);
      await b.mark(manifestName('Deployment', 'demo', 'users'));
      assert.deepEqual(
        b.baseline.workloadsBehind(users).map(found => found.deleting),
        [true],
      );
      await b.remove(manifestName('Deployment', 'demo', 'users'));
      assert.deepEqual(b.baseline.workloadsBehind(users), []);
    });

    it('are ConfigMaps and Secrets with the workloads whose variables and volumes mention them', async () => {
      await using b = await open();
      const volumes = [{ name: 'v', projected: { sources: [{ configMap: { name: 'settings' } }] } }];
      await b.deploy(
        deployment('env', { envFrom: [{ configMapRef: { name: 'settings' } }] }),
        withVolumes(deployment('files'), volumes),
        withVolumes(deployment('certs'), [{ name: 'v', secret: { secretName: 'tls' } }]),
        inNamespace('other', deployment('env', { envFrom: [{ configMapRef: { name: 'settings' } }] })),
      );
      const users = (kind: 'ConfigMap' | 'Secret', name: string) =>
        named(b.baseline.usersOf(kind, 'demo', name));
      assert.deepEqual(users('ConfigMap', 'settings'), ['demo/env', 'demo/files']);
      assert.deepEqual(users('Secret', 'tls'), ['demo/certs']);
      assert.deepEqual(users('Secret', 'settings'), []);
    });
  });

  it('who watches is told of each change, with what was told before', async () => {
    await using b = await open();
    await b.deploy(deployment('there'));
    const seen: string[] = [];
    const tell = ({ kind, name, before, now }: BaselineChange) =>
      void seen.push(`${kind} ${name}: ${stateOf(before)} → ${stateOf(now)}`);
    const stop = b.baseline.watch(tell);
    const name = manifestName('Deployment', 'demo', 'there');
    await b.status(name, running);
    await b.deploy(configMap('settings', { a: '1' }));
    await b.mark(name);
    await b.remove(name);
    assert.deepEqual(seen, [
      'Deployment there: unseen → Running',
      'ConfigMap settings: absent → unseen',
      'Deployment there: Running → going',
      'Deployment there: going → absent',
    ]);
    stop();
    await b.deploy(configMap('settings', { a: '2' }));
    assert.equal(seen.length, 4);
  });
}

// --- internal -----------------------------------------------------------------------------------

const running: ManifestStatus = { ready: true, reason: 'Running', message: '', observedGeneration: 1 };

const named = (list: readonly Found[]) => list.map(({ namespace, name }) => `${namespace}/${name}`);

function stateOf(found: Found | undefined): string {
  if (found === undefined) return 'absent';
  return found.deleting ? 'going' : (found.status?.reason ?? 'unseen');
}

const inNamespace = <M extends Manifest>(namespace: string, manifest: M): M => ({
  ...manifest,
  metadata: { ...manifest.metadata, namespace },
});

function labelled(name: string, labels: Readonly<Record<string, string>>) {
  const { spec, ...rest } = deployment(name);
  return { ...rest, spec: { ...spec, template: { ...spec.template, metadata: { labels } } } };
}

function withVolumes(
  workload: ReturnType<typeof deployment>,
  volumes: Workload['spec']['template']['spec']['volumes'],
) {
  const { template } = workload.spec;
  const spec = { ...template.spec, ...(volumes && { volumes }) };
  return { ...workload, spec: { ...workload.spec, template: { ...template, spec } } };
}

const selecting = (name: string, selector: Readonly<Record<string, string>>): Service => ({
  ...service(name, { port: 80 }),
  spec: { selector, ports: [{ port: 80 }] },
});
