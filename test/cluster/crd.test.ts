/** What a real API server makes of the definitions: kubectl applies the same documents, whole, and is refused bad ones. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { kubeconfigAccess } from '../../src/kubernetes/access.ts';
import { clusterClient } from '../../src/kubernetes/client.ts';
import { customResourceDefinition } from '../../src/kubernetes/crd.ts';
import { fieldsLacking } from '../../src/kubernetes/definitions.ts';
import { apiVersion, clusterKinds, type KeptKind, objectName } from '../../src/kubernetes/kinds.ts';
import type { Structural } from '../../src/kubernetes/structural.ts';
import { ExecError } from '../../src/lib/exec.ts';
import { readSandbox } from '../../src/model/document/sandbox.ts';
import { apply, contextName, kubectl, namespace, noCluster, read } from '../support/cluster.ts';
import { shownDocuments } from '../support/document-files.ts';

const tutorial = join(import.meta.dirname, '../../examples/users-service/signadot/users-sandbox.yaml');

/** A document as an object of the cluster: its name and spec, and nothing else. */
const object = (kind: 'sandbox' | 'plugin', namespace: string, name: string, spec: unknown) => ({
  apiVersion,
  kind: clusterKinds[kind].kind,
  metadata: { name: objectName(kind, name), namespace },
  spec,
});

const sandbox = (name: string, spec: object) =>
  object('sandbox', 'default', name, { cluster: 'local', ...spec });

async function refusalOf(value: object): Promise<string> {
  try {
    await apply([value], '--dry-run=server');
  } catch (error) {
    if (error instanceof ExecError) return error.stderr;
    throw error;
  }
  return 'accepted';
}

test('a definition that is older than the program is named by the field that it drops', {
  skip: noCluster,
}, async () => {
  const context = contextName === undefined ? {} : { context: contextName };
  const client = clusterClient(
    await kubeconfigAccess(process.env.KUBECONFIG!, { ...context, env: process.env }),
  );
  try {
    assert.deepEqual(await fieldsLacking(client), [], 'the cluster has the definitions of this checkout');
    const later = (kept: KeptKind): Structural => {
      const schema = customResourceDefinition(kept).spec.versions[0]!.schema.openAPIV3Schema;
      if (kept !== 'sandbox') return schema;
      const { properties } = schema.properties!.spec!;
      const spec = {
        type: 'object',
        properties: { ...properties, fromTomorrow: { type: 'string' } },
      } as const;
      return { ...schema, properties: { ...schema.properties, spec } };
    };
    assert.deepEqual(await fieldsLacking(client, later), ['sandboxes.offshoot.dev spec.fromTomorrow']);
  } finally {
    client.close();
  }
});

test("the tutorial's sandbox comes back whole, and kubectl shows it", { skip: noCluster }, async () => {
  await using ns = await namespace();
  const source = { file: tutorial, text: readFileSync(tutorial, 'utf8') };
  const { name, spec } = readSandbox(source, { set: ['cluster=local'] }).sandbox;
  await apply([object('sandbox', ns.name, name, spec)]);
  const found = await read<{ spec: object }>('-n', ns.name, 'get', 'sandbox', name);
  assert.deepEqual(found.spec, spec);

  // A status is written by its own door, and spec by the other.
  const now = new Date().toISOString().replace(/\.\d+/, '');
  const ready = { type: 'Ready', status: 'True', reason: 'AllReady', message: 'm', lastTransitionTime: now };
  const status = {
    ...{ ready: true, reason: 'AllDesiredWorkloadsReady', conditions: [ready] },
    endpoints: [{ name: 'users', url: 'http://users--x.preview.test', routeType: 'host' }],
  };
  const patch = JSON.stringify({ spec: { description: 'not by this door' }, status });
  const at = ['-n', ns.name, 'patch', 'sandbox', name, '--type=merge', '-p', patch];
  await kubectl([...at, '--subresource=status']);
  const after = await read<{ spec: object; status: object }>('-n', ns.name, 'get', 'sbx', name);
  assert.deepEqual(after.spec, spec);
  assert.deepEqual(after.status, status);
  await kubectl(['-n', ns.name, 'wait', `sandbox/${name}`, '--for=condition=Ready', '--timeout=240s']);
  const { stdout } = await kubectl(['-n', ns.name, 'get', 'offshoot']);
  assert.match(stdout, /^NAME +READY +REASON +URL +AGE$/m);
  assert.match(stdout, /True +AllDesiredWorkloadsReady +http:\/\/users--x.preview.test /);
});

