/**
 * Composition of a branch node: volumes and servers of the projects that are placed on it, in a cluster. Its loop looks at
 * branches only, as a kubelet does at the pods of its node; gateways and controllers come to the servers by one door.
 */
import { join } from 'node:path';
import { storeBaseline } from './baseline/store-baseline.ts';
import type { Config } from './config.ts';
import { openBranches } from './drivers/open-branches.ts';
import { openProcesses } from './drivers/processes/registry.ts';
import { announceBranchNode } from './kubernetes/branch-nodes.ts';
import { clusterClient } from './kubernetes/client.ts';
import { version } from './lib/checkout.ts';
import { startProgramsBy } from './lib/exec.ts';
import { keptIdentity } from './lib/kept-identity.ts';
import { posixSpawn } from './lib/posix-spawn.ts';
import { randomSecret } from './lib/random.ts';
import { orAborted } from './lib/wait.ts';
import { openLog } from './log-output.ts';
import type { Address, NodeDoor } from './model/route.ts';
import { openNodeDoor } from './proxy/branches/door.ts';
import { type IdentityFrom, openIdentity } from './proxy/stream/token-identity.ts';
import { createUses } from './proxy/uses.ts';
import { createLoop, type Loop } from './reconcile/loop.ts';
import type { Env } from './roles/environment.ts';
import { lockHome } from './roles/home-lock.ts';
import { answerProbes } from './roles/probes.ts';
import { clusterAccess } from './roles/reachable.ts';
import { openKubernetesStore } from './store/kubernetes.ts';

export type BranchNodeOptions = {
  /** Of this node; that of its pod, whose volume is always the same one. */
  readonly node: string;
  /** Of the installation; undefined: the one that this runs in. */
  readonly namespace: string | undefined;
  /** Of the kubeconfig; undefined: as the pod that this runs in, elsewhere its current one. */
  readonly context: string | undefined;
  /** Where its door is. */
  readonly listen: Address;
  /** By which address others come to it. */
  readonly advertise: string;
  /** By which name, also when it has another address. */
  readonly knownAs?: string | undefined;
  /** Who says who this is. */
  readonly controller: Address;
  readonly identity: IdentityFrom;
  readonly probesPort: number;
  /** Ends it: servers stop, data stay. */
  readonly signal: AbortSignal;
};

/**
 * Runs until the signal aborts.
 * @throws OffshootError kubernetes/config, host/already-running, host/port-taken, volume/driver-unusable; the signal's
 *   reason before it is up
 */
export async function runBranchNode(
  config: Config,
  env: Env,
  { node, signal, listen, ...o }: BranchNodeOptions,
): Promise<void> {
  const log = openLog(undefined, config.logLevel).child({ node });
  await using opened = new AsyncDisposableStack();
  await lockHome(config, opened);
  let missing: readonly string[] = ['it has just been started'];
  const probes = await answerProbes({ host: listen.host, port: o.probesPort }, () => missing);
  opened.defer(() => probes.close());
  // Its branches come back also while the controller is gone.
  const identity = keptIdentity(
    openIdentity(o.identity, o.controller, log),
    join(config.home, 'identity.pem'),
    err => log.warn({ err }, 'the identity cannot be kept'),
  );
  opened.defer(() => identity.close());
  const access = await clusterAccess(env, o.context);
  const namespace = o.namespace ?? access.namespace;
  const client = clusterClient(access, { userAgent: `offshoot-branches/${version}` });
  opened.defer(() => client.close());
  const processes = await openProcesses({ ...config, path: env.PATH ?? '', log });
  void posixSpawn().then(starter => startProgramsBy(starter, env));
  opened.defer(() => processes.close());
  const opening = openBranches({ ...config, preparedServers: 0, log }, processes);
  opened.defer(async () => (await opening.catch(() => undefined))?.close());
  missing = ['its volumes are being opened'];
  const { node: branches, why, areas } = await opening;
  for (const area of Object.values(areas))
    for (const can of await area.capabilities()) log.info({ ...can }, 'what this node can do');
  missing = ['the objects of the cluster have not been read'];
  const store = await openKubernetesStore(
    {
      ...{ client, namespace, log, kinds: ['project', 'branch'] },
      secretOf: { branch: () => ({ password: randomSecret(32) }) },
    },
    signal,
  );
  opened.defer(() => store.close());

  const uses = createUses();
  const looking = Promise.withResolvers<Loop>();
  looking.promise.catch(() => {}); // who waits for it hears
  const server = await openNodeDoor({
    ...{ ...listen, identity, log },
    behind: {
      awake: async (id, asked) => (await orAborted(looking.promise, asked)).awake(id, asked),
      begin: uses.begin,
      unclaimed: async () => (await looking.promise).unclaimed(),
      logs: (id, query, asked) => branches.logs(id, query, { signal: asked, log }),
      insight: async (id, asked) => (await branches.insight(id, { signal: asked, log })) ?? null,
      async space() {
        const [room, sizes] = await Promise.all([branches.room(), branches.usages()]);
        return { room, sizes: [...sizes].map(([id, { bytes, exact }]) => [id, bytes, exact] as const) };
      },
    },
  });
  opened.defer(() => server.close());
  const door: NodeDoor = {
    ...{ node, host: o.advertise, port: server.port },
    ...(o.knownAs !== undefined && { name: o.knownAs }),
  };
  const none: Address = { host: o.advertise, port: 0 };
  const loop = createLoop({
    ...{ store, branches, door, uses, log },
    baseline: storeBaseline(store),
    ...{ routed: async () => {}, resumed: async () => {} },
    // Of sandboxes and the baseline somebody else decides.
    ...{ gateway: () => none, site: () => ({ domain: '', scheme: 'http', port: 0 }), scriptEnv: () => ({}) },
    ...{ keep: [], stepMs: 0, deletedKeysMs: 0, listening: () => 'open' },
    addresses: { choose: () => none, fits: () => true },
    pauses: { baseMs: 500, maxMs: 60_000, soundMs: 60_000 },
    collectEveryMs: 5 * 60_000,
    now: () => new Date(),
  });
  opened.defer(() => loop.close());
  await loop.start();
  looking.resolve(loop);
  const state = async () => ({
    ...{ name: node, door, version },
    volumes: { driver: branches.name, copyOnWrite: branches.copyOnWrite, why: why.volumes },
    room: await branches.room(),
  });
  const leave = new AbortController();
  const announcing = announceBranchNode({ client, namespace, state, signal: leave.signal, log });
  opened.defer(() => {
    leave.abort();
    return announcing;
  });
  missing = [];
  log.info({ version, namespace, door, ...why }, 'the branch node is up');
  await new Promise<void>(resolve => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
  missing = ['it is being stopped'];
  log.info({}, 'the branch node ends');
}
