/**
 * Composition of a controller: what decides, in a cluster. Its objects are the store, its workloads the baseline, and its
 * own controllers run the forks. Gateways and sidecars follow it; it serves nothing but the API.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createSecureContext, type SecureContext } from 'node:tls';
import type { ApiContext } from './api/context.ts';
import { keyring } from './api/keys.ts';
import { type ApiServer, startApi } from './api/server.ts';
import { kubernetesBaseline } from './baseline/kubernetes.ts';
import { clusterKeys } from './cluster-keys.ts';
import type { Config } from './config.ts';
import { openClusterDrivers } from './drivers/cluster/open.ts';
import { openInjecting } from './injecting.ts';
import { keyItem } from './internal-keys.ts';
import { followBranchNodes } from './kubernetes/branch-nodes.ts';
import { type ClusterClient, clusterClient } from './kubernetes/client.ts';
import type { InformerState } from './kubernetes/informer.ts';
import { admitVisitors } from './kubernetes/visitors.ts';
import { version } from './lib/checkout.ts';
import type { Log } from './lib/log.ts';
import { isOnThisMachine } from './lib/peer.ts';
import { randomRoutingKey, randomSecret } from './lib/random.ts';
import { delay, orAborted } from './lib/wait.ts';
import { openLog } from './log-output.ts';
import type { PreviewSite } from './model/endpoint.ts';
import { OffshootError } from './model/errors.ts';
import type { Address } from './model/route.ts';
import type { WorkloadKey } from './model/sandbox.ts';
import type { CheckView } from './model/view.ts';
import { workloadAtPath } from './model/workload.ts';
import { destinationNamed } from './proxy/stream/destinations.ts';
import { createLoop, type Loop } from './reconcile/loop.ts';
import { forkId, logId } from './reconcile/workload-spec.ts';
import { programsAtHand } from './roles/at-hand.ts';
import { branchesElsewhere } from './roles/branches-elsewhere.ts';
import { type ClusterHouse, openClusterHouse } from './roles/cluster-house.ts';
import type { Env } from './roles/environment.ts';
import { nearUrl } from './roles/given-out.ts';
import { lockHome } from './roles/home-lock.ts';
import { measure } from './roles/metrics.ts';
import { type Missing, watchMissing } from './roles/missing.ts';
import { tellOfOwnPod } from './roles/own-pod.ts';
import { answerProbes } from './roles/probes.ts';
import { clusterAccess } from './roles/reachable.ts';
import { usersOfWorkload } from './rules/manifests.ts';
import { visits } from './rules/visits.ts';
import { openKubernetesStore } from './store/kubernetes.ts';
import { openTelling, settingItem } from './telling.ts';

export type ControllerOptions = {
  /** Of the installation: what it makes and who belongs to it is called by it, as the chart does. */
  readonly name: string;
  /** Of the installation; undefined: the one that this runs in. */
  readonly namespace: string | undefined;
  /** Whose workloads are the baseline; undefined: all. */
  readonly baselineNamespaces: readonly string[] | undefined;
  /** Further ones where plugins may run their steps. */
  readonly runnerNamespaces: readonly string[];
  /** Ours, for what runs beside a step of a plugin. */
  readonly image: string;
  /** Of the kubeconfig; undefined: as the pod that this runs in, elsewhere its current one. */
  readonly context: string | undefined;
  /** Where people find previews. */
  readonly previews: PreviewSite;
  /** Where programs in the cluster find branches. */
  readonly postgres: Address;
  readonly probesPort: number;
  /** Of the webhook configurations; undefined: no pod gets a sidecar, and no sandbox waits for one. */
  readonly webhooks?: string | undefined;
  readonly webhookPort: number;
  /** Of sidecars; as `resources` of a container. */
  readonly sidecarResources: object;
  readonly sidecarPullPolicy: string;
  /** Ends it; what it has made in the cluster stays. */
  readonly signal: AbortSignal;
};

/**
 * Runs until the signal aborts.
 * @throws OffshootError kubernetes/config, host/already-running, host/port-taken; the signal's reason before it is up
 */
export async function runController(config: Config, env: Env, o: ControllerOptions): Promise<void> {
  const log = openLog(undefined, config.logLevel);
  await using opened = new AsyncDisposableStack();
  await lockHome(config, opened);
  const access = await clusterAccess(env, o.context);
  const namespace = o.namespace ?? access.namespace;
  const client = clusterClient(access, { userAgent: `offshoot-controller/${version}` });
  opened.defer(() => client.close());
  const missing = watchMissing(tellOfOwnPod(client, env, log), log);
  opened.defer(() => missing.close());
  let isUp = false;
  const probes = await answerProbes({ host: config.host, port: o.probesPort }, () => {
    // Who once was up can be asked, whatever the cluster does.
    if (isUp) return [];
    const lacks = missing.list();
    return lacks.length > 0 ? lacks : ['it is still starting'];
  });
  opened.defer(() => probes.close());
  const leading = await lead(config, { ...o, client, namespace, log }, missing.ask);
  opened.defer(() => leading.close());
  isUp = true;
  log.info({ version, namespace, baseline: o.baselineNamespaces ?? 'all' }, 'the controller is up');
  await ended(o.signal);
  isUp = false;
}

// --- internal -----------------------------------------------------------------------------------

type LeadOptions = ControllerOptions & {
  readonly client: ClusterClient;
  readonly namespace: string;
  readonly log: Log;
};

