/** The objects that a fork is in a cluster. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { forkObjects } from '../../../src/drivers/cluster/fork-objects.ts';
import type { WorkloadSpec } from '../../../src/drivers/contract.ts';
import { claimsOf } from '../../../src/model/claims.ts';
import { deriveFork } from '../../../src/model/derive.ts';
import type { Container, Workload } from '../../../src/model/kubernetes.ts';

const id = 'sb-fix.shop.users';

describe('the objects of a fork in a cluster', () => {
  it('are selected by nothing of the baseline, and have its containers', () => {
    const { deployment, service } = forkObjects(id, forkOf(baseline({ replicas: 3 })), 'offshoot');
    const { metadata, spec } = deployment as Objects['deployment'];
    assert.equal(metadata.namespace, 'shop');
    assert.equal(metadata.annotations['offshoot.dev/id'], id);
    assert.equal(spec.replicas, 1);
    assert.deepEqual(spec.selector.matchLabels, { 'offshoot.dev/fork': metadata.name });
    assert.deepEqual(spec.template.metadata.labels, {
      'offshoot.dev/sandbox': 'fix',
      'offshoot.dev/fork-of': 'users',
      'offshoot.dev/fork': metadata.name,
      'offshoot.dev/installation': 'offshoot',
    });
    assert.equal(spec.template.metadata.annotations['sidecar.signadot.com/inject'], 'false');
    assert.equal(spec.template.metadata.annotations.team, 'blue');
    assert.equal(spec.template.spec.serviceAccountName, 'users', 'fields that we do not know stay');
    assert.deepEqual((service as unknown as Objects['service']).spec, {
      type: 'ClusterIP',
      selector: { 'offshoot.dev/fork': metadata.name },
      ports: [
        { name: 'p8080', port: 8080, targetPort: 8080, protocol: 'TCP' },
        { name: 'p9090', port: 9090, targetPort: 9090, protocol: 'TCP' },
      ],
    });
  });

  it('go elsewhere half a minute after their machine is gone, unless the baseline says something else', () => {
    const tolerationsOf = (tolerations?: readonly object[]) => {
      const workload = baseline({});
      const { template } = workload.spec;
      const spec = { ...template.spec, ...(tolerations && { tolerations }) };
      const of = { ...workload, spec: { ...workload.spec, template: { ...template, spec } } } as Workload;
      const { deployment } = forkObjects(id, forkOf(of), 'offshoot');
      return (deployment as Objects['deployment']).spec.template.spec.tolerations;
    };
    const ours = (key: string) => ({ key, operator: 'Exists', effect: 'NoExecute', tolerationSeconds: 30 });
    const [notReady, unreachable] = ['node.kubernetes.io/not-ready', 'node.kubernetes.io/unreachable'];
    assert.deepEqual(tolerationsOf(), [ours(notReady!), ours(unreachable!)]);
    const own = { key: unreachable, operator: 'Exists', effect: 'NoExecute', tolerationSeconds: 600 };
    assert.deepEqual(tolerationsOf([own]), [own, ours(notReady!)]);
    const all = { operator: 'Exists' };
    assert.deepEqual(tolerationsOf([all]), [all]);
  });

  it('have another hash for another form, and the same for the same', () => {
    const hash = (spec: WorkloadSpec) => forkObjects(id, spec, 'offshoot').hash;
    const one = forkOf(baseline({}));
    assert.equal(hash(one), hash(structuredClone(one)));
    assert.notEqual(hash(one), hash({ ...one, restart: '1' }));
    assert.notEqual(hash(one), hash(forkOf(baseline({ minReadySeconds: 3 }))));
    assert.equal(hash(one), hash({ ...one, wish: 'another' }), 'a wish changes nothing of it');
  });

  it('of a StatefulSet are a Deployment without its names and disks', () => {
    const set = {
      ...baseline({ serviceName: 'users', podManagementPolicy: 'Parallel' }),
      kind: 'StatefulSet' as const,
    };
    const { deployment } = forkObjects(id, forkOf(set), 'offshoot');
    const { kind, spec } = deployment as Objects['deployment'];
    assert.equal(kind, 'Deployment');
    assert.deepEqual(Object.keys(spec).sort(), ['replicas', 'revisionHistoryLimit', 'selector', 'template']);
  });

  it('never share a claim of the baseline', () => {
    const set = {
      ...baseline({ volumeClaimTemplates: [{ metadata: { name: 'data' } }] }),
      kind: 'StatefulSet' as const,
    };
    assert.throws(() => forkObjects(id, forkOf(set), 'offshoot'), {
      code: 'fork/shares-claim',
      message: /its volume "data" is the claim "data-users-0" of the baseline, to which a fork never writes/,
    });
    const volumesOf = (spec: WorkloadSpec) =>
      (forkObjects(id, spec, 'offshoot').deployment as Objects['deployment']).spec.template.spec.volumes;
    const empty = forkOf(set);
    assert.deepEqual(volumesOf({ ...empty, forkVolumes: { ...empty.forkVolumes, disks: 'empty' } }), [
      { name: 'data', emptyDir: {} },
    ]);
    const patch = {
      type: 'json' as const,
      value:
        '[{"op":"replace","path":"/spec/template/spec/volumes/0","value":{"name":"data","persistentVolumeClaim":{"claimName":"of-my-own"}}}]',
    };
    assert.deepEqual(volumesOf(forkOf(set, { patch })), [
      { name: 'data', persistentVolumeClaim: { claimName: 'of-my-own' } },
    ]);
  });

  it('keep values of plugins in a Secret, where they are still what a variable has', () => {
    const password = 'p$(x)$$word';
    const env = [{ name: 'PASSWORD', valueFrom: { resource: { name: 'db', outputKey: 'step.password' } } }];
    const spec = forkOf(baseline({}), { env }, { db: { 'step.password': password } });
    const secretEnv = [{ container: 'main', name: 'PASSWORD', value: password }];
    const { deployment, secret } = forkObjects(id, { ...spec, secretEnv }, 'offshoot');
    const [main] = (deployment as Objects['deployment']).spec.template.spec.containers;
    assert.deepEqual(main?.env?.find(({ name }) => name === 'PASSWORD')?.valueFrom, {
      secretKeyRef: { name: deployment.metadata.name, key: 'main.PASSWORD' },
    });
    assert.deepEqual((secret as unknown as Objects['secret']).stringData, { 'main.PASSWORD': password });
    assert.doesNotMatch(JSON.stringify(deployment), /word/);
    const another = [{ container: 'main', name: 'PASSWORD', value: 'not what it has' }];
    assert.equal(forkObjects(id, { ...spec, secretEnv: another }, 'offshoot').secret, undefined);
    // Another password makes other pods, as it must: theirs are read when they start.
    assert.notEqual(
      forkObjects(id, { ...spec, secretEnv }, 'offshoot').hash,
      forkObjects(id, spec, 'offshoot').hash,
    );
  });
});

// --- internal ------------------------------------------------------------------------------------

type Objects = {
  readonly deployment: {
    readonly kind: string;
    readonly metadata: {
      readonly name: string;
      readonly namespace: string;
      readonly annotations: Record<string, string>;
    };
    readonly spec: {
      readonly replicas: number;
      readonly selector: { readonly matchLabels: object };
      readonly template: {
        readonly metadata: { readonly labels: object; readonly annotations: Record<string, string> };
        readonly spec: {
          readonly containers: readonly Container[];
          readonly volumes?: readonly object[];
          readonly serviceAccountName?: string;
          readonly tolerations?: readonly object[];
        };
      };
    };
  };
  readonly service: { readonly spec: object };
  readonly secret: { readonly stringData: object };
};

const baseline = (more: object): Workload => ({
  apiVersion: 'apps/v1',
  kind: 'Deployment',
  metadata: { name: 'users', namespace: 'shop', labels: { app: 'users' } },
  spec: {
    selector: { matchLabels: { app: 'users' } },
    template: {
      metadata: {
        labels: { app: 'users' },
        annotations: { team: 'blue', 'sidecar.signadot.com/inject': 'true' },
      },
      spec: {
        serviceAccountName: 'users',
        containers: [{ name: 'main', image: 'users:1', ports: [{ containerPort: 8080 }] }],
      },
    },
    ...more,
  },
});

function forkOf(
  workload: Workload,
  customizations: object = {},
  resourceOutputs: Record<string, Record<string, string>> = {},
): WorkloadSpec {
  const derived = deriveFork({
    baseline: workload,
    fork: { forkOf: { kind: workload.kind, namespace: 'shop', name: 'users' }, customizations },
    ...{ sandboxName: 'fix', routingKey: 'k', resourceOutputs, forkServices: () => undefined },
  });
  return {
    ...{
      owner: 'sandbox/fix',
      workload: derived,
      images: {},
      network: { env: {}, hosts: [], ports: [9090] },
    },
    refs: { configMaps: {}, secrets: {}, binary: { configMaps: {}, secrets: {} } },
    forkVolumes: { shared: claimsOf(workload) },
  };
}
