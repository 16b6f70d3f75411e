/** The parts of a manifest that have no effect where containers run as plain processes. */
import type { Container, Manifest, PodSpec, Secret, Workload } from '../kubernetes.ts';
import { asWorkload, podPath } from '../workload.ts';
import { type FieldRow, manifestFields } from './manifest-fields.ts';
import { decodeSecret } from './manifest-rules.ts';
import type { Finding, Path } from './problem.ts';

/** Fields, and what is said about each. What is only warned about here keeps nothing from becoming ready. */
export const partsWithoutEffect = {
  pod: toldOf(manifestFields.PodSpec),
  container: toldOf(manifestFields.Container),
  job: toldOf(manifestFields.JobSpec),
  claim: toldOf(manifestFields.PersistentVolumeClaimSpec),
};

/** Kinds of volumes, and fields of ports, that are warned about. */
export const volumesWithoutEffect: Readonly<Record<string, string>> = toldOf(manifestFields.Volume);
export const portsWithoutEffect: Readonly<Record<string, string>> = toldOf(manifestFields.ContainerPort);

/**
 * What a machine can keep: limits of containers, their ports, for which pods must have networks of their own, mounts,
 * volumes in memory, names of Services, and processes of pods apart from each other.
 */
export type Kept = 'memory' | 'cpu' | 'ports' | 'volumes' | 'memory-volumes' | 'names' | 'processes';

/**
 * One finding for each part; they are no reason to refuse the manifest.
 * @param value the manifest as it stands in the file
 * @param keeps what is kept here
 */
export function manifestWarnings(
  manifest: Manifest,
  value: unknown,
  keeps: readonly Kept[],
): readonly Finding[] {
  const workload = asWorkload(manifest);
  if (workload !== undefined) return workloadWarnings(workload, keeps);
  if (manifest.kind === 'PersistentVolumeClaim')
    return pick(manifest.spec, ['spec'], partsWithoutEffect.claim);
  if (manifest.kind === 'Service' && !keeps.includes('names')) return [withoutName];
  return manifest.kind === 'Secret' ? secretWarnings(value as Secret) : [];
}

// --- internal -----------------------------------------------------------------------------------

type Told<Rows> = {
  readonly [Field in keyof Rows as Rows[Field] extends { how: 'told' } ? Field : never]: string;
};

function toldOf<Rows extends Readonly<Record<string, FieldRow>>>(rows: Rows): Told<Rows> {
  const told = Object.entries(rows).filter(([, { how }]) => how === 'told');
  return Object.fromEntries(told.map(([field, { note = '' }]) => [field, note])) as Told<Rows>;
}

function secretWarnings({ data = {} }: Secret): readonly Finding[] {
  return Object.entries(data)
    .filter(([, value]) => decodeSecret(value) === undefined)
    .map(([key]) =>
      warning(['data', key], 'the value is binary; in a variable, what is no text of it becomes U+FFFD'),
    );
}

function workloadWarnings({ kind, spec }: Workload, keeps: readonly Kept[]): readonly Finding[] {
  const pod = spec.template.spec;
  const at: Path = podPath(kind);
  return [
    // Of a CronJob, too: its spec is seen as that of its runs.
    ...(kind === 'Job' || kind === 'CronJob' ? pick(spec, at.slice(0, -2), partsWithoutEffect.job) : []),
    ...pick(pod, at, partsWithoutEffect.pod),
    ...(keeps.includes('processes') || pod.hostPID === true ? [] : [withoutProcesses(at)]),
    ...(pod.volumes ?? []).flatMap((volume, i) => pick(volume, [...at, 'volumes', i], volumesWithoutEffect)),
    ...(keeps.includes('memory-volumes') ? [] : memoryWarnings(pod, at)),
    ...(['initContainers', 'containers'] as const).flatMap(list =>
      (pod[list] ?? []).flatMap((container, i) => {
        const path = [...at, list, i];
        return [
          ...pick(container, path, partsWithoutEffect.container),
          ...(container.ports ?? []).flatMap((port, i) =>
            pick(port, [...path, 'ports', i], portsWithoutEffect),
          ),
          ...limitsWarnings(container, path, keeps),
          ...portsWarnings(container, path, keeps),
          ...(keeps.includes('volumes') ? [] : pick(container, path, withoutMounts)),
        ];
      }),
    ),
  ];
}

function limitsWarnings({ resources }: Container, path: Path, keeps: readonly Kept[]): Finding[] {
  return Object.keys(resources?.limits ?? {})
    .filter(limit => !keeps.some(kept => kept === limit))
    .map(limit =>
      warning([...path, 'resources', 'limits', limit], 'this limit is not kept here, see "offshoot doctor"'),
    );
}

function portsWarnings({ ports = [] }: Container, path: Path, keeps: readonly Kept[]): Finding[] {
  if (ports.length === 0 || keeps.includes('ports')) return [];
  const what = 'pods share the network of this machine, so the program must listen at $PORT';
  return [warning([...path, 'ports'], `${what}, see "offshoot doctor"`)];
}

function memoryWarnings({ volumes = [] }: PodSpec, at: Path): Finding[] {
  return volumes.flatMap(({ emptyDir }, i) =>
    emptyDir?.medium === 'Memory'
      ? [
          warning(
            [...at, 'volumes', i, 'emptyDir', 'medium'],
            'it is on the disk here, without a limit, see "offshoot doctor"',
          ),
        ]
      : [],
  );
}

const withoutMounts = { volumeMounts: 'volumes are not mounted on this machine, see "offshoot doctor",' };

/** Warnings for those fields of `object` that say something. */
function pick(object: unknown, path: Path, parts: Readonly<Record<string, string>>): Finding[] {
  if (typeof object !== 'object' || object === null) return [];
  const says = new Map(Object.entries(object).filter(([, value]) => !isEmpty(value)));
  return Object.entries(parts)
    .filter(([field]) => says.has(field))
    .map(([field, what]) => warning([...path, field], `${what} where containers run as processes`));
}

const warning = (path: Path, message: string): Finding => ({ path, message, at: 'key' });

const withoutName = warning(
  ['metadata', 'name'],
  'it does not resolve on this machine: programs find Services by their variables, see "offshoot doctor"',
);

const withoutProcesses = (at: Path): Finding =>
  warning(
    at,
    'its programs see the processes of this machine, and others see what they have in their environment, see "offshoot doctor"',
  );

const isEmpty = (value: unknown): boolean =>
  value === false || (typeof value === 'object' && value !== null && Object.keys(value).length === 0);
