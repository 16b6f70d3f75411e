import assert from 'node:assert/strict';
import { test } from 'node:test';
import { claimsOf, ordinalOfClaim } from '../../src/model/claims.ts';
import type { Workload } from '../../src/model/kubernetes.ts';
import { deployment, statefulSet } from '../support/documents.ts';

const volumes = [
  { name: 'data', persistentVolumeClaim: { claimName: 'shared' } },
  { name: 'uploads', persistentVolumeClaim: { claimName: 'uploads' } },
  { name: 'tmp', emptyDir: {} },
];

const withVolumes = ({ spec, ...rest }: Workload): Workload => ({
  ...rest,
  spec: { ...spec, template: { ...spec.template, spec: { ...spec.template.spec, volumes } } },
});

test('claims of a workload are those that its volumes name, and those of each pod of a StatefulSet', () => {
  assert.deepEqual(claimsOf(withVolumes(deployment('web'))), ['shared', 'uploads']);
  const set = withVolumes(statefulSet('db', { replicas: 2, ordinals: { start: 3 } }));
  assert.deepEqual(claimsOf(set), ['uploads', 'data-db-3', 'data-db-4']);
  assert.deepEqual(claimsOf(statefulSet('db', { replicas: 0 })), []);
});

test('a claim of a StatefulSet is known by its name, also when no pod has it now', () => {
  const set = statefulSet('db');
  const found = [
    'data-db-7',
    'data-db-0',
    'data-db-07',
    'data-db-',
    'data-db-x-1',
    'log-db-1',
    'data-other-1',
  ];
  assert.deepEqual(
    found.map(claim => ordinalOfClaim(set, claim)),
    [7, 0, undefined, undefined, undefined, undefined, undefined],
  );
});
