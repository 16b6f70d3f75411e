/** Two controllers and two gateways: one decides at a time, and whatever goes, nothing of the baseline's traffic is lost. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { until } from '../../src/lib/wait.ts';
import { apply, kubectl, noImage, read } from '../support/cluster.ts';
import { crash } from '../support/crash.ts';
import { applyUsers, type Installation, installation, sandboxOfUsers } from '../support/installation.ts';
import { type Asked, failuresOf, type PodWay, podLoad } from '../support/pod-load.ts';

const soon = (what: string) => ({ what, deadlineMs: 120_000, intervalMs: 200 });

type Lease = { readonly spec: { readonly holderIdentity?: string; readonly leaseTransitions?: number } };
type Pods = {
  readonly items: readonly {
    readonly metadata: { readonly name: string; readonly deletionTimestamp?: string };
    readonly spec: { readonly initContainers?: readonly object[] };
    readonly status: { readonly conditions?: readonly { readonly type: string; readonly status: string }[] };
  }[];
};

describe('two controllers and two gateways', { skip: noImage }, () => {
  let c: Installation;
  let ways: readonly PodWay[];

  before(async () => {
    c = await installation(
      ...['--set', 'branches.nodes=1', '--set', 'branches.storage.kind=emptyDir'],
      ...['--set', 'controller.replicas=2', '--set', 'gateway.replicas=2'],
    );
    await applyUsers(c.baseline);
    await kubectl(['-n', c.baseline, 'scale', 'deployment/users', '--replicas=2']);
    await kubectl(['-n', c.baseline, 'rollout', 'status', 'deployment/users', '--timeout=120s']);
    await apply([sandboxOfUsers(c), project(c.namespace)]);
    await c.kubectl('wait', 'sandbox/fix', '--for=condition=Ready', '--timeout=120s');
    await c.kubectl('wait', 'branches', '--all', '--for=condition=Ready', '--timeout=120s');
  });
  after(() => c?.[Symbol.asyncDispose]());

  const lease = () => read<Lease>('-n', c.namespace, 'get', 'lease', 'offshoot-controller');
  const holder = async () => (await lease()).spec.holderIdentity || undefined;
  const controllers = async () =>
    (
      await read<Pods>('-n', c.namespace, 'get', 'pods', '-l', 'app.kubernetes.io/component=controller')
    ).items.filter(({ metadata }) => metadata.deletionTimestamp === undefined);
  const isReady = ({ status }: Pods['items'][number]) =>
    status.conditions?.some(({ type, status: is }) => type === 'Ready' && is === 'True') === true;
  const offshoot = (pod: string, ...args: readonly string[]) =>
    c.kubectl('exec', pod, '--', 'offshoot', ...args);
  const readySandbox = async (name: string) => {
    await apply([sandboxOfUsers(c, name)]);
    await c.kubectl('wait', `sandbox/${name}`, '--for=condition=Ready', '--timeout=120s');
    await c.kubectl('delete', 'sandbox', name, '--timeout=120s');
  };

  it('are ready, and both answer: one by itself, the other by leading there', async () => {
    const pods = await until(async () => {
      const all = await controllers();
      return all.length === 2 && all.every(isReady) ? all : undefined;
    }, soon('both are ready'));
    const first = await holder();
    assert.ok(pods.some(({ metadata }) => metadata.name === first));
    for (const { metadata } of pods)
      assert.match(await offshoot(metadata.name, 'sandbox', 'list'), /^fix /m, metadata.name);

    const { key } = JSON.parse(await offshoot(first!, 'key', 'create', 'test', '-o', 'json'));
    const url = (await offshoot(first!, 'branch', 'url', 'main', '-p', 'shop')).trim();
    const { metadata } = await read<{ metadata: { annotations: Record<string, string> } }>(
      ...['-n', c.namespace, 'get', 'sandbox', 'fix'],
    );
    const secret = metadata.annotations['offshoot.dev/secret']!;
    const { data } = await read<{ data: Record<string, string> }>('-n', c.namespace, 'get', 'secret', secret);
    const { routingKey } = JSON.parse(Buffer.from(data['offshoot.json']!, 'base64').toString());
    const users = `http://users.${c.baseline}.svc/`;
    const host = 'api--fix.preview.localhost:8080';
    ways = [
      { name: 'baseline', http: users, wants: 'info v1' },
      { name: 'keyed', http: users, headers: { baggage: `sd-routing-key=${routingKey}` }, wants: 'debug v1' },
      {
        ...{ name: 'preview', http: `http://offshoot-gateway.${c.namespace}.svc/`, wants: 'debug v1' },
        headers: { host, 'offshoot-api-key': key },
      },
      { name: 'sql', sql: url },
    ];
  });

  it('its holder killed, the other decides; keys lead where they led, and pods that start meanwhile get sidecars', async () => {
    const load = await podLoad(c.baseline, ways);
    const before = await holder();
    const { leaseTransitions = 0 } = (await lease()).spec;
    await crash(c, before!, 'controller');
    await c.kubectl('delete', 'pod', before!, '--grace-period=0', '--force');
    // Nobody may decide just now.
    await kubectl(['-n', c.baseline, 'rollout', 'restart', 'deployment/users']);
    await kubectl(['-n', c.baseline, 'rollout', 'status', 'deployment/users', '--timeout=120s']);
    const next = await until(async () => {
      const now = await holder();
      return now !== undefined && now !== before ? now : undefined;
    }, soon('another one decides'));
    await readySandbox('after-kill');
    assert.notEqual(next, before);
    assert.ok((await lease()).spec.leaseTransitions! > leaseTransitions);
    const pods = await read<Pods>('-n', c.baseline, 'get', 'pods', '-l', 'app=users');
    for (const { metadata, spec } of pods.items)
      if (metadata.deletionTimestamp === undefined)
        assert.ok((spec.initContainers?.length ?? 0) > 0, `${metadata.name} has a sidecar`);
    assertIsolated(await load.stop());
  });

  it('one that comes back in its pod goes on', async () => {
    const before = await holder();
    await crash(c, before!, 'controller');
    await readySandbox('after-crash');
  });

  it('an upgrade of both drops no request', async () => {
    const before = await holder();
    await until(async () => {
      const all = await controllers();
      return all.length === 2 && all.every(isReady) ? true : undefined;
    }, soon('both are ready'));
    const load = await podLoad(c.baseline, ways);
    await c.upgrade(
      ...['--set', 'branches.nodes=1', '--set', 'branches.storage.kind=emptyDir'],
      ...['--set', 'controller.replicas=2', '--set', 'gateway.replicas=2'],
      ...['--set', 'controller.log=warn', '--set', 'gateway.log=warn'],
    );
    await until(async () => ((await holder()) !== before ? true : undefined), soon('another one decides'));
    await readySandbox('after-upgrade');
    const asked = await load.stop();
    // A session that is kept ends with its gateway; whoever logs in then is served.
    const others = asked.filter(({ name, kept }) => name !== 'sql' || !kept);
    assert.deepEqual(failuresOf(others), []);
    for (const { name, answered } of asked) assert.ok(answered > 10, `${name}: ${answered}`);
  });
});

// --- internal ------------------------------------------------------------------------------------

/** None with the key was answered by the baseline, none without it by the fork. */
function assertIsolated(asked: readonly Asked[]): void {
  const failures = failuresOf(asked);
  assert.deepEqual(
    failures.filter(line => / 200 /.test(line)),
    [],
  );
  for (const { name, kept, answered } of asked)
    assert.ok(answered > 0, `${name}, ${kept ? 'kept' : 'new'}: none; ${failures.join('\n')}`);
}

const project = (namespace: string, name = 'shop') => ({
  ...{ apiVersion: 'offshoot.dev/v1alpha1', kind: 'Project', metadata: { name, namespace } },
  spec: { database: 'app', role: 'app' },
});
