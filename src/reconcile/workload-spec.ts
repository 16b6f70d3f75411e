/** From the baseline to what a workload driver is asked for: the workload, what its pods refer to, and the services around it. */
import { existsSync } from 'node:fs';
import type { Baseline, Found } from '../baseline/contract.ts';
import type { WorkloadSpec } from '../drivers/contract.ts';
import type { ImageMap } from '../model/image.ts';
import type { CronJobManifest, Workload, WorkloadKind } from '../model/kubernetes.ts';
import { manifestName, namespaceOf } from '../model/manifest-name.ts';
import { imagesOfPod } from '../model/offshoot-config.ts';
import { podSources } from '../model/pod-sources.ts';
import type { WorkloadKey } from '../model/sandbox.ts';
import { type ServiceAddress, serviceEnv } from '../model/service.ts';
import { workloadKinds } from '../model/workload.ts';
import { servedPorts } from '../model/workload-ports.ts';
import type { Store, Stored } from '../store/contract.ts';
import { clusterNames } from './cluster-names.ts';

export const baselineOwner = 'baseline';
export const sandboxOwner = (sandbox: string): string => `sandbox/${sandbox}`;

/**
 * Ids sort by owner: `base.<namespace>.<name>` and `sb-<sandbox>.<namespace>.<name>`; the first part also says the kind
 * of what is no Deployment: `base~statefulset.…`. Names of sandboxes and namespaces hold no dot.
 */
export const baselineId = (key: WorkloadKey): string => idOf('base', key);
export const forkId = (sandbox: string, forkOf: WorkloadKey): string => idOf(`sb-${sandbox}`, forkOf);

/** `base~cronjob.<namespace>.<name>-<run>`: one run of a CronJob, which itself is none. */
export const runId = (cronJob: CronJobManifest, run: string): string => {
  const { kind, metadata } = cronJob;
  return baselineId({ kind, namespace: namespaceOf(cronJob), name: `${metadata.name}-${run}` });
};

/** The id whose log is meant by a workload of the baseline: of a CronJob that of its newest run. */
export function logId(store: Store, key: WorkloadKey): string {
  if (key.kind !== 'CronJob') return baselineId(key);
  const manifest = store.get('manifest', manifestName(key.kind, key.namespace, key.name));
  const newest = manifest?.secret?.schedules?.runs.at(-1);
  return newest === undefined ? baselineId(key) : runId(manifest!.spec as CronJobManifest, newest.name);
}

/** What an id means. */
export type KnownWorkload = WorkloadKey & {
  /** Absent for the baseline. */
  readonly sandbox?: string;
  /** Of a CronJob. */
  readonly run?: string;
};

/** The way back; undefined for an id that we never make. */
export function workloadOf(id: string): KnownWorkload | undefined {
  const [first = '', namespace = '', ...name] = id.split('.');
  const [owner = '', suffix] = first.split('~');
  const kind = suffix === undefined ? 'Deployment' : kindBySuffix.get(suffix);
  if (kind === undefined) return undefined;
  const key = { kind, namespace, name: name.join('.') };
  const known = owner.startsWith('sb-') ? { sandbox: owner.slice('sb-'.length), ...key } : key;
  const again = 'sandbox' in known ? forkId(known.sandbox, key) : baselineId(key);
  if (again !== id) return undefined;
  if (kind !== 'CronJob') return known;
  const [, cronJob, run] = /^(.+)-(\d+)$/.exec(key.name) ?? [];
  return run === undefined ? undefined : { ...known, name: cronJob!, run };
}

/**
 * @param ports that are sent to although no container declares them
 * @param wish differs whenever somebody has asked again for one of the objects that the workload is made from
 * @param restarts how often its pods were started anew on request
 * @param images tables of images, the first counts most
 */
