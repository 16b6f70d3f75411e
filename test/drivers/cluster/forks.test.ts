/** Forks in a cluster whose API server is a fake: what is written, what is seen, and what is left alone. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { openClusterForks } from '../../../src/drivers/cluster/forks.ts';
import type { Ctx, WorkloadDriver, WorkloadSpec } from '../../../src/drivers/contract.ts';
import { clusterClient } from '../../../src/kubernetes/client.ts';
import { silentLog } from '../../../src/lib/log.ts';
import { until } from '../../../src/lib/wait.ts';
import { type Asked, type FakeApiServer, fakeApiServer } from '../../support/fake-api-server.ts';

const id = 'sb-fix.shop.users';
const key = 'shop/fix-dep-users';
const ctx = (): Ctx => ({ signal: AbortSignal.timeout(60_000), log: silentLog });

describe('forks in a cluster', () => {
  it('are written once, and again when they differ', async () => {
    await using c = await cluster();
    const forks = await c.open();
    const first = await forks.ensure(id, spec({}), ctx());
    assert.deepEqual(
      [first.ready, first.reason, first.ports],
      [false, 'Starting', { 8080: [{ host: '10.96.0.7', port: 8080 }] }],
    );
    const written = c.server.version;
    assert.equal((await forks.ensure(id, { ...spec({}), wish: 'again' }, ctx())).specHash, first.specHash);
    assert.equal(c.server.version, written);
    const second = await forks.ensure(id, spec({ image: 'users:2' }), ctx());
    assert.notEqual(second.specHash, first.specHash);
    assert.deepEqual(await forks.list(ctx()), [id]);
  });

  it('tell when they become ready, and are seen by whoever comes next', async () => {
    await using c = await cluster();
    const forks = await c.open();
    const told: string[] = [];
    forks.onChange(changed => told.push(changed));
    await forks.ensure(id, spec({}), ctx());
    told.length = 0;
    c.becomeReady();
    await until(() => told[0], { what: 'it is told', deadlineMs: 60_000 });
    const seen = await until(async () => ((await forks.observe(id, ctx()))?.ready ? 'ready' : undefined), {
      ...{ what: 'it is ready', deadlineMs: 60_000 },
    });
    assert.equal(seen, 'ready');
    const next = await c.open();
    const again = (await next.observe(id, ctx()))!;
    assert.deepEqual([again.ready, again.serving, again.owner], [true, true, 'sandbox/fix']);
    const written = c.server.version;
    await next.ensure(id, spec({}), ctx());
    assert.equal(c.server.version, written, 'nothing is written again');
  });

  it('are gone when their pods are', async () => {
    await using c = await cluster();
    const forks = await c.open();
    await forks.ensure(
      id,
      { ...spec({}), secretEnv: [{ container: 'main', name: 'PASSWORD', value: 'x' }] },
      ctx(),
    );
    c.becomeReady();
    await until(async () => (await forks.observe(id, ctx()))?.ready || undefined, {
      what: 'ready',
      deadlineMs: 60_000,
    });
    let gone = false;
    const removing = forks.remove(id, ctx()).then(() => (gone = true));
    const left = () => ['deployments.apps', 'services', 'secrets'].flatMap(kind => c.server.all(kind));
    await until(() => left().length === 0 || undefined, { what: 'its objects are gone', deadlineMs: 60_000 });
    for (let i = 0; i < 20; i++) await new Promise(setImmediate);
    assert.equal(gone, false, 'its pod is still there');
    c.server.remove('pods', 'shop/fix-dep-users-1');
    await removing;
    assert.deepEqual(await forks.list(ctx()), []);
    await forks.remove(id, ctx());
  });

  it('do not wait for ever for a pod that stays', async () => {
    await using c = await cluster();
    const forks = await c.open();
    await forks.ensure(id, spec({}), ctx());
    c.becomeReady();
    await until(async () => (await forks.observe(id, ctx()))?.ready || undefined, {
      what: 'ready',
      deadlineMs: 60_000,
    });
    const signal = AbortSignal.timeout(100);
    await assert.rejects(forks.remove(id, { ...ctx(), signal }), { name: 'TimeoutError' });
  });

  it('leave alone what somebody else has made under their name', async () => {
    await using c = await cluster();
    const theirs = c.server.put('deployments.apps', {
      metadata: { name: 'fix-dep-users', namespace: 'shop' },
      spec: {},
    });
    const forks = await c.open();
    await assert.rejects(forks.ensure(id, spec({}), ctx()), {
      code: 'fork/name-taken',
      message: 'Deployment shop/fix-dep-users belongs to somebody else, perhaps another installation',
    });
    assert.deepEqual(c.server.get('deployments.apps', key), theirs);
    await forks.remove(id, ctx());
    assert.deepEqual(c.server.get('deployments.apps', key), theirs);
  });

  it('of a killed controller are found, be there only a part of them', async () => {
    await using c = await cluster();
    const forks = await c.open();
    c.server.fault = asked =>
      asked.resource === 'deployments.apps' && asked.method === 'POST' ? { status: 500 } : undefined;
    const secret = [{ container: 'main', name: 'PASSWORD', value: 'x' }];
    await assert.rejects(forks.ensure(id, { ...spec({}), secretEnv: secret }, ctx()), {
      code: 'kubernetes/unavailable',
    });
    c.server.fault = giveAddress;
    const next = await c.open();
    assert.deepEqual(await next.list(ctx()), [id]);
    await next.remove(id, ctx());
    assert.deepEqual(c.server.all('secrets'), []);
  });
});

// --- internal ------------------------------------------------------------------------------------

type Cluster = AsyncDisposable & {
  readonly server: FakeApiServer;
  open(): Promise<WorkloadDriver>;
  /** What the cluster's controllers do. */
  becomeReady(): void;
};

