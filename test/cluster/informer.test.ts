/** An informer on a real API server, with a road between them that is cut and that goes silent. */
import assert from 'node:assert/strict';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { test } from 'node:test';
import { kubeconfigAccess } from '../../src/kubernetes/access.ts';
import { clusterClient } from '../../src/kubernetes/client.ts';
import { informer } from '../../src/kubernetes/informer.ts';
import { resources } from '../../src/kubernetes/resource.ts';
import { until } from '../../src/lib/wait.ts';
import { namespace, noCluster } from '../support/cluster.ts';

const { OFFSHOOT_KUBERNETES: context = '1', KUBECONFIG: file = '' } = process.env;

/** Passes bytes on, until it is told otherwise. */
async function road(host: string, port: number) {
  const ends = new Set<Socket>();
  let isClosed = false;
  const server = createServer(near => {
    if (isClosed) return near.destroy();
    const far = connect({ host, port });
    for (const [end, other] of [
      [near, far],
      [far, near],
    ] as const) {
      ends.add(end);
      end.on('error', () => {});
      end.on('close', () => {
        ends.delete(end);
        other.destroy();
      });
    }
    near.pipe(far).pipe(near);
  });
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as AddressInfo).port,
    cut: () => ends.forEach(end => void end.destroy()),
    /** Connections that are there stay, and nothing comes through them any more. */
    silence() {
      for (const end of ends) end.unpipe().pause();
    },
    close() {
      isClosed = true;
    },
    open() {
      isClosed = false;
    },
    async [Symbol.asyncDispose]() {
      for (const end of ends) end.destroy();
      await new Promise(resolve => server.close(resolve));
    },
  };
}

test('an informer gets over a road that is cut, silent, or closed for a while', {
  skip: noCluster,
}, async () => {
  await using ns = await namespace();
  const access = await kubeconfigAccess(file, { env: process.env, ...(context !== '1' && { context }) });
  const { hostname, port } = new URL(access.server);
  await using between = await road(hostname, Number(port || 443));
  const direct = clusterClient(access);
  const client = clusterClient(
    { ...access, server: `https://127.0.0.1:${between.port}`, serverName: access.serverName ?? hostname },
    { deadlineMs: 2_000 },
  );
  const one = informer({
    ...{ client, resource: resources.ConfigMap, namespace: ns.name, idleMs: 1_000, pauseMs: [10, 200] },
    keep: object => (object.data as Readonly<Record<string, string>> | undefined)?.value,
  });
  const put = (name: string, value: string) =>
    direct.apply(resources.ConfigMap, {
      ...{ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, namespace: ns.name }, data: { value } },
    });
  const shows = (name: string, value: string | undefined) =>
    until(() => (one.get(`${ns.name}/${name}`) === value ? true : undefined), {
      what: `${name} to be ${value}`,
      deadlineMs: 60_000,
    });
  try {
    await put('a', '0');
    await one.synced;
    await shows('a', '0');
    for (const [i, trouble] of [between.cut, between.silence, between.close, between.cut].entries()) {
      trouble();
      if (trouble === between.close) between.cut();
      await put('a', String(i + 1));
      await put(`b${i}`, 'new');
      if (trouble === between.close) {
        await until(() => (one.state().failures > 2 ? true : undefined), {
          what: 'failures',
          deadlineMs: 60_000,
        });
        between.open();
      }
      await shows('a', String(i + 1));
      await shows(`b${i}`, 'new');
    }
    await direct.remove(resources.ConfigMap, { namespace: ns.name, name: 'a' });
    await shows('a', undefined);
    assert.equal(one.state().missed, 0);
  } finally {
    await one.close();
    client.close();
    direct.close();
  }
});
