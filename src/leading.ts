/**
 * Composition of the controller whose turn it is: store, forks, steps, loop, API and stream. The others answer webhooks, and
 * lead to this one; see controller.ts.
 */
import { createSecureContext, type SecureContext } from 'node:tls';
import type { ApiContext } from './api/context.ts';
import { keyring } from './api/keys.ts';
import { type ApiServer, startApi } from './api/server.ts';
import type { KubernetesBaseline } from './baseline/kubernetes.ts';
import type { Config } from './config.ts';
import { openClusterDrivers } from './drivers/cluster/open.ts';
import { type InternalKeys, keyItem } from './internal-keys.ts';
import { followBranchNodes } from './kubernetes/branch-nodes.ts';
import type { ClusterClient } from './kubernetes/client.ts';
import type { InformerState } from './kubernetes/informer.ts';
import { followSidecars } from './kubernetes/sidecars.ts';
import { admitVisitors } from './kubernetes/visitors.ts';
import { version } from './lib/checkout.ts';
import type { Entrance } from './lib/entrance.ts';
import type { Log } from './lib/log.ts';
import { isOnThisMachine } from './lib/peer.ts';
import { randomRoutingKey, randomSecret } from './lib/random.ts';
import { orAborted } from './lib/wait.ts';
import type { PreviewSite } from './model/endpoint.ts';
import type { Address } from './model/route.ts';
import type { WorkloadKey } from './model/sandbox.ts';
import type { CheckView } from './model/view.ts';
import { workloadAtPath } from './model/workload.ts';
import { destinationNamed } from './proxy/stream/destinations.ts';
import { createLoop, type Loop } from './reconcile/loop.ts';
import { forkId, logId } from './reconcile/workload-spec.ts';
import { programsAtHand } from './roles/at-hand.ts';
import { branchesElsewhere } from './roles/branches-elsewhere.ts';
import type { ClusterHouse } from './roles/cluster-house.ts';
import { measure } from './roles/metrics.ts';
import { type Missing, problemOf, untilDone } from './roles/missing.ts';
import { usersOfWorkload } from './rules/manifests.ts';
import { visits } from './rules/visits.ts';
import { openKubernetesStore } from './store/kubernetes.ts';
import { openTelling, settingItem } from './telling.ts';

export type LeadingOptions = {
  /** Of the installation: what belongs to it is called by it. */
  readonly name: string;
  readonly namespace: string;
  /** Whose workloads are the baseline; undefined: all. */
  readonly baselineNamespaces: readonly string[] | undefined;
  /** Further ones where plugins may run their steps. */
  readonly runnerNamespaces: readonly string[];
  /** Ours, for what runs beside a step of a plugin. */
  readonly image: string;
  readonly previews: PreviewSite;
  readonly postgres: Address;
  /** Sandboxes wait for sidecars. */
  readonly sidecars: boolean;
  /** It writes only while it is our turn. Closed by whoever made it, like all that follows. */
  readonly client: ClusterClient;
  readonly source: KubernetesBaseline;
  readonly house: ClusterHouse;
  readonly keys: InternalKeys;
  /** Where the API is, and where gateways and sidecars follow. */
  readonly doors: { readonly api: Entrance; readonly feed: Entrance };
  /** Told who knows what is missing, as soon as that can be said. */
  readonly says: Missing['ask'];
  readonly signal: AbortSignal;
  readonly log: Log;
};

