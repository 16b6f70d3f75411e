/** The chart installs, and its account may do what its store does and no more. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { parseAllDocuments } from 'yaml';
import { clusterKinds, group, keptKinds } from '../../src/kubernetes/kinds.ts';
import { ExecError } from '../../src/lib/exec.ts';
import { helm, kubectl, namespace, noCluster } from '../support/cluster.ts';

const chart = join(import.meta.dirname, '../../charts/offshoot');

type Manifest = {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
  readonly rules?: readonly { readonly resources: readonly string[]; readonly verbs: readonly string[] }[];
};

const rendered = async (namespace: string, ...values: string[]) => {
  const { stdout } = await helm(['template', 'ours', chart, '-n', namespace, ...values]);
  const documents = parseAllDocuments(stdout).map(document => document.toJS() as Manifest | null);
  return { text: stdout, manifests: documents.filter(document => document !== null) };
};

for (const values of [
  [],
  ['--set-json', 'baselineNamespaces=["*"]'],
  ['--set-json', 'baselineNamespaces=["default"]'],
])
  test(`what the chart says is taken: ${values[1] ?? 'as it is'}`, { skip: noCluster }, async () => {
    await using ns = await namespace();
    const { text, manifests } = await rendered(ns.name, ...values);
    const { stdout } = await kubectl(['apply', '--dry-run=server', '-f', '-'], { input: text });
    assert.equal(stdout.trim().split('\n').length, manifests.length);
  });

test('two installations share no name outside of their namespaces', { skip: noCluster }, async () => {
  const whole = ['--set-json', 'baselineNamespaces=["*"]'];
  const [one, other] = await Promise.all([rendered('one', ...whole), rendered('two', ...whole)]);
  const names = ({ manifests }: typeof one) =>
    manifests.filter(({ metadata }) => metadata.namespace === undefined).map(({ metadata }) => metadata.name);
  assert.equal(names(one).length, 2);
  assert.ok(names(one).every(name => !names(other).includes(name)));
});

test('a value that is none is refused', { skip: noCluster }, async () => {
  await assert.rejects(
    helm(['template', 'ours', chart, '--set', 'baselineNamespace=demo']),
    error =>
      error instanceof ExecError &&
      /additional properties 'baselineNamespace' not allowed/.test(error.stderr),
  );
  await assert.rejects(
    helm(['template', 'ours', chart, '--set-json', 'baselineNamespaces=["*","demo"]']),
    ExecError,
  );
});

test('its account has the rights that it needs, and no others', { skip: noCluster }, async () => {
  await using ns = await namespace();
  await using baseline = await namespace();
  await using other = await namespace();
  const settings = ['--set-json', `baselineNamespaces=["${baseline.name}"]`];
  // The definitions are the cluster's, and there already.
  await helm(['install', 'ours', chart, '-n', ns.name, '--skip-crds', '--wait', ...settings]);
  type Question = readonly [verb: string, resource: string, namespace: string];
  const yes: readonly Question[] = [
    ...keptKinds.flatMap(kind => {
      const { plural, status } = clusterKinds[kind];
      const all = ['get', 'list', 'watch', 'create', 'update', 'patch', 'delete'];
      const own = all.map((verb): Question => [verb, `${plural}.${group}`, ns.name]);
      return status ? [...own, ['update', `${plural}.${group}/status`, ns.name] as const] : own;
    }),
    ...['create', 'update', 'delete', 'watch'].map((verb): Question => [verb, 'secrets', ns.name]),
    ...['create', 'update', 'watch'].map((verb): Question => [verb, 'events', ns.name]),
    ...['deployments.apps', 'services', 'configmaps', 'secrets', 'endpointslices.discovery.k8s.io'].map(
      (resource): Question => ['watch', resource, baseline.name],
    ),
  ];
  const no: readonly Question[] = [
    ['get', 'secrets', other.name],
    ['get', 'deployments.apps', other.name],
    ['get', 'sandboxes.offshoot.dev', other.name],
    ['update', 'deployments.apps', baseline.name],
    ['create', 'pods', baseline.name],
    ['delete', 'secrets', baseline.name],
    ['create', 'pods', ns.name],
    ['create', 'roles.rbac.authorization.k8s.io', ns.name],
    ['list', 'nodes', ns.name],
  ];
  const asked = [...yes, ...no];
  const items = asked.map(([verb, named, namespace]) => {
    const [, resource = '', group = '', subresource = ''] = /^([^./]+)\.?([^/]*)\/?(.*)$/.exec(named) ?? [];
    const resourceAttributes = { namespace, verb, group, resource, subresource };
    const spec = { user: `system:serviceaccount:${ns.name}:ours-controller`, resourceAttributes };
    return { apiVersion: 'authorization.k8s.io/v1', kind: 'SubjectAccessReview', spec };
  });
  const list = JSON.stringify({ apiVersion: 'v1', kind: 'List', items });
  const { stdout } = await kubectl(['create', '-f', '-', '-o', 'jsonpath={.status.allowed}{"\\n"}'], {
    input: list,
  });
  const answers = stdout.split('\n');
  assert.deepEqual(
    asked.map((question, i) => `${question.join(' ')}: ${answers[i]}`),
    asked.map((question, i) => `${question.join(' ')}: ${i < yes.length}`),
  );
  await helm(['uninstall', 'ours', '-n', ns.name, '--wait']);
  const left = await kubectl(['get', 'roles,rolebindings', '-n', baseline.name, '-o', 'name']);
  assert.equal(left.stdout, '');
});