test('every document that the project shows comes back whole', { skip: noCluster }, async () => {
  await using ns = await namespace();
  const documents = shownDocuments();
  const objects = documents.map(({ kind, spec }, i) => object(kind, ns.name, `shown-${i}`, spec));
  await apply(objects);
  const { items } = await read<{ items: { metadata: { name: string }; spec: object }[] }>(
    ...['-n', ns.name, 'get', 'sandboxes,resourceplugins'],
  );
  const found = new Map(items.map(({ metadata, spec }) => [metadata.name, spec]));
  for (const [i, { from, spec }] of documents.entries())
    assert.deepEqual(found.get(`shown-${i}`), spec, from);
});

const fork = { forkOf: { kind: 'Deployment', namespace: 'demo', name: 'users' } };
const withEnv = (...env: object[]) => ({ forks: [{ ...fork, customizations: { env } }] });
const bad: Readonly<Record<string, [object, RegExp]>> = {
  'a field that nobody knows': [sandbox('a', { forkz: [] }), /unknown field "(spec\.)?forkz"/],
  'no cluster': [
    object('sandbox', 'default', 'a', {}),
    /spec.cluster: Required value|missing required field "cluster"/,
  ],
  'no spec at all': [
    object('sandbox', 'default', 'a', undefined),
    /spec: Required value|missing required field "spec"/,
  ],
  'a fork of a Job': [
    sandbox('a', { forks: [{ forkOf: { ...fork.forkOf, kind: 'Job' } }] }),
    /Unsupported value: "Job"/,
  ],
  'a port that is none': [
    sandbox('a', { endpoints: [{ name: 'x', host: 'users.demo.svc', port: 70000 }] }),
    /endpoints\[0\].port.*65535/,
  ],
  'a ttl that is none': [sandbox('a', { ttl: { duration: '2 days' } }), /spec.ttl.duration/],
  'a variable without a value': [
    sandbox('a', withEnv({ name: 'A' })),
    /environment variable "A" needs exactly one of value, valueFrom/,
  ],
  'a variable that is deleted and has one': [
    sandbox('a', withEnv({ name: 'A', operation: 'delete', value: 'x' })),
    /"operation: delete" takes no value/,
  ],
  'a value from two places': [
    sandbox(
      'a',
      withEnv({
        name: 'A',
        valueFrom: { secret: { name: 'a', key: 'b' }, configMap: { name: 'a', key: 'b' } },
      }),
    ),
    /needs exactly one of resource, fork, configMap, secret/,
  ],
  'a reserved label': [
    sandbox('a', { labels: { 'signadot/other': 'x' } }),
    /labels with the prefix "signadot\/" are reserved/,
  ],
  'half of a pair of labels': [
    sandbox('a', { labels: { 'signadot/github-repo': 'a/b' } }),
    /need each other/,
  ],
  'a name with two hyphens': [
    sandbox('a--b', {}),
    /"a--b" is not a sandbox name: it contains "--", which separates endpoint and sandbox/,
  ],
  'a name that is too long': [
    sandbox('a'.repeat(31), {}),
    /is not a sandbox name: it has more than 30 characters/,
  ],
  'a name with a digit first': [sandbox('1a', {}), /"1a" is not a sandbox name: only lowercase letters/],
  'a step without an action': [
    object('plugin', 'default', 'a', { create: [{ name: 'x' }] }),
    /a step needs exactly one of script, uses/,
  ],
  'an input from nowhere': [
    object('plugin', 'default', 'a', { create: [{ name: 'x', script: 'true', inputs: [{ name: 'i' }] }] }),
    /an input needs exactly one of "valueFromSandbox: true" and valueFromStep/,
  ],
  'a version that is none': [
    object('plugin', 'default', 'a@1.2', {}),
    /"a.1.2" is not a plugin name: .*as in users-db.1.2.0/,
  ],
};

for (const [name, [value, message]] of Object.entries(bad))
  test(`refused: ${name}`, { skip: noCluster }, async () => assert.match(await refusalOf(value), message));

test('the cluster of a sandbox stays', { skip: noCluster }, async () => {
  await using ns = await namespace();
  await apply([object('sandbox', ns.name, 'a', { cluster: 'one' })]);
  assert.match(
    await refusalOf(object('sandbox', ns.name, 'a', { cluster: 'two' })),
    /cluster cannot be changed after creation/,
  );
});
