/** The chart installs, and its account may do what its store does and no more. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { parseAllDocuments } from 'yaml';
import { kubernetesBaseline } from '../../src/baseline/kubernetes.ts';
import { kubeconfigAccess } from '../../src/kubernetes/access.ts';
import { clusterClient } from '../../src/kubernetes/client.ts';
import { clusterKinds, group, keptKinds } from '../../src/kubernetes/kinds.ts';
import { ExecError } from '../../src/lib/exec.ts';
import { silentLog } from '../../src/lib/log.ts';
import { until } from '../../src/lib/wait.ts';
import { openKubernetesStore } from '../../src/store/kubernetes.ts';
import { apply, helm, kubectl, namespace, noCluster } from '../support/cluster.ts';
import { deployment } from '../support/documents.ts';
import { chart } from '../support/installation.ts';
import { tempDir } from '../support/temp.ts';

/** Definitions and rights without what runs by them. */
const only = ['--set', 'controller.replicas=0', '--set', 'gateway.replicas=0'];

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
  ['--set', 'branches.nodes=2'],
  [
    '--set',
    'branches.nodes=1,branches.pool=true,branches.storage.kind=hostPath,branches.storage.path=/srv/branches',
  ],
  [
    '--set-json',
    'previews={"url":"https://dev.example.com","ingress":{"enabled":true,"className":"nginx","tlsSecret":"wild","annotations":{"a":"b"}}}',
  ],
])
  test(`what the chart says is taken: ${values[1] ?? 'as it is'}`, { skip: noCluster }, async () => {
    await using ns = await namespace();
    // Of the namespace that it makes the API server would say that it is not there.
    const existing = ['--set', `authority.namespace=${ns.name}`];
    const { text, manifests } = await rendered(ns.name, ...existing, ...values);
    const { stdout } = await kubectl(['apply', '--dry-run=server', '-f', '-'], { input: text });
    assert.equal(stdout.trim().split('\n').length, manifests.length);
  });