export function workloadSpec(
  baseline: Baseline,
  owner: string,
  workload: Workload,
  {
    ports,
    wish,
    restarts = 0,
    images,
  }: {
    readonly ports: readonly number[];
    readonly wish: string;
    readonly restarts?: number | undefined;
    readonly images: readonly ImageMap[];
  },
): WorkloadSpec {
  const namespace = namespaceOf(workload);
  return {
    owner,
    workload,
    refs: referenced(baseline, workload, namespace),
    // A folder per git ref comes and goes with the ref.
    images: imagesOfPod(workload.spec.template, images, existsSync),
    network: {
      // Kubernetes, "Accessing the Service": who has variables of that form of his own turns ours off.
      env: workload.spec.template.spec.enableServiceLinks === false ? {} : variables(baseline, namespace),
      ...{ hosts: clusterNames(baseline, workload), ports },
    },
    wish,
    ...(restarts > 0 && { restart: String(restarts) }),
  };
}

/** Differs whenever somebody has asked again for a sandbox; for a workload of the baseline see `rules/inputs.ts`. */
export const wishOf = ({ generation, secret }: Stored<'sandbox'>): string =>
  `${generation}.${secret.tries ?? 0}`;

/** What the Services of the baseline send to a workload of it. */
export const servedBy = (baseline: Baseline, workload: Workload): readonly number[] =>
  servedPorts(
    workload,
    baseline.servicesOf(workload).map(s => s.object),
  );

// --- internal -----------------------------------------------------------------------------------

const idOf = (owner: string, { kind, namespace, name }: WorkloadKey): string =>
  `${kind === 'Deployment' ? owner : `${owner}~${suffixOf(kind)}`}.${namespace}.${name}`;

const suffixOf = (kind: WorkloadKind): string => kind.toLowerCase();

const kindBySuffix = new Map<string, WorkloadKind>(
  workloadKinds.filter(kind => kind !== 'Deployment').map(kind => [suffixOf(kind), kind]),
);

type Data = Readonly<Record<string, string>>;

/** Only what the pods mention: a change elsewhere must not restart them. */
function referenced(baseline: Baseline, workload: Workload, namespace: string): WorkloadSpec['refs'] {
  const wanted = podSources(workload.spec.template);
  const read = (kind: 'ConfigMap' | 'Secret') => {
    const text: Record<string, Data> = {};
    const binary: Record<string, Data> = {};
    for (const name of [...wanted[kind]].sort()) {
      const found = baseline.get(kind, namespace, name);
      if (found === undefined) continue;
      const { data = {}, binaryData } = found.object;
      text[`${namespace}/${name}`] = data;
      if (binaryData !== undefined) binary[`${namespace}/${name}`] = binaryData;
    }
    return { text, binary };
  };
  const [configMaps, secrets] = [read('ConfigMap'), read('Secret')];
  return {
    configMaps: configMaps.text,
    secrets: secrets.text,
    binary: { configMaps: configMaps.binary, secrets: secrets.binary },
  };
}

type Variables = WorkloadSpec['network']['env'];

/** By the list of all Services, which is another one as soon as one of them changes; then by namespace. */
const known = new WeakMap<readonly Found<'Service'>[], Map<string, Variables>>();

/** The same for all workloads of a namespace. */
function variables(baseline: Baseline, namespace: string): Variables {
  const services = baseline.list('Service');
  const byNamespace = known.get(services) ?? new Map<string, Variables>();
  known.set(services, byNamespace);
  const before = byNamespace.get(namespace);
  if (before !== undefined) return before;
  const made = serviceEnv(baseline.list('Service', namespace).flatMap(withAddress));
  byNamespace.set(namespace, made);
  return made;
}

function withAddress({ name, object, status }: Found<'Service'>): readonly ServiceAddress[] {
  const addresses = status?.addresses ?? {};
  const [first] = Object.values(addresses);
  if (first === undefined) return [];
  const ports = (object.spec.ports ?? []).flatMap(p => {
    const address = addresses[p.port];
    return address === undefined
      ? []
      : [{ ...(p.name !== undefined && { name: p.name }), port: address.port }];
  });
  return [{ name, host: first.host, ports }];
}
