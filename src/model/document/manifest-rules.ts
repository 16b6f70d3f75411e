/** What must hold across one Kubernetes object, as Kubernetes itself demands it. */
import type { ManifestKind, WorkloadKind } from '../kubernetes.ts';
import { similarName } from '../names.ts';
import { scheduleProblem } from '../schedule.ts';
import { podPath } from '../workload.ts';
import { type ItemOf, isMalformed, type Loose, names, placed, unique } from './loose.ts';
import type { PodDocument } from './manifest-pod-schema.ts';
import type {
  CronJobDocument,
  SelectingDocument,
  ServiceDocument,
  StatefulSetDocument,
  TemplatedDocument,
} from './manifest-schema.ts';
import type { Finding, Path } from './problem.ts';

/** By kind; each gets what is well-formed of a manifest of its kind. */
export const manifestRules: { readonly [K in ManifestKind]?: (manifest: never) => readonly Finding[] } = {
  Deployment: m => templatedRules('Deployment', m),
  StatefulSet: m => templatedRules('StatefulSet', m),
  DaemonSet: m => templatedRules('DaemonSet', m),
  ReplicaSet: m => templatedRules('ReplicaSet', m),
  ReplicationController: m => podRules('ReplicationController', m),
  Rollout: m => templatedRules('Rollout', m),
  Job: m => [...podRules('Job', m), ...endingRules('Job', m)],
  CronJob: m => [...podRules('CronJob', m), ...endingRules('CronJob', m), ...scheduleRules(m)],
  Pod: m => podRules('Pod', m),
  Service: serviceRules,
};

/** Text of a base64 value of a Secret; undefined when its bytes are not UTF-8. */
export function decodeSecret(value: string): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(Buffer.from(value, 'base64'));
  } catch {
    return undefined;
  }
}

// --- internal -----------------------------------------------------------------------------------

const PROBES = ['readinessProbe', 'livenessProbe', 'startupProbe'] as const;

type PodSpec = Loose<PodDocument>;
type Container = ItemOf<PodSpec['containers']>;

const templatedRules = (kind: WorkloadKind, manifest: Loose<TemplatedDocument>): Finding[] => [
  ...selectorFindings((manifest.spec ?? {}) as NonNullable<Loose<SelectingDocument>['spec']>),
  ...podRules(kind, manifest),
];

/** The pod's spec in a manifest; undefined when what leads to it is malformed. */
function podOf(kind: WorkloadKind, manifest: unknown): PodSpec | undefined {
  const at = (node: unknown, step: string) =>
    typeof node === 'object' && node !== null ? (node as Record<string, unknown>)[step] : undefined;
  return podPath(kind).reduce(at, manifest) as PodSpec | undefined;
}

function podRules(kind: WorkloadKind, manifest: unknown): Finding[] {
  const pod = podOf(kind, manifest);
  if (pod === undefined) return [];
  const at = podPath(kind);
  const containers = placed(pod.containers, [...at, 'containers']);
  const initContainers = placed(pod.initContainers, [...at, 'initContainers']);
  return [
    ...unique(
      [
        ...names(pod.initContainers, [...at, 'initContainers']),
        ...names(pod.containers, [...at, 'containers']),
      ],
      'container name',
    ),
    ...unique(names(pod.volumes, [...at, 'volumes']), 'volume name'),
    ...[...initContainers, ...containers].flatMap(({ item, path }) => [
      ...unique(names(item.ports, [...path, 'ports']), 'port name'),
      ...probePortFindings(item, path),
      ...mountFindings(item, path, pod, claimsOf(kind, manifest)),
    ]),
  ];
}

/** Names of the volumes that a StatefulSet makes for each pod; undefined when they are not known. */
function claimsOf(kind: WorkloadKind, manifest: unknown): readonly string[] | undefined {
  if (kind !== 'StatefulSet') return [];
  const { spec = {} } = manifest as Loose<StatefulSetDocument>;
  if (isMalformed(spec, 'volumeClaimTemplates')) return undefined;
  const claims = (spec.volumeClaimTemplates ?? []).map(claim => claim?.metadata?.name);
  return claims.includes(undefined) ? undefined : (claims as string[]);
}

