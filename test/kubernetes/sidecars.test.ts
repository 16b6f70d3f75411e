/** Which pods have sidecars that know the newest table, as a cluster and a stream tell it. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { clusterClient } from '../../src/kubernetes/client.ts';
import { followSidecars } from '../../src/kubernetes/sidecars.ts';
import { silentLog } from '../../src/lib/log.ts';
import { until } from '../../src/lib/wait.ts';
import type { WorkloadKey } from '../../src/model/sandbox.ts';
import { fakeApiServer } from '../support/fake-api-server.ts';

const users: WorkloadKey = { kind: 'Deployment', namespace: 'shop', name: 'users' };

async function world(t: TestContext) {
  const api = await fakeApiServer();
  t.after(() => api[Symbol.asyncDispose]());
  const client = clusterClient(api.access);
  const followers: { destination: string; id?: string; upToDate: boolean }[] = [];
  const changed: string[] = [];
  const sidecars = followSidecars({
    ...{ client, namespaces: ['shop'], followers: () => followers, log: silentLog },
    controller: 'offshoot.tools.svc',
    onChange: ({ name }) => void changed.push(name),
  });
  t.after(async () => {
    await sidecars.close();
    client.close();
  });
  await sidecars.synced;
  const put = (
    name: string,
    more: { sidecar?: object; has?: boolean; said?: string; leaves?: boolean; of?: string } = {},
  ) =>
    api.put('pods', {
      metadata: {
        ...{ name, namespace: 'shop', labels: { 'pod-template-hash': '7f' } },
        ...(more.said && { annotations: { 'sidecar.offshoot.dev/status': more.said } }),
        ownerReferences: [{ kind: 'ReplicaSet', name: 'users-7f', controller: true }],
      },
      spec: {
        initContainers:
          more.has === false
            ? []
            : [
                {
                  name: 'offshoot-sidecar',
                  args: ['sidecar', '--controller', `${more.of ?? 'offshoot.tools.svc'}:7490`],
                },
              ],
      },
      status: {
        ...{ phase: more.leaves ? 'Failed' : 'Running' },
        ...(more.sidecar && { initContainerStatuses: [{ name: 'offshoot-sidecar', ...more.sidecar }] }),
      },
    }).metadata.uid!;
  const reason = (isNew = true) => sidecars.problem(users, isNew)?.reason;
  const untilReason = (expected: string | undefined) =>
    until(() => (reason() === expected ? true : undefined), { what: `${expected}`, deadlineMs: 20_000 });
  return { ...{ api, followers, changed, sidecars, put, reason, untilReason } };
}

test('a workload is led by key when each of its pods has a sidecar that knows everything', async t => {
  const { api, followers, changed, put, reason, untilReason, sidecars } = await world(t);
  assert.equal(reason(), undefined, 'nobody can come to its pods: there are none');
  put('users-7f-a', { has: false });
  await untilReason('NoSidecar');
  assert.match(
    sidecars.problem(users, false)!.message,
    /annotate its pod template with sidecar\.offshoot\.dev\/inject: "true"/,
  );
  const b = put('users-7f-b', { sidecar: { started: true } });
  await until(() => /in 1 of 2 pods/.test(sidecars.problem(users, true)!.message) || undefined, {
    ...{ what: 'both are counted', deadlineMs: 20_000 },
  });
  api.remove('pods', 'shop/users-7f-a');
  await untilReason('SidecarsPending');
  assert.equal(reason(false), undefined, 'who knew its keys goes on');
  followers.push({ destination: 'workload/shop/orders', id: b, upToDate: true });
  followers.push({ destination: 'workload/shop/users', id: 'another pod', upToDate: true });
  followers.push({ destination: 'workload/shop/users', id: b, upToDate: false });
  assert.equal(reason(), 'SidecarsPending');
  followers[2] = { ...followers[2]!, upToDate: true };
  assert.equal(reason(), undefined);
  put('users-7f-c', { sidecar: { started: false } });
  put('users-7f-d', { has: false, leaves: true });
  await until(() => changed.length >= 5 || undefined, { what: 'they are seen', deadlineMs: 20_000 });
  assert.equal(
    reason(),
    undefined,
    'one that has not started yet lets no key through, and one that has ended nobody',
  );
  put('users-7f-c', { sidecar: { started: false, restartCount: 1 } });
  await untilReason('SidecarsPending');
});

test('a pod that could have none says why', async t => {
  const { put, untilReason, sidecars } = await world(t);
  put('users-7f-a', { has: false, said: 'not injected: the pod has the network of its node' });
  await untilReason('NoSidecar');
  assert.match(
    sidecars.problem(users, true)!.message,
    /: not injected: the pod has the network of its node$/,
  );
});

test('one that follows another installation is named: it is never going to know the key', async t => {
  const { put, untilReason, sidecars } = await world(t);
  put('users-7f-a', { sidecar: { started: true }, of: 'offshoot.other.svc' });
  await untilReason('OtherInstallation');
  assert.match(
    sidecars.problem(users, false)!.message,
    /Deployment shop\/users follow another installation \(offshoot\.other\.svc, pod users-7f-a\)/,
  );
});
