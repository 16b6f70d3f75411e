/** A store on the objects of a cluster that is a fake in this process, and goes with the store. */
import { clusterClient } from '../../src/kubernetes/client.ts';
import type { KubernetesStore, KubernetesStoreOptions } from '../../src/store/kubernetes.ts';
import { openKubernetesStore } from '../../src/store/kubernetes.ts';
import { type FakeApiServer, fakeApiServer } from './fake-api-server.ts';

type Options = Partial<Omit<KubernetesStoreOptions, 'client' | 'namespace'>>;

/** One of several that may be on the same cluster. */
export async function storeOn(
  server: FakeApiServer,
  options: Options = {},
): Promise<KubernetesStore & AsyncDisposable> {
  const client = clusterClient(server.access, { deadlineMs: 60_000 });
  const timing = { pauseMs: [5, 50] } as const;
  const store = await openKubernetesStore({
    ...{ client, namespace: 'offshoot', firstVersion: 0, patienceMs: 200, informers: timing, ...options },
  });
  const close = store.close.bind(store);
  const closeBoth = async () => {
    await close();
    client.close();
  };
  return Object.assign(store, { close: closeBoth, [Symbol.asyncDispose]: closeBoth });
}

export async function kubernetesStore(options: Options = {}): Promise<KubernetesStore & AsyncDisposable> {
  const server = await fakeApiServer();
  const store = await storeOn(server, options);
  const close = store.close.bind(store);
  const closeAll = async () => {
    await close();
    await server[Symbol.asyncDispose]();
  };
  return Object.assign(store, { close: closeAll, [Symbol.asyncDispose]: closeAll });
}