function mountFindings(
  container: Container,
  path: Path,
  pod: PodSpec,
  claims: readonly string[] | undefined,
): Finding[] {
  if (claims === undefined || isMalformed(pod, 'volumes')) return [];
  const volumes = (pod.volumes ?? []).map(volume => volume?.name);
  if (volumes.includes(undefined)) return [];
  const known = [...(volumes as string[]), ...claims];
  const mounts = placed(container.volumeMounts, [...path, 'volumeMounts']);
  const paths = mounts.map(({ item, path }) => ({ text: item.mountPath, path: [...path, 'mountPath'] }));
  return [
    ...unique(paths, 'mount path'),
    ...mounts.flatMap(({ item, path }) =>
      item.name === undefined || known.includes(item.name)
        ? []
        : [
            {
              path: [...path, 'name'],
              message: `the pod has no volume "${item.name}"`,
              suggestion: similarName(item.name, known),
            },
          ],
    ),
  ];
}

/** What ends must not be started again for ever (API reference, Job). */
function endingRules(kind: 'Job' | 'CronJob', manifest: unknown): Finding[] {
  const pod = podOf(kind, manifest);
  if (pod === undefined || isMalformed(pod, 'restartPolicy')) return [];
  if (pod.restartPolicy === 'OnFailure' || pod.restartPolicy === 'Never') return [];
  const missing = pod.restartPolicy === undefined;
  const message = `the pods of a ${kind} need a restartPolicy of OnFailure or Never`;
  return [{ path: [...podPath(kind), 'restartPolicy'], message, at: missing ? 'key' : 'value' }];
}

function scheduleRules({ spec = {} }: Loose<CronJobDocument>): Finding[] {
  const { schedule, timeZone } = spec;
  const problem = schedule === undefined ? undefined : scheduleProblem(schedule, timeZone);
  return problem === undefined ? [] : [{ path: ['spec', problem.field], message: problem.message }];
}

function selectorFindings({ selector, template }: NonNullable<Loose<SelectingDocument>['spec']>): Finding[] {
  const pod = template?.metadata;
  // What is missing or malformed has been reported already.
  if (selector === undefined || template === undefined || isMalformed(selector, 'matchLabels')) return [];
  if (isMalformed(template, 'metadata') || isMalformed(pod, 'labels')) return [];
  const path: Path = ['spec', 'selector'];
  const wanted = Object.entries(selector.matchLabels ?? {});
  if (wanted.length === 0 && selector.matchExpressions === undefined)
    return [{ path, message: 'the selector is empty' }];
  const labels = pod?.labels ?? {};
  return wanted
    .filter(([label, value]) => value !== undefined && value !== labels[label] && !isMalformed(labels, label))
    .map(([label, value]) => ({
      path: [...path, 'matchLabels', label],
      message: `the template's labels do not have "${label}: ${value}"`,
    }));
}

function probePortFindings(container: Container, path: Path): Finding[] {
  const ports = container.ports ?? [];
  if (isMalformed(container, 'ports') || ports.some(port => port === undefined || isMalformed(port, 'name')))
    return [];
  const known = ports.flatMap(port => port?.name ?? []);
  return PROBES.flatMap(field =>
    (['httpGet', 'tcpSocket'] as const).flatMap(handler => {
      const port = container[field]?.[handler]?.port;
      if (typeof port !== 'string' || known.includes(port)) return [];
      return [
        {
          path: [...path, field, handler, 'port'],
          message: `the container has no port named "${port}"`,
          suggestion: similarName(port, known),
        },
      ];
    }),
  );
}

function serviceRules({ spec }: Loose<ServiceDocument>): Finding[] {
  const path: Path = ['spec', 'ports'];
  const ports = placed(spec?.ports, path);
  const numbers = ports.map(({ item, path }) => ({
    text: item.port === undefined ? undefined : `${item.protocol ?? 'TCP'} ${item.port}`,
    path: [...path, 'port'],
  }));
  const nameless = ports.length < 2 ? [] : ports.filter(({ item }) => !Object.hasOwn(item, 'name'));
  return [
    ...unique(names(spec?.ports, path), 'port name'),
    ...unique(numbers, 'port'),
    ...nameless.map(({ path }) => ({ path, message: 'each of several ports needs a name' })),
  ];
}
