/** What files and folders volumes come to: no processes. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { WorkloadSpec } from '../../../src/drivers/contract.ts';
import { planWorkload } from '../../../src/drivers/workload/plan.ts';
import { fillIn } from '../../../src/drivers/workload/stand-in.ts';
import type { FilePlan, VolumePlan } from '../../../src/drivers/workload/volume-plan.ts';
import type { PodSpec, Workload } from '../../../src/model/kubernetes.ts';
import { podSpecOf, type SpecParts, shell, testNode } from '../../support/workload.ts';

const refs = {
  configMaps: { 'demo/settings': { 'app.yaml': 'level: info\n', more: 'x' }, 'demo/empty': {} },
  secrets: { 'demo/keys': { token: 'hush' } },
  binary: { configMaps: { 'demo/settings': { logo: 'AAH/' } }, secrets: {} },
};

const specOf = (volumes: PodSpec['volumes'], parts: SpecParts = {}): WorkloadSpec =>
  podSpecOf(
    { containers: [{ name: 'main', ...shell('true') }] as PodSpec['containers'], volumes: volumes ?? [] },
    { refs, ...parts },
  );

/** Of pod 3 of it. @returns a sentence when something is wrong */
function planOf(spec: WorkloadSpec): readonly VolumePlan[] | string {
  const { pod, problem } = planWorkload(spec, {
    node: testNode,
    networks: false,
    engine: { why: 'there is none' },
  });
  return problem?.message ?? fillIn(pod!.volumes, { name: 'web-3', uid: 'u', ip: '10.0.0.9', index: '3' });
}

function filesOf(volume: object, spec?: (spec: WorkloadSpec) => WorkloadSpec): readonly FilePlan[] {
  const whole = specOf([{ name: 'all', ...volume }]);
  const planned = planOf(spec?.(whole) ?? whole);
  if (typeof planned === 'string') assert.fail(planned);
  const [first] = planned;
  assert.ok(first?.kind === 'files');
  return first.files;
}

const problem = (volume: object): string | readonly VolumePlan[] =>
  planOf(specOf([{ name: 'all', ...volume }]));

describe('a projected volume', () => {
  const account = { serviceAccountToken: { path: 'token', expirationSeconds: 3607 } };

  it('holds the files of all its sources, each with its own mode or that of all', () => {
    const sources = [
      account,
      {
        configMap: {
          name: 'settings',
          items: [
            { key: 'app.yaml', path: 'etc/app.yaml' },
            { key: 'logo', path: 'logo', mode: 0o444 },
          ],
        },
      },
      { secret: { name: 'keys' } },
      { downwardAPI: { items: [{ path: 'namespace', fieldRef: { fieldPath: 'metadata.namespace' } }] } },
    ];
    assert.deepEqual(filesOf({ projected: { defaultMode: 0o400, sources } }), [
      { path: 'etc/app.yaml', mode: 0o400, text: 'level: info\n' },
      { path: 'logo', mode: 0o444, base64: 'AAH/' },
      { path: 'token', mode: 0o400, text: 'hush' },
      { path: 'namespace', mode: 0o400, text: 'demo' },
    ]);
  });

  it('that a cluster gives each pod holds what there is without one', () => {
    const sources = [
      account,
      { configMap: { name: 'kube-root-ca.crt', items: [{ key: 'ca.crt', path: 'ca.crt' }] } },
      {
        downwardAPI: {
          items: [{ path: 'namespace', fieldRef: { apiVersion: 'v1', fieldPath: 'metadata.namespace' } }],
        },
      },
    ];
    assert.deepEqual(filesOf({ projected: { defaultMode: 420, sources } }), [
      { path: 'namespace', mode: 0o644, text: 'demo' },
    ]);
  });

  it('says which of its sources is not there, unless that may be', () => {
    const projected = (source: object) => ({ projected: { sources: [source] } });
    assert.equal(problem(projected({ secret: { name: 'no' } })), 'volume "all" lacks the Secret "demo/no"');
    assert.equal(
      problem(projected({ configMap: { name: 'settings', items: [{ key: 'no', path: 'no' }] } })),
      'volume "all" lacks the key "no" of ConfigMap "demo/settings"',
    );
    assert.deepEqual(filesOf(projected({ secret: { name: 'no', optional: true } })), []);
  });
});

