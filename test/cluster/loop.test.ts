/** The loop of one machine on the objects of a real cluster: kubectl is the door, the cluster's controllers run the forks. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { type KubernetesBaseline, kubernetesBaseline } from '../../src/baseline/kubernetes.ts';
import { openClusterForks } from '../../src/drivers/cluster/forks.ts';
import { kubeconfigAccess } from '../../src/kubernetes/access.ts';
import { type ClusterClient, clusterClient } from '../../src/kubernetes/client.ts';
import { silentLog } from '../../src/lib/log.ts';
import { randomRoutingKey } from '../../src/lib/random.ts';
import { until } from '../../src/lib/wait.ts';
import type { Loop } from '../../src/reconcile/loop.ts';
import { type KubernetesStore, openKubernetesStore } from '../../src/store/kubernetes.ts';
import { apply, contextName, kubectl, namespace, noImage, read } from '../support/cluster.ts';
import { applyUsers } from '../support/installation.ts';
import { loopOn } from '../support/loop.ts';
import { memoryWorld } from '../support/memory-drivers.ts';

describe('the loop on a cluster', { skip: noImage }, () => {
  let ns: Awaited<ReturnType<typeof namespace>>;
  let client: ClusterClient;
  let store: KubernetesStore;
  let baseline: KubernetesBaseline;
  let loop: Loop;
  const closing = new AsyncDisposableStack();

  /** As another controller that comes after this one would begin. */
  const begin = async (opened: AsyncDisposableStack): Promise<void> => {
    store = await openKubernetesStore({
      ...{ client, namespace: ns.name, log: silentLog },
      secretOf: { sandbox: () => ({ routingKey: randomRoutingKey(), resources: {} }) },
    });
    opened.defer(() => store.close());
    baseline = kubernetesBaseline({ client, namespaces: [ns.name] });
    opened.defer(() => baseline.close());
    await baseline.synced;
    const forks = await openClusterForks({ client, installation: ns.name, log: silentLog });
    opened.defer(() => forks.close());
    const world = memoryWorld();
    const programs = { workloads: forks, steps: world.steps };
    loop = loopOn(store, world, { branches: undefined, programs, baseline: baseline.baseline, baseMs: 50 });
    opened.defer(() => loop.close());
    await loop.start();
  };

  before(async () => {
    ns = await namespace();
    closing.defer(() => ns[Symbol.asyncDispose]());
    const context = contextName === undefined ? {} : { context: contextName };
    client = clusterClient(await kubeconfigAccess(process.env.KUBECONFIG!, { ...context, env: process.env }));
    closing.defer(() => client.close());
    await applyUsers(ns.name);
  });
  after(() => closing.disposeAsync());

  it('makes a fork of what kubectl applies, follows its baseline, and leaves nothing', async () => {
    await using opened = new AsyncDisposableStack();
    await begin(opened);
    await apply([sandbox(ns.name)]);
    await kubectl(['-n', ns.name, 'wait', 'sandbox/fix', '--for=condition=Ready', '--timeout=240s']);
    const [fork] = store.get('sandbox', 'fix')!.status!.forks;
    assert.deepEqual([fork!.ready, fork!.reason, fork!.restarts], [true, 'Running', 0]);
    assert.equal(await said(ns.name, fork!.ports[8080]![0]!), 'debug v1');

    // What the baseline becomes, its forks become.
    await applyUsers(ns.name, 'v2');
    await until(
      async () => (await said(ns.name, fork!.ports[8080]![0]!).catch(() => '')) === 'debug v2' || undefined,
      { what: 'the fork follows', deadlineMs: 60_000 },
    );

    await kubectl(['-n', ns.name, 'delete', 'sandbox', 'fix', '--timeout=240s']);
    assert.deepEqual(await ours(ns.name), []);
    // The baseline is as it was applied.
    const { items } = await read<Items>('-n', ns.name, 'get', 'deployments,services');
    assert.deepEqual(items.map(({ metadata }) => metadata.name).sort(), ['users', 'users']);
  });

  it('says what is wrong where kubectl shows it', async () => {
    await using opened = new AsyncDisposableStack();
    await begin(opened);
    await apply([sandbox(ns.name, 'nothing')]);
    const status = () => read<Status>('-n', ns.name, 'get', 'sandbox', 'fix');
    const seen = await until(
      async () => {
        const { status: now } = await status();
        return now?.conditions?.find(
          ({ type, message }) => type === 'Ready' && /nothing/.test(message ?? ''),
        );
      },
      { what: 'the cause', deadlineMs: 60_000 },
    );
    assert.equal(seen.status, 'False');
    await kubectl(['-n', ns.name, 'delete', 'sandbox', 'fix', '--timeout=240s']);
  });

  it('takes away what a killed controller has left', async () => {
    {
      await using first = new AsyncDisposableStack();
      await begin(first);
      await apply([sandbox(ns.name)]);
      await kubectl(['-n', ns.name, 'wait', 'sandbox/fix', '--for=condition=Ready', '--timeout=240s']);
    }
    await kubectl(['-n', ns.name, 'delete', 'sandbox', 'fix', '--wait=false']);
    assert.notDeepEqual(await ours(ns.name), [], 'nobody is there to take it away');
    await using second = new AsyncDisposableStack();
    await begin(second);
    await kubectl(['-n', ns.name, 'wait', 'sandbox/fix', '--for=delete', '--timeout=240s']);
    assert.deepEqual(await ours(ns.name), []);
  });
});

// --- internal ------------------------------------------------------------------------------------

type Items = {
  readonly items: readonly { readonly kind: string; readonly metadata: { readonly name: string } }[];
};
type Status = {
  readonly status?: {
    readonly conditions?: readonly {
      readonly type: string;
      readonly status: string;
      readonly message?: string;
    }[];
  };
};

/** All that forks are made of; tombstones and their like are meant to stay. */
async function ours(namespace: string): Promise<readonly string[]> {
  const kinds = 'sandboxes,deployments,replicasets,pods,services,secrets';
  const { items } = await read<Items>('-n', namespace, 'get', kinds, '-l', 'offshoot.dev/fork');
  const sandboxes = await read<Items>('-n', namespace, 'get', 'sandboxes');
  return [...items, ...sandboxes.items].map(({ kind, metadata }) => `${kind} ${metadata.name}`);
}

const sandbox = (namespace: string, name = 'users') => ({
  apiVersion: 'offshoot.dev/v1alpha1',
  kind: 'Sandbox',
  metadata: { name: 'fix', namespace },
  spec: {
    cluster: 'local',
    forks: [
      {
        forkOf: { kind: 'Deployment', namespace, name },
        customizations: { env: [{ name: 'LOG_LEVEL', value: 'debug' }] },
      },
    ],
  },
});

/** From a pod of the baseline: this machine may have no way to the cluster's addresses. */
async function said(
  namespace: string,
  { host, port }: { readonly host: string; readonly port: number },
): Promise<string> {
  const script = `fetch('http://${host}:${port}/').then(answer => answer.text()).then(console.log)`;
  const { stdout } = await kubectl(['-n', namespace, 'exec', 'deployment/users', '--', 'node', '-e', script]);
  return stdout.trim();
}