/** Store, baseline, forks, loop, API and stream. @param says told who knows what is missing, as soon as it can be said */
async function lead(
  config: Config,
  { client, namespace, log, signal, ...o }: LeadOptions,
  says: Missing['ask'],
): Promise<{ close(): Promise<void> }> {
  const startedAt = new Date().toISOString();
  await using opened = new AsyncDisposableStack();
  const { baselineNamespaces: namespaces } = o;
  const source = kubernetesBaseline({ client, log, informers, ...(namespaces && { namespaces }) });
  opened.defer(() => source.close());
  const opening = openClusterDrivers({
    ...{ client, installation: namespace, namespaces, informers, stepMs: STEP_MS, log },
    ...{ image: o.image, runnerNamespaces: o.runnerNamespaces },
  });
  opening.catch(() => {}); // it is waited for below
  opened.defer(async () => (await opening.catch(() => undefined))?.close());
  let states: () => readonly InformerState[] = () => [];
  const refused = (problem?: string) =>
    says(() => [
      ...(problem === undefined ? [] : [problem]),
      ...[...states(), ...source.states()].flatMap(problemOf),
    ]);
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
  const house = await untilDone(() => openHouse(o, { client, namespace, log }), refused, signal);
  opened.defer(() => house.close());
  const following = followBranchNodes({ client, namespace, log, signal });
  following.catch(() => {}); // it is waited for below
  opened.defer(async () => (await following.catch(() => undefined))?.close());
  refused();
  await orAborted(Promise.all([source.synced, opening]), signal);
  const [drivers, placement] = await Promise.all([opening, following]);
  const { baseline } = source;
  const branches = branchesElsewhere({ nodes: placement, store, identity: house.own, log });
  opened.defer(() => branches.close());

  const place = { namespace, name: `${o.name}-keys` };
  const internal = await untilDone(() => clusterKeys(client, place), refused, signal);
  const keys = keyring(store, Object.values(internal));
  const visiting = visits(store, keys.knows);
  const looking = Promise.withResolvers<Loop>();
  let loop: Loop | undefined;
  const lookAtUsers = (workload: WorkloadKey) => {
    for (const user of usersOfWorkload(store, workload)) loop?.look('sandbox', user);
  };
  const telling = await openTelling({
    ...{ at: { host: config.host, port: config.feedPort ?? 0 }, house, version, log },
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
  const injecting =
    o.webhooks === undefined
      ? undefined
      : await openInjecting({
          ...{ client, baseline, namespaces, house, name: o.webhooks, signal, log },
          at: { host: config.host, port: o.webhookPort },
          settings: {
            ...{ image: o.image, imagePullPolicy: o.sidecarPullPolicy, resources: o.sidecarResources },
            ...{ headers: config.customHeaders, logLevel: config.logLevel },
            controller: `${o.name}.${namespace}.svc:${telling.door.port}`,
          },
          followers: telling.followers,
          look: lookAtUsers,
          onOpening(own) {
            const before = states;
            states = () => [...before(), ...own()];
          },
        });
  opened.defer(() => injecting?.close());
  let api: ApiServer | undefined;
  const deciding = createLoop({
    ...{ store, baseline, programs: drivers, placement, routers: injecting, log },
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
        ...{ host: config.host, port: config.apiPort, names: 'any', log },
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
  const file = join(config.home, 'client.json');
  const near = { url: nearUrl(config, api!), apiKey: internal.cli, pid: process.pid };
  writeFileSync(file, `${JSON.stringify(near)}\n`, { mode: 0o600 });
  const closing = opened.move();
  return { close: () => closing.disposeAsync() };
}

/** Tries until the cluster does not refuse it any more: rights and definitions may come later than we do. @param refused told why not */
async function untilDone<T>(
  work: () => Promise<T>,
  refused: (problem: string) => void,
  signal: AbortSignal,
): Promise<T> {
  for (;;) {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof OffshootError) || !error.row.retry) throw error;
      refused(error.message);
      await delay(AGAIN_MS, signal);
    }
  }
}

async function openHouse(
  { name, baselineNamespaces }: Pick<ControllerOptions, 'name' | 'baselineNamespaces'>,
  of: { readonly client: ClusterClient; readonly namespace: string; readonly log: Log },
): Promise<ClusterHouse> {
  const serverNames = [
    `${name}.${of.namespace}.svc`,
    `${name}.${of.namespace}.svc.cluster.local`,
    `${name}.${of.namespace}`,
    name,
  ];
  return await openClusterHouse({
    ...{ ...of, serverNames },
    name: `${name}-authority`,
    accounts: { gateway: `${name}-gateway`, node: `${name}-branches` },
    isBaseline: namespace => baselineNamespaces?.includes(namespace) ?? true,
  });
}

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
const AGAIN_MS = 2_000;
const STEP_MS = 15 * 60_000;

/** What cannot be read, or not any more. */
const problemOf = ({ failure }: InformerState): readonly string[] =>
  failure === undefined ? [] : [failure.message];

const checkOf = ({ resource, synced, failure, count }: InformerState): CheckView => ({
  ...{ area: 'cluster', name: resource, ok: synced && failure === undefined },
  detail: failure?.message ?? `${count} objects`,
});

const ended = (signal: AbortSignal): Promise<void> =>
  new Promise(resolve => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