describe('the downward API', () => {
  const about = (...items: object[]) => ({ downwardAPI: { items } });
  const field = (fieldPath: string) => ({ path: fieldPath, fieldRef: { fieldPath } });
  const texts = (volume: object, spec?: (spec: WorkloadSpec) => WorkloadSpec) =>
    Object.fromEntries(filesOf(volume, spec).map(({ path, text }) => [path, text]));

  it('tells every field that a file may have', () => {
    const fields = [
      'metadata.name',
      'metadata.namespace',
      'metadata.uid',
      "metadata.labels['app']",
      "metadata.labels['no']",
      'metadata.labels',
      'metadata.annotations',
    ];
    assert.deepEqual(texts(about(...fields.map(field))), {
      'metadata.name': 'web-3',
      'metadata.namespace': 'demo',
      'metadata.uid': 'u',
      "metadata.labels['app']": 'web',
      "metadata.labels['no']": '',
      'metadata.labels': 'app="web"',
      'metadata.annotations': '',
    });
    assert.equal(
      problem(about(field('status.phase'))),
      'volume "all" asks for a field that there is not: status.phase',
    );
  });

  it('tells what a container may use, in units of the divisor', () => {
    const resource = (name: string, divisor: string) => ({
      path: `${name} ${divisor}`,
      resourceFieldRef: { containerName: 'main', resource: name, divisor },
    });
    assert.deepEqual(
      texts(
        about(resource('limits.memory', '1Mi'), resource('limits.cpu', '1m'), resource('requests.cpu', '1')),
      ),
      {
        'limits.memory 1Mi': '8192',
        'limits.cpu 1m': '4000',
        'requests.cpu 1': '0',
      },
    );
  });

  it('tells what a controller gives each pod', () => {
    const as =
      (kind: Workload['kind'], more: object = {}) =>
      (spec: WorkloadSpec) => ({
        ...spec,
        workload: { ...spec.workload, kind, spec: { ...spec.workload.spec, ...more } },
      });
    const index = field("metadata.labels['apps.kubernetes.io/pod-index']");
    assert.deepEqual(texts(about(index, field('metadata.labels')), as('StatefulSet')), {
      [index.path]: '3',
      'metadata.labels':
        'app="web"\napps.kubernetes.io/pod-index="3"\nstatefulset.kubernetes.io/pod-name="web-3"',
    });
    const completion = field("metadata.annotations['batch.kubernetes.io/job-completion-index']");
    const job = field("metadata.labels['batch.kubernetes.io/job-name']");
    assert.deepEqual(texts(about(completion, job), as('Job', { completionMode: 'Indexed' })), {
      [completion.path]: '3',
      [job.path]: 'web',
    });
  });
});

it('a claim can be read only, by its volume or by a mount', () => {
  const container = (readOnly: boolean) => ({
    ...shell('true'),
    name: 'main',
    volumeMounts: [{ name: 'data', mountPath: '/data', readOnly }],
  });
  const mounted = (claim: object, readOnly = false) => {
    const containers = [container(readOnly)] as unknown as PodSpec['containers'];
    const volumes = [{ name: 'data', persistentVolumeClaim: { claimName: 'data', ...claim } }];
    const { pod } = planWorkload(podSpecOf({ containers, volumes }), {
      node: testNode,
      networks: false,
      engine: { why: 'there is none' },
    });
    return pod!.containers[0]!.mounts[0]!.readOnly;
  };
  assert.deepEqual([mounted({}), mounted({ readOnly: true }), mounted({}, true)], [false, true, true]);
});

it('an empty subPath is none, as charts print one that nobody has set', () => {
  const volumeMounts = [{ name: 'data', mountPath: '/data', subPath: '', subPathExpr: '' }];
  const containers = [{ name: 'main', ...shell('true'), volumeMounts }] as PodSpec['containers'];
  const spec = podSpecOf({ containers, volumes: [{ name: 'data', emptyDir: {} }] }, { refs });
  const { pod, problem } = planWorkload(spec, {
    node: testNode,
    networks: false,
    engine: { why: 'there is none' },
  });
  assert.equal(problem, undefined);
  assert.deepEqual(pod!.containers[0]!.mounts, [{ volume: 'data', path: '/data', readOnly: false }]);
});

it('kinds of volumes that we do not know are empty folders', () => {
  const volumes = [
    { name: 'nfs', nfs: { server: 'nfs.example', path: '/' } },
    { name: 'csi', csi: { driver: 'secrets-store.csi.k8s.io', readOnly: true } },
    { name: 'of-a-pod', ephemeral: { volumeClaimTemplate: { spec: {} } } },
    { name: 'small', emptyDir: { sizeLimit: '1Mi' } },
    { name: 'none' },
  ];
  assert.deepEqual(
    planOf(specOf(volumes)),
    volumes.map(({ name }) => ({ name, kind: 'empty' })),
  );
});