test('two installations share no name outside of their namespaces', { skip: noCluster }, async () => {
  const whole = ['--set-json', 'baselineNamespaces=["*"]'];
  const [one, other] = await Promise.all([rendered('one', ...whole), rendered('two', ...whole)]);
  const names = ({ manifests }: typeof one) =>
    manifests.filter(({ metadata }) => metadata.namespace === undefined).map(({ metadata }) => metadata.name);
  assert.equal(names(one).length, 9);
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
  await using runner = await namespace();
  const settings = [
    ...only,
    ...['--set-json', `baselineNamespaces=["${baseline.name}"]`],
    ...['--set-json', `runnerNamespaces=["${runner.name}"]`],
  ];
  // The definitions are the cluster's, and there already.
  await helm(['install', 'ours', chart, '-n', ns.name, '--skip-crds', '--wait', ...settings]);
  type Question = readonly [verb: string, resource: string, namespace: string, name?: string];
  const kept = `${ns.name}-ours-authority`;
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
    ...[ns.name, runner.name].flatMap((namespace): Question[] => [
      ['create', 'jobs.batch', namespace],
      ['delete', 'pods', namespace],
      ['get', 'pods/log', namespace],
      ['create', 'secrets', namespace],
      ['watch', 'events', namespace],
    ]),
    // Forks.
    ...['deployments.apps', 'services', 'secrets'].flatMap(resource =>
      ['create', 'update', 'delete'].map((verb): Question => [verb, resource, baseline.name]),
    ),
    ['get', 'pods/log', baseline.name],
    ...['get', 'update'].map((verb): Question => [verb, 'secrets', kept, 'ours-authority']),
    ['create', 'secrets', kept],
  ];
  const no: readonly Question[] = [
    ['create', 'jobs.batch', baseline.name],
    ['create', 'pods', runner.name],
    ['update', 'secrets', runner.name],
    ['get', 'pods/exec', runner.name],
    ['get', 'secrets', other.name],
    ['get', 'deployments.apps', other.name],
    ['get', 'sandboxes.offshoot.dev', other.name],
    ['create', 'deployments.apps', other.name],
    ['update', 'statefulsets.apps', baseline.name],
    ['delete', 'configmaps', baseline.name],
    ['create', 'pods', baseline.name],
    ['create', 'pods/exec', baseline.name],
    ['create', 'pods', ns.name],
    ['create', 'roles.rbac.authorization.k8s.io', ns.name],
    ['list', 'nodes', ns.name],
    ['list', 'secrets', kept],
    ['get', 'secrets', kept, 'another'],
  ];
  const asked = [...yes, ...no];
  const items = asked.map(([verb, named, namespace, name]) => {
    const [, resource = '', group = '', subresource = ''] = /^([^./]+)\.?([^/]*)\/?(.*)$/.exec(named) ?? [];
    const resourceAttributes = { namespace, verb, group, resource, subresource, ...(name && { name }) };
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

test('store and baseline work with the rights of its account', { skip: noCluster }, async () => {
  await using ns = await namespace();
  await using demo = await namespace();
  await using dir = await tempDir();
  const settings = [...only, '--set-json', `baselineNamespaces=["${demo.name}"]`];
  await helm(['install', 'ours', chart, '-n', ns.name, '--skip-crds', '--wait', ...settings]);
  const file = join(dir.path, 'kubeconfig');
  await writeFile(file, JSON.stringify(await kubeconfigOf(ns.name)), { mode: 0o600 });
  const client = clusterClient(await kubeconfigAccess(file, { env: process.env }));
  const source = kubernetesBaseline({ client, namespaces: [demo.name] });
  const store = await openKubernetesStore({
    ...{ client, namespace: ns.name, firstVersion: 0, now: () => new Date(), log: silentLog },
  });
  try {
    const secret = { password: 'p' };
    await store.create('branch', 'br4f6k', { spec: { project: 'p', name: 'b' }, status: null, secret });
    const status = {
      state: 'ready',
      reason: 'R',
      message: 'm',
      conditions: [],
      observedGeneration: 1,
    } as const;
    await store.modify('branch', 'br4f6k', () => ({ status }));
    await store.record({
      ...{ kind: 'branch', name: 'br4f6k', severity: 'info', reason: 'Made', message: 'by its account' },
    });
    const about = ['get', 'events', '-n', ns.name, '-o', 'jsonpath={.items[*].message}'];
    assert.match((await kubectl(about)).stdout, /by its account/);
    await store.modify('branch', 'br4f6k', () => ({ deleted: true }));
    await store.remove('branch', 'br4f6k');
    assert.equal((await kubectl(['get', 'branches', '-n', ns.name, '-o', 'name'])).stdout, '');

    await source.synced;
    const users = deployment('users', { image: 'lab.local/none:1' });
    await apply([{ ...users, metadata: { ...users.metadata, namespace: demo.name } }]);
    await until(() => source.baseline.get('Deployment', demo.name, 'users'), {
      what: 'the workload',
      deadlineMs: 60_000,
    });
  } finally {
    await store.close();
    await source.close();
    client.close();
    await helm(['uninstall', 'ours', '-n', ns.name, '--wait']);
  }
});

// --- internal ------------------------------------------------------------------------------------

/** The one of the tests, for the account of a chart that is installed as `ours`. */
async function kubeconfigOf(namespace: string): Promise<object> {
  const token = await kubectl(['create', 'token', 'ours-controller', '-n', namespace]);
  const view = await kubectl(['config', 'view', '--raw', '--minify', '--flatten', '-o', 'json']);
  const config = JSON.parse(view.stdout) as { readonly users: readonly { readonly name: string }[] };
  return {
    ...config,
    users: config.users.map(({ name }) => ({ name, user: { token: token.stdout.trim() } })),
  };
}