/** Resolves when it decides. @throws the signal's reason before */
export async function lead(
  config: Config,
  { client, namespace, source, house, doors, keys: internal, says, signal, log, ...o }: LeadingOptions,
): Promise<{ close(): Promise<void> }> {
  const startedAt = new Date().toISOString();
  await using opened = new AsyncDisposableStack();
  const { baselineNamespaces: namespaces } = o;
  const opening = openClusterDrivers({
    ...{ client, installation: namespace, namespaces, informers, stepMs: STEP_MS, log },
    ...{ image: o.image, runnerNamespaces: o.runnerNamespaces },
  });
  opening.catch(() => {}); // it is waited for below
  opened.defer(async () => (await opening.catch(() => undefined))?.close());
  let states: () => readonly InformerState[] = () => [];
  const refused = (problem?: string) =>
    says(() => [...(problem === undefined ? [] : [problem]), ...states().flatMap(problemOf)]);
  refused();
  const open = () =>
    openKubernetesStore(
      {
        ...{ client, namespace, log, informers, secretOf },
        onOpening(own) {
          states = own;
          refused();
        },
      },
      signal,
    );
  const store = await untilDone(open, refused, signal);
  opened.defer(() => store.close());
  const following = followBranchNodes({
    ...{ client, namespace, log, signal },
    onOpening(own) {
      const before = states;
      states = () => [...before(), ...own()];
    },
  });
  following.catch(() => {}); // it is waited for below
  opened.defer(async () => (await following.catch(() => undefined))?.close());
  refused();
  const [drivers, placement] = await orAborted(Promise.all([opening, following]), signal);
  const { baseline } = source;
  const branches = branchesElsewhere({ nodes: placement, store, identity: house.own, log });
  opened.defer(() => branches.close());

  const keys = keyring(store, Object.values(internal));
  const visiting = visits(store, keys.knows);
  const looking = Promise.withResolvers<Loop>();
  let loop: Loop | undefined;
  const lookAtUsers = (workload: WorkloadKey) => {
    for (const user of usersOfWorkload(store, workload)) loop?.look('sandbox', user);
  };
  const telling = await openTelling({
    ...{ at: doors.feed, house, version, log },
    onFollowers(destination) {
      const workload = workloadAtPath(destination.replace(/^workload\//, ''));
      if (workload !== undefined) lookAtUsers(workload);
    },
    async awake(id, asked) {
      const endpoint = await (await looking.promise).awake(id, asked);
      return { endpoint, sessions: store.get('branch', id)?.secret.sessions ?? 0 };
    },
    async enter(entry) {
      await visiting.enter(entry);
      await telling.routed();
    },
  });
  opened.defer(() => telling.close());
  const sidecars = o.sidecars
    ? followSidecars({
        ...{ client, namespaces, followers: telling.followers, onChange: lookAtUsers, log },
        controller: `${o.name}.${namespace}.svc`,
      })
    : undefined;
  opened.defer(() => sidecars?.close());
  if (sidecars !== undefined) {
    const before = states;
    states = () => [...before(), ...sidecars.states()];
    await orAborted(sidecars.synced, signal);
  }
  let api: ApiServer | undefined;
  const deciding = createLoop({
    ...{ store, baseline, programs: drivers, placement, routers: sidecars, log },
    gateway: () => o.postgres,
    site: () => o.previews,
    scriptEnv: () => ({
      OFFSHOOT_BIN: 'offshoot',
      OFFSHOOT_API_URL: `https://${config.advertised}:${config.apiPort}`,
      OFFSHOOT_API_CA: house.authority(),
      OFFSHOOT_API_KEY: internal.step,
    }),
    keep: [],
    stepMs: STEP_MS,
    // Services of a cluster have addresses.
    addresses: { choose: (_, port) => ({ host: '', port }), fits: () => true },
    listening: () => 'open',
    routed: telling.routed,
    async resumed() {
      telling.begin(store, baseline, [settingItem(config), ...Object.values(internal).map(keyItem)]);
      api = await startApi(context, {
        ...{ host: config.host, port: doors.api.port, entrance: doors.api, names: 'any', log },
        ...{ certificate: apiCertificate(house), clear: isOnThisMachine },
      });
      opened.defer(() => api?.close());
    },
    deletedKeysMs: config.deletedKeysMs,
    pauses: { baseMs: 500, maxMs: 60_000, soundMs: 60_000 },
    trashMs: config.trashMs,
    collectEveryMs: 5 * 60_000,
    now: () => new Date(),
  });
  loop = deciding;
  opened.defer(() => deciding.close());
  const metrics = measure(deciding.counts);
  opened.defer(() => metrics.close());
  const at = (port: number): Address => ({ host: config.advertised, port });
  const context: ApiContext = {
    ...{ store, baseline, metrics, keepRevoked: config.keepRevoked },
    keys,
    visits: { link: visiting.link, ownKey: keys.hashOf(internal.cli)! },
    admits: admitVisitors(client, { namespace, name: `${o.name}-user` }),
    gateway: () => o.postgres,
    authority: house.authority,
    identity: name => (destinationNamed(name) === undefined ? undefined : identityOf(house, name)),
    routed: telling.routed,
    branches,
    programs: await programsAtHand(
      drivers,
      ({ workload, sandbox }) => (sandbox === undefined ? logId(store, workload) : forkId(sandbox, workload)),
      deciding.migrations,
      log,
    ),
    trash: { keepMs: config.trashMs },
    info: () => ({
      ...{ version, pid: process.pid, home: config.home, startedAt, listen: config.host },
      volumes: context.branches.volumes(),
      api: { ...at(api!.port), scheme: 'https' },
      preview: o.previews,
      postgres: o.postgres,
      proxies: [],
      feed: { ...at(telling.door.port), followers: telling.followers() },
      log: 'standard error of this pod',
      leftovers: branches
        .orphans()
        .filter(id => store.get('branch', id) === undefined)
        .map(id => `volume ${id} belongs to no branch: see "offshoot repair"`),
    }),
    doctor: async () => [
      ...[...store.states(), ...source.states()].map(checkOf),
      ...branches.checks(),
      ...(await drivers.workloads.capabilities()).map(can => ({ area: 'forks', ...can })),
      ...(await drivers.steps.capabilities()).map(can => ({ area: 'plugins', ...can })),
    ],
    environment: deciding.environment,
    warnings: deciding.warnings,
    shutdown() {},
  };
  await deciding.start();
  looking.resolve(deciding);
  const closing = opened.move();
  return { close: () => closing.disposeAsync() };
}

// --- internal -----------------------------------------------------------------------------------

/** For TLS of the API; another one when the authority has made one. */
function apiCertificate({ kept }: ClusterHouse): () => { readonly context: SecureContext } {
  let context: SecureContext | undefined;
  kept.onChange(() => {
    context = undefined;
  });
  return () => {
    const { certificate: cert, key } = kept.server();
    context ??= createSecureContext({ cert, key, minVersion: 'TLSv1.2' });
    return { context };
  };
}

function identityOf({ kept }: ClusterHouse, name: string): string {
  const { certificate, key } = kept.identity(name);
  return certificate + key + kept.certificates();
}

/** What an object gets that was made by kubectl. */
const secretOf = {
  sandbox: () => ({ routingKey: randomRoutingKey(), resources: {} }),
  branch: () => ({ password: randomSecret(32) }),
};

/** Who gives us a right that was missing should not have to wait for half a minute. */
const informers = { pauseMs: [100, 5_000] } as const;
const STEP_MS = 15 * 60_000;

const checkOf = ({ resource, synced, failure, count }: InformerState): CheckView => ({
  ...{ area: 'cluster', name: resource, ok: synced && failure === undefined },
  detail: failure?.message ?? `${count} objects`,
});
