/** What `deploy` only warns about keeps no workload from becoming ready. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readManifests } from '../../../src/model/document/manifest.ts';
import {
  type partsWithoutEffect,
  portsWithoutEffect,
  volumesWithoutEffect,
} from '../../../src/model/document/manifest-warnings.ts';
import type { Deployment } from '../../../src/model/kubernetes.ts';
import { ctx, specOf, testRuntime, untilReady } from '../../support/workload.ts';

/** Something to warn about for each part. */
const examples: {
  readonly [K in keyof typeof partsWithoutEffect]: Record<keyof (typeof partsWithoutEffect)[K], unknown>;
} = {
  pod: {
    securityContext: { runAsUser: 1_000, runAsNonRoot: true },
    activeDeadlineSeconds: 1,
    dnsConfig: { nameservers: ['192.0.2.1'] },
  },
  container: {
    securityContext: { readOnlyRootFilesystem: true, capabilities: { drop: ['ALL'] } },
    volumeDevices: [{ name: 'data', devicePath: '/dev/xvda' }],
  },
  job: {
    backoffLimitPerIndex: 1,
    maxFailedIndexes: 1,
    successPolicy: { rules: [{ succeededCount: 1 }] },
  },
  claim: {
    dataSource: { kind: 'VolumeSnapshot', name: 'yesterday' },
    dataSourceRef: { kind: 'VolumeSnapshot', name: 'yesterday' },
  },
};

const deploymentWith = (pod: object, container: object) => ({
  apiVersion: 'apps/v1',
  kind: 'Deployment',
  metadata: { name: 'web' },
  spec: {
    selector: { matchLabels: { app: 'web' } },
    template: {
      metadata: { labels: { app: 'web' } },
      spec: {
        ...pod,
        containers: [{ name: 'main', image: 'server', ports: [{ containerPort: 3000 }], ...container }],
      },
    },
  },
});

const manifests: Readonly<Record<string, object>> = {
  ...Object.fromEntries(
    Object.entries(examples.pod).map(([field, value]) => [field, deploymentWith({ [field]: value }, {})]),
  ),
  ...Object.fromEntries(
    Object.entries(examples.container).map(([field, value]) => [
      `${field} of a container`,
      deploymentWith({}, { [field]: value }),
    ]),
  ),
  'limits that are kept nowhere': deploymentWith({}, { resources: { limits: { 'ephemeral-storage': '1' } } }),
  'kinds of volumes that we do not have': deploymentWith(
    { volumes: Object.keys(volumesWithoutEffect).map((kind, i) => ({ name: `v${i}`, [kind]: { x: 1 } })) },
    {
      volumeMounts: Object.keys(volumesWithoutEffect).map((_, i) => ({
        name: `v${i}`,
        mountPath: `/v/${i}`,
      })),
    },
  ),
  'fields of ports': deploymentWith(
    {},
    {
      ports: [
        {
          containerPort: 3000,
          ...Object.fromEntries(Object.keys(portsWithoutEffect).map(field => [field, 80])),
        },
      ],
    },
  ),
  'all of them': deploymentWith(examples.pod, examples.container),
};

for (const [what, manifest] of Object.entries(manifests))
  test(`${what}: warned about, and ready`, async () => {
    const read = readManifests({ text: JSON.stringify(manifest), file: 'k8s.json' });
    assert.notDeepEqual(read.warnings, []);
    await using r = await testRuntime();
    await r.driver.ensure('web', { ...specOf(), workload: read.manifests[0] as Deployment }, ctx());
    await untilReady(r.driver, 'web');
  });

test('fields of a Job that do not count: warned about, also in a CronJob', () => {
  const spec = { template: { spec: { restartPolicy: 'Never', containers: [{ name: 'main', image: 'x' }] } } };
  const warned = (kind: string, more: object, path: string) => {
    const text = JSON.stringify({ apiVersion: 'batch/v1', kind, metadata: { name: 'work' }, spec: more });
    const { warnings } = readManifests({ text, file: 'k8s.json' });
    assert.deepEqual(
      warnings.map(({ text }) => text.replace(/^\S+ (\S+): .*/, '$1')),
      Object.keys(examples.job).map(field => `${path}.${field}`),
    );
  };
  warned('Job', { ...spec, ...examples.job }, 'spec');
  const jobTemplate = { spec: { ...spec, ...examples.job } };
  warned('CronJob', { schedule: '@daily', jobTemplate }, 'spec.jobTemplate.spec');
});

test('a claim that asks for what a disk cannot be: warned about', () => {
  const spec = { accessModes: ['ReadWriteMany'], resources: { requests: { storage: '1Gi' } } };
  const claim = { apiVersion: 'v1', kind: 'PersistentVolumeClaim', metadata: { name: 'data' }, spec };
  const read = (more: object) =>
    readManifests({ text: JSON.stringify({ ...claim, spec: { ...spec, ...more } }), file: 'k8s.json' });
  assert.deepEqual(read({}).warnings, []);
  assert.deepEqual(
    read(examples.claim).warnings.map(({ text }) => text.replace(/^.*?: /, '')),
    Object.keys(examples.claim).map(
      field => `spec.${field}: a disk begins empty where containers run as processes`,
    ),
  );
});
