/** What is left of an installation, and of its users' workloads, when it is taken away by the commands of docs/kubernetes.md. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { exec } from '../../src/lib/exec.ts';
import { until } from '../../src/lib/wait.ts';
import { apply, contextName, kubectl, noImage, read } from '../support/cluster.ts';
import { applyUsers, type Installation, installation, sandboxOfUsers } from '../support/installation.ts';

const skip = noImage || (contextName !== undefined && 'its commands use the current context');

describe('an installation that is taken away', { skip, concurrency: true }, () => {
  it('leaves nothing, and workloads as they were, when its objects went before it', async () => {
    await using c = await withWork();
    const before = await workloads(c);
    await run(c, inOrder);
    await left(c, before);
  });

  it('can be cleared away also when its controllers went first', async () => {
    await using c = await withWork();
    const before = await workloads(c);
    const [pod] = await podsOf(c);
    const [, uninstall = ''] = inOrder.split('\n');
    await run(c, uninstall);
    await until(async () => ((await controllers(c)) === 0 ? true : undefined), {
      ...{ what: 'nobody decides', deadlineMs: 60_000, intervalMs: 200 },
    });
    // The pods of the baseline go on with their sidecars, and its fork is there.
    assert.equal(await ask(c), 'info v1');
    assert.equal((await podsOf(c))[0], pod);
    assert.notEqual(await ours(c), '');
    await kubectl(['-n', c.namespace, 'delete', 'sandbox', 'fix', '--wait=false']);
    await run(c, tooLate);
    await left(c, before);
  });
});

// --- internal ------------------------------------------------------------------------------------

const page = readFileSync(join(import.meta.dirname, '../../docs/kubernetes.md'), 'utf8');
const [inOrder = '', tooLate = ''] = [
  ...page
    .split('\n## Uninstall\n')[1]!
    .split('\n## ')[0]!
    .matchAll(/^```shell\n([\s\S]*?)^```$/gm),
].map(([, text]) => text);

/** Of the page, for an installation in another namespace than that of the page. */
async function run(c: Installation, commands: string): Promise<void> {
  const script = commands
    .replaceAll('--namespace offshoot', `--namespace ${c.namespace}`)
    .replaceAll('installation=offshoot', `installation=${c.namespace}`)
    .replaceAll('delete namespace offshoot', `delete namespace ${c.namespace}`);
  await exec('sh', ['-euc', script], { deadlineMs: 300_000 });
}

/** With a ready sandbox, and a project with its main. */
async function withWork(): Promise<Installation> {
  const c = await installation(
    ...['--set', 'controller.replicas=1', '--set', 'gateway.replicas=0'],
    ...['--set', 'branches.nodes=1', '--set', 'branches.storage.kind=emptyDir'],
  );
  const project = {
    ...{ apiVersion: 'offshoot.dev/v1alpha1', kind: 'Project' },
    metadata: { name: 'shop', namespace: c.namespace },
    spec: { database: 'app', role: 'app' },
  };
  await applyUsers(c.baseline);
  await apply([project, sandboxOfUsers(c)]);
  await until(async () => (await c.kubectl('get', 'branches', '-o', 'name')) || undefined, {
    ...{ what: 'it has a main', deadlineMs: 60_000, intervalMs: 200 },
  });
  await c.kubectl('wait', 'sandboxes,branches', '--all', '--for=condition=Ready', '--timeout=240s');
  return c;
}

/** Nothing of the installation, and pods of the baseline without a sidecar as soon as they are others. */
async function left(c: Installation, before: string): Promise<void> {
  assert.equal(await workloads(c), before);
  assert.equal(await ask(c), 'info v1');
  assert.equal(await ours(c), '');
  const wide =
    'clusterroles,clusterrolebindings,mutatingwebhookconfigurations,validatingwebhookconfigurations';
  const kept = ['namespace', `${c.namespace}-offshoot-authority`];
  await kubectl(['wait', '--for=delete', ...kept, '--timeout=60s']);
  const { stdout } = await kubectl(['get', wide, '-o', 'name']);
  assert.doesNotMatch(stdout, new RegExp(c.namespace));
  const roles = await kubectl(['-n', c.baseline, 'get', 'roles,rolebindings', '-o', 'name']);
  assert.equal(roles.stdout, '');
  const gone = await kubectl(['get', 'namespace', c.namespace, '--ignore-not-found', '-o', 'name']);
  assert.equal(gone.stdout, '');
  await kubectl(['-n', c.baseline, 'rollout', 'restart', 'deployment/users']);
  await kubectl(['-n', c.baseline, 'rollout', 'status', 'deployment/users', '--timeout=120s']);
  const { items } = await read<Pods>(
    '-n',
    c.baseline,
    'get',
    'pods',
    '--field-selector',
    'status.phase=Running',
  );
  const staying = items.filter(({ metadata }) => metadata.deletionTimestamp === undefined);
  assert.deepEqual(
    staying.map(({ spec }) => [...(spec.initContainers ?? []), ...spec.containers].map(one => one.name)),
    [['main']],
  );
}

type Pods = {
  readonly items: readonly {
    readonly metadata: { readonly uid: string; readonly deletionTimestamp?: string };
    readonly spec: {
      readonly containers: readonly { readonly name: string }[];
      readonly initContainers?: readonly { readonly name: string }[];
    };
  }[];
};

/** What its user has applied, as it is. */
async function workloads(c: Installation): Promise<string> {
  const { items } = await read<{ items: readonly { metadata: Meta; spec: object }[] }>(
    ...['-n', c.baseline, 'get', 'deployments,services', '-l', '!offshoot.dev/fork'],
  );
  return JSON.stringify(
    items.map(({ metadata: { name, uid, generation, labels }, spec }) => [
      name,
      uid,
      generation,
      labels,
      spec,
    ]),
  );
}

type Meta = {
  readonly name: string;
  readonly uid: string;
  readonly generation?: number;
  readonly labels?: object;
};

const podsOf = async (c: Installation): Promise<readonly string[]> =>
  (await read<Pods>('-n', c.baseline, 'get', 'pods', '-l', 'app=users')).items.map(
    ({ metadata }) => metadata.uid,
  );

const controllers = async (c: Installation): Promise<number> =>
  (await read<Pods>('-n', c.namespace, 'get', 'pods', '-l', 'app.kubernetes.io/component=controller')).items
    .length;

const ours = async (c: Installation): Promise<string> => {
  const kinds = 'deployments,replicasets,services,secrets,jobs';
  const about = ['-n', c.baseline, 'get', kinds, '-l', `offshoot.dev/installation=${c.namespace}`];
  return (await kubectl([...about, '-o', 'name'])).stdout;
};

/** The baseline by its Service, as another program does. */
async function ask(c: Installation): Promise<string> {
  const script = "fetch('http://users').then(answer => answer.text()).then(console.log)";
  const from = ['-n', c.baseline, 'exec', 'deployment/users', '-c', 'main', '--'];
  return (await kubectl([...from, 'node', '-e', script])).stdout.trim();
}