async function cluster(): Promise<Cluster> {
  await using stack = new AsyncDisposableStack();
  const server = stack.use(await fakeApiServer());
  server.fault = giveAddress;
  const rest = stack.move();
  return {
    server,
    async open() {
      const client = clusterClient(server.access);
      rest.defer(() => client.close());
      const forks = await openClusterForks({ client, installation: 'offshoot', log: silentLog });
      rest.defer(() => forks.close());
      return forks;
    },
    becomeReady() {
      const deployment = server.get('deployments.apps', key)!;
      const { template } = deployment.spec as { template: { metadata: object } };
      server.put('pods', {
        metadata: { ...template.metadata, name: 'fix-dep-users-1', namespace: 'shop' },
        status: { phase: 'Running', podIP: '10.244.1.5', conditions: [{ type: 'Ready', status: 'True' }] },
      });
      const { generation } = deployment.metadata;
      const status = {
        observedGeneration: generation,
        replicas: 1,
        updatedReplicas: 1,
        availableReplicas: 1,
      };
      server.put('deployments.apps', { ...deployment, status });
    },
    [Symbol.asyncDispose]: () => rest.disposeAsync(),
  };
}

/** What an API server does itself when a Service is made. */
function giveAddress({ resource, body }: Asked): undefined {
  const spec = body?.spec as { clusterIP?: string } | undefined;
  if (resource === 'services' && spec !== undefined) spec.clusterIP ??= '10.96.0.7';
}

const spec = ({ image = 'users:1' }: { readonly image?: string }): WorkloadSpec => ({
  owner: 'sandbox/fix',
  workload: {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: 'fix-dep-users', namespace: 'shop', labels: { 'offshoot.dev/sandbox': 'fix' } },
    spec: {
      template: {
        spec: {
          containers: [
            {
              ...{ name: 'main', image, ports: [{ containerPort: 8080 }] },
              env: [{ name: 'PASSWORD', value: 'x' }],
            },
          ],
        },
      },
    },
  },
  images: {},
  network: { env: {}, hosts: [], ports: [] },
  refs: { configMaps: {}, secrets: {}, binary: { configMaps: {}, secrets: {} } },
});
