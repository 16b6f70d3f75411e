/**
 * Composition of a controller: what decides, in a cluster. Its objects are the store, its workloads the baseline, and its
 * own controllers run the forks. Gateways and sidecars follow it; it serves nothing but the API.
 *
 * There may be several. All of them answer webhooks; one at a time decides (leading.ts), and the others lead to it whoever
 * wants the API or follows. Whose turn is over ends, and starts again as one that waits.
 */
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { kubernetesBaseline } from './baseline/kubernetes.ts';
import { clusterKeys } from './cluster-keys.ts';
import type { Config } from './config.ts';
import { bringSecrets } from './kubernetes/brought-secrets.ts';
import { type ClusterClient, clusterClient } from './kubernetes/client.ts';
import { checkDefinitions } from './kubernetes/definitions.ts';
import type { InformerState } from './kubernetes/informer.ts';
import { contendFor, whileHeld } from './kubernetes/lease.ts';
import { lead } from './leading.ts';
import { version } from './lib/checkout.ts';
import { type Entrance, type EntranceOptions, openEntrance } from './lib/entrance.ts';
import type { Log } from './lib/log.ts';
import { orAborted } from './lib/wait.ts';
import { openLog } from './log-output.ts';
import type { PreviewSite } from './model/endpoint.ts';
import { OffshootError } from './model/errors.ts';
import type { Address } from './model/route.ts';
import { clockProblem } from './roles/clock.ts';
import { type ClusterHouse, type ClusterHouseOptions, openClusterHouse } from './roles/cluster-house.ts';
import type { Env } from './roles/environment.ts';
import { nearUrl } from './roles/given-out.ts';
import { type FollowedHolder, followHolder, type HolderAt, wakeWhenFree } from './roles/holder.ts';
import { lockHome } from './roles/home-lock.ts';
import { problemOf, untilDone, watchMissing } from './roles/missing.ts';
import { tellOfOwnPod } from './roles/own-pod.ts';
import { answerProbes } from './roles/probes.ts';
import { clusterAccess } from './roles/reachable.ts';
import { watchRivals } from './roles/rivals.ts';
import { openAdmission } from './webhook/open.ts';

