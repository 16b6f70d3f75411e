/** The kinds that make pods: how their manifests are read, and what a cluster would refuse. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { readManifests } from '../../../src/model/document/manifest.ts';
import type { Problem } from '../../../src/model/document/problem.ts';
import { OffshootError } from '../../../src/model/errors.ts';
import { asWorkload } from '../../../src/model/workload.ts';

const pod = 'containers: [{ name: a, image: a }]';
const labelled = `selector: { matchLabels: { app: x } }, template: { metadata: { labels: { app: x } }, spec: { ${pod} } }`;

const ending = `template: { spec: { restartPolicy: Never, ${pod} } }`;

const manifest = (apiVersion: string, kind: string, spec: string, name = 'x') =>
  `apiVersion: ${apiVersion}\nkind: ${kind}\nmetadata: { name: ${name}, labels: { app: x } }\nspec: { ${spec} }\n`;

const read = (text: string) => readManifests({ file: 'k8s.yaml', text });

function problems(text: string): readonly string[] {
  try {
    read(text);
    return [];
  } catch (error) {
    if (!(error instanceof OffshootError)) throw error;
    return (error.problems as readonly Problem[]).map(({ path, message }) => `${path}: ${message}`);
  }
}

describe('a workload of every kind is pods of one template', () => {
  const manifests: readonly (readonly [kind: string, text: string, replicas: number | undefined])[] = [
    ['Deployment', manifest('apps/v1', 'Deployment', labelled), 1],
    ['StatefulSet', manifest('apps/v1', 'StatefulSet', `replicas: 2, serviceName: x, ${labelled}`), 2],
    ['DaemonSet', manifest('apps/v1', 'DaemonSet', labelled), undefined],
    ['ReplicaSet', manifest('apps/v1', 'ReplicaSet', labelled), 1],
    [
      'ReplicationController',
      manifest('v1', 'ReplicationController', labelled.replace('{ matchLabels: { app: x } }', '{ app: x }')),
      1,
    ],
    ['Rollout', manifest('argoproj.io/v1alpha1', 'Rollout', labelled), 1],
    ['Pod', manifest('v1', 'Pod', pod), 1],
  ];
  for (const [kind, text, replicas] of manifests) {
    test(kind, () => {
      const { manifests, leftOut, warnings } = read(text);
      assert.deepEqual([leftOut, warnings], [[], []]);
      const workload = asWorkload(manifests[0]!)!;
      assert.deepEqual([workload.kind, workload.spec.replicas], [kind, replicas]);
      assert.deepEqual(workload.spec.template.metadata?.labels, { app: 'x' });
      assert.equal(workload.spec.template.spec.containers[0]?.image, 'a');
      assert.equal(asWorkload(manifests[0]!), workload, 'it is the same one each time');
    });
  }
});

test('a Job has what Kubernetes fills in; without completions beside parallelism it is a queue of work', () => {
  const spec = (text: string) => {
    const { completions, parallelism, backoffLimit } = asWorkload(read(text).manifests[0]!)!.spec;
    return [completions, parallelism, backoffLimit];
  };
  assert.deepEqual(spec(manifest('batch/v1', 'Job', ending)), [1, 1, 6]);
  assert.deepEqual(spec(manifest('batch/v1', 'Job', `parallelism: 2, ${ending}`)), [undefined, 2, 6]);
  const cronJob = `schedule: '@daily', jobTemplate: { spec: { backoffLimit: 1, ${ending} } }`;
  assert.deepEqual(spec(manifest('batch/v1', 'CronJob', cronJob)), [1, 1, 1]);
});

test('booleans may be said as in YAML 1.1', () => {
  const suspended = (word: string) =>
    asWorkload(read(manifest('batch/v1', 'Job', `suspend: ${word}, ${ending}`)).manifests[0]!)!.spec.suspend;
  assert.deepEqual(['yes', 'On', 'true', 'no', 'OFF', 'false'].map(suspended), [
    ...[true, true, true],
    ...[false, false, false],
  ]);
  assert.throws(() => suspended('maybe'), { code: 'document/invalid' });
});

describe('what a cluster refuses is refused', () => {
  const cases: readonly (readonly [what: string, text: string, expected: readonly string[]])[] = [
    [
      'a selector that does not select',
      manifest('apps/v1', 'DaemonSet', labelled.replace('labels: { app: x }', 'labels: { app: y }')),
      [`spec.selector.matchLabels.app: the template's labels do not have "app: x"`],
    ],
    [
      'a Pod whose containers have one name, be one an init container',
      manifest('v1', 'Pod', `${pod}, initContainers: [{ name: a, image: i }]`),
      ['spec.containers[0].name: the container name "a" is used twice'],
    ],
    [
      'mounts of volumes that are not there, two at one place',
      manifest(
        'v1',
        'Pod',
        'volumes: [{ name: data, emptyDir: {} }], containers: [{ name: a, image: a, volumeMounts: [{ name: date, mountPath: /a }, { name: data, mountPath: /a }] }]',
      ),
      [
        'spec.containers[0].volumeMounts[0].name: the pod has no volume "date"',
        'spec.containers[0].volumeMounts[1].mountPath: the mount path "/a" is used twice',
      ],
    ],
    [
      'a Job that would be started again for ever',
      manifest('batch/v1', 'Job', `template: { spec: { ${pod} } }`),
      ['spec.template.spec.restartPolicy: the pods of a Job need a restartPolicy of OnFailure or Never'],
    ],
    [
      'a CronJob without a time, and with too long a name',
      manifest(
        'batch/v1',
        'CronJob',
        `schedule: now and then, timeZone: Mars, jobTemplate: { spec: { ${ending} } }`,
        'x'.repeat(53),
      ),
      ['metadata.name: must have at most 52 characters', 'spec.timeZone: there is no time zone "Mars"'],
    ],
    [
      'files of volumes that leave them',
      manifest(
        'v1',
        'Pod',
        `${pod}, volumes: [{ name: v, configMap: { name: c, items: [{ key: k, path: ../k }] } }, { name: h, hostPath: { path: data } }]`,
      ),
      [
        'spec.volumes[0].configMap.items[0].path: must be a relative path without ".."',
        'spec.volumes[1].hostPath.path: must be absolute',
      ],
    ],
  ];
  for (const [what, text, expected] of cases)
    test(what, () => assert.deepEqual(problems(text).toSorted(), expected.toSorted()));

  test('a StatefulSet mounts the volumes that it makes for each pod', () => {
    const spec = `volumeClaimTemplates: [{ metadata: { name: data } }], ${labelled}`.replace(
      'image: a',
      'image: a, volumeMounts: [{ name: data, mountPath: /d }]',
    );
    assert.deepEqual(problems(manifest('apps/v1', 'StatefulSet', spec)), []);
  });
});

test('a volume names a claim by what can be a name of one, not by a way to another folder', () => {
  const volumes = (claim: string) =>
    manifest('v1', 'Pod', `${pod}, volumes: [{ name: v, persistentVolumeClaim: { claimName: "${claim}" } }]`);
  assert.deepEqual(problems(volumes('data-db.x-0')), []);
  for (const claim of ['../other/data', '..', ''])
    assert.match(
      problems(volumes(claim))[0] ?? '',
      /^spec\.volumes\[0\]\.persistentVolumeClaim\.claimName: only lowercase/,
    );
});
