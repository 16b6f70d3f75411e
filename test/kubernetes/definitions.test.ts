/** Whether the definitions of a cluster know what we write. On a real one: test/cluster/bad-input.test.ts. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { customResourceDefinition } from '../../src/kubernetes/crd.ts';
import { checkDefinitions, fieldsLacking } from '../../src/kubernetes/definitions.ts';
import { clusterKinds, keptKinds } from '../../src/kubernetes/kinds.ts';
import { OffshootError } from '../../src/model/errors.ts';

type Loose = { [field: string]: Loose };

/** As an API server tells of them. @param change of a kind's schema */
const cluster = (change: (kind: string, schema: Loose) => unknown) => ({
  schemas: async () =>
    Object.fromEntries(
      keptKinds.map(kept => {
        const schema = customResourceDefinition(kept).spec.versions[0]!.schema.openAPIV3Schema;
        return [
          clusterKinds[kept].kind,
          change(clusterKinds[kept].kind, structuredClone(schema) as unknown as Loose),
        ];
      }),
    ),
});

test('the same definitions lack nothing, nor do those of a later version', async () => {
  assert.deepEqual(await fieldsLacking(cluster((_, schema) => schema)), []);
  const later = cluster((_, schema) => {
    schema.properties!.spec!.properties!.later = {};
    return schema;
  });
  assert.deepEqual(await fieldsLacking(later), []);
});

test('what older ones would drop is named, wherever it is', async () => {
  const older = cluster((kind, schema) => {
    const fields = schema.properties!.spec!.properties!;
    if (kind === 'Sandbox') {
      delete fields.forks!.items!.properties!.name;
      delete fields.ttl;
    }
    if (kind === 'Branch') delete fields.parent;
    return schema;
  });
  assert.deepEqual((await fieldsLacking(older)).toSorted(), [
    'branches.offshoot.dev spec.parent',
    'sandboxes.offshoot.dev spec.forks[].name',
    'sandboxes.offshoot.dev spec.ttl',
  ]);
  await assert.rejects(checkDefinitions(older), {
    code: 'kubernetes/definitions-older',
    message:
      'the definitions in the cluster are of an older version: they drop 3 fields that this one has, such as branches.offshoot.dev spec.parent',
  });
});

test('of a kind that the cluster does not know nothing is said here', async () => {
  const some = cluster((kind, schema) => (kind === 'Branch' ? undefined : schema));
  assert.deepEqual(await fieldsLacking(some), []);
  await checkDefinitions({ schemas: async () => undefined });
  // Nor to who may not read them.
  const forbidden = new OffshootError('kubernetes/forbidden', { verb: 'get', what: 'schemas', why: 'no' });
  await checkDefinitions({ schemas: () => Promise.reject(forbidden) });
});