export type ControllerOptions = {
  /** Of the installation: what it makes and who belongs to it is called by it, as the chart does. */
  readonly name: string;
  /** Of the installation; undefined: the one that this runs in. */
  readonly namespace: string | undefined;
  /** Of the authority and the keys of the API, which nobody else is to read; undefined: that of the installation. */
  readonly secretsNamespace: string | undefined;
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
 * @throws OffshootError kubernetes/config, host/already-running, host/port-taken; kubernetes/lease-lost when its turn is over before
 * it was asked to end; the signal's reason before it is up
 */
export async function runController(config: Config, env: Env, o: ControllerOptions): Promise<void> {
  const log = openLog(undefined, config.logLevel);
  await using opened = new AsyncDisposableStack();
  await lockHome(config, opened);
  const access = await clusterAccess(env, o.context);
  const namespace = o.namespace ?? access.namespace;
  const client = clusterClient(access, { userAgent: `offshoot-controller/${version}` });
  opened.defer(() => client.close());
  const ending = new AbortController();
  opened.defer(() => ending.abort());
  const tell = tellOfOwnPod(client, env, log, ending.signal);
  const missing = watchMissing(sentence => void tell('NotReady', sentence), log);
  opened.defer(() => missing.close());
  const clock = watchMissing(sentence => void tell('ClockSkew', sentence), log);
  clock.ask(() => clockProblem(client));
  opened.defer(() => clock.close());
  let [isUp, holder]: [boolean, FollowedHolder | undefined] = [false, undefined];
  const probes = await answerProbes({ host: config.host, port: o.probesPort }, () => {
    // Who once was up can be asked, whatever the cluster does.
    if (isUp) return [];
    const lacks = missing.list();
    return lacks.length > 0 ? lacks : (holder?.lacks() ?? ['it is still starting']);
  });
  opened.defer(() => probes.close());
  const stood = await stand(config, { ...o, client, namespace, log }, opened, missing.ask);

  const unread = watchMissing(sentence => void tell('NamespaceUnread', sentence), log);
  unread.ask(() => stood.source.states().flatMap(problemOf));
  opened.defer(() => unread.close());

  const place = { namespace, name: `${o.name}-controller` };
  const { api, feed } = stood.doors;
  const at: HolderAt = {
    host: env.POD_IP || config.advertised,
    ...{ api: api.port, feed: feed.port, probes: probes.port },
  };
  // The process of a pod that starts again comes after the one before it has ended.
  const identity = env.POD_NAME || `${hostname()}-${process.pid}-${randomBytes(4).toString('hex')}`;
  const lease = contendFor({ client, ...place, identity, log, says: JSON.stringify(at) });
  opened.defer(() => lease.release());
  lease.lost.addEventListener('abort', () => setTimeout(endAtOnce, CLOSING_MS, log).unref());
  opened.defer(wakeWhenFree(client, place, lease, log));
  holder = followHolder({ lease, identity, doors: stood.doors, log });
  opened.defer(() => holder?.close());
  const ownProblems = () => [
    ...stood.problems(),
    ...(lease.failure() === undefined ? [] : [lease.failure()!.message]),
  ];
  missing.ask(ownProblems);
  log.info(
    { version, namespace, baseline: o.baselineNamespaces ?? 'all' },
    'the controller waits for its turn',
  );
  const held = AbortSignal.any([o.signal, lease.lost]);
  await orAborted(lease.won, held);
  const rivals = watchRivals({ client, ...place, log });
  opened.defer(() => rivals.close());
  missing.ask(() => [...ownProblems(), ...rivals.problems()]);
  await orAborted(rivals.none, held);
  const signal = AbortSignal.any([held, rivals.found]);

  const leading = await lead(config, {
    ...{ ...o, ...stood, namespace, log, signal },
    says: its => missing.ask(() => [...stood.problems(), ...its()]),
    client: whileHeld(client, lease),
    sidecars: o.webhooks !== undefined,
  });
  opened.defer(() => leading.close());
  isUp = true;
  log.info({ version, namespace }, 'the controller is up');
  await ended(signal);
  isUp = false;
  if (!o.signal.aborted) throw signal.reason;
}

// --- internal -----------------------------------------------------------------------------------

/** From the end of a turn to that of everything; the next one begins later than that, see kubernetes/lease.ts. */
const CLOSING_MS = 4_000;

function endAtOnce(log: Log): void {
  log.error({}, 'what a controller does could not be ended in time');
  process.exit(1);
}

type Standing = ControllerOptions & {
  readonly client: ClusterClient;
  readonly namespace: string;
  readonly log: Log;
};

/** What each controller has and does, whoever decides. @param says told who knows what is missing */
async function stand(
  config: Config,
  { client, namespace, log, signal, ...o }: Standing,
  opened: AsyncDisposableStack,
  says: (source: () => readonly string[]) => void,
) {
  const { baselineNamespaces: namespaces } = o;
  const source = kubernetesBaseline({ client, log, informers, ...(namespaces && { namespaces }) });
  opened.defer(() => source.close());
  let states: () => readonly InformerState[] = () => [];
  /** From then on a namespace that cannot be read is the trouble of its own sandboxes. */
  let isKnown = false;
  const problems = () => [...(isKnown ? [] : source.states()), ...states()].flatMap(problemOf);
  const refused = (problem?: string) =>
    says(() => [...(problem === undefined ? [] : [problem]), ...problems()]);
  refused();
  const { secretsNamespace: kept = namespace } = o;
  const own = { authority: `${o.name}-authority`, keys: `${o.name}-keys` };
  await untilDone(
    () => bringSecrets(client, Object.values(own), { from: namespace, to: kept }, log),
    refused,
    signal,
  );
  const of = { client, namespace, secretNamespace: kept, name: own.authority, log };
  const house = await untilDone(() => openHouse(o, of), refused, signal);
  opened.defer(() => house.close());
  const keys = await untilDone(
    () => clusterKeys(client, { namespace: kept, name: own.keys }),
    refused,
    signal,
  );
  refused();
  await orAborted(source.synced, signal);
  isKnown = true;
  await untilDone(() => checkDefinitions(client), refused, signal);
  refused();

  const door = async (
    what: string,
    at: Address,
    more: Pick<EntranceOptions, 'secure'> = {},
  ): Promise<Entrance> => {
    const entrance = await openEntrance({ ...at, ...more }).catch((cause: NodeJS.ErrnoException) => {
      if (cause.code !== 'EADDRINUSE') throw cause;
      throw new OffshootError('host/port-taken', { ...at, what }, { cause });
    });
    opened.defer(() => entrance.close());
    return entrance;
  };
  const { host } = config;
  const servername = `${o.name}.${namespace}.svc`;
  const secure = () => ({ ca: house.authority(), servername });
  const doors = {
    api: await door('the API', { host, port: config.apiPort }, { secure }),
    feed: await door('followers', { host, port: config.feedPort ?? 0 }),
  };
  const near = { url: nearUrl(config, doors.api), apiKey: keys.cli, pid: process.pid };
  writeFileSync(join(config.home, 'client.json'), `${JSON.stringify(near)}\n`, { mode: 0o600 });
  if (o.webhooks !== undefined) {
    const admission = await openAdmission({
      ...{ client, baseline: source.baseline, name: o.webhooks, certificate: house.certificate, signal, log },
      at: { host: config.host, port: o.webhookPort },
      settings: {
        ...{ image: o.image, imagePullPolicy: o.sidecarPullPolicy, resources: o.sidecarResources },
        ...{ headers: config.customHeaders, logLevel: config.logLevel },
        controller: `${servername}:${doors.feed.port}`,
        authorities: house.authority,
      },
      onOpening(own) {
        states = own;
      },
    });
    opened.defer(() => admission.close());
  }
  return { source, house, keys, doors, problems };
}

async function openHouse(
  { name, baselineNamespaces }: Pick<ControllerOptions, 'name' | 'baselineNamespaces'>,
  of: Pick<ClusterHouseOptions, 'client' | 'namespace' | 'secretNamespace' | 'name' | 'log'>,
): Promise<ClusterHouse> {
  const serverNames = [
    `${name}.${of.namespace}.svc`,
    `${name}.${of.namespace}.svc.cluster.local`,
    `${name}.${of.namespace}`,
    name,
  ];
  return await openClusterHouse({
    ...{ ...of, serverNames },
    accounts: { gateway: `${name}-gateway`, node: `${name}-branches` },
    isBaseline: namespace => baselineNamespaces?.includes(namespace) ?? true,
  });
}

/** Who gives us a right that was missing should not have to wait for half a minute. */
const informers = { pauseMs: [100, 5_000] } as const;

const ended = (signal: AbortSignal): Promise<void> =>
  new Promise(resolve => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
