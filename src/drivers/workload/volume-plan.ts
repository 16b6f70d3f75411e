/** From the volumes of a pod to files and folders, and where its containers see them. Pure. */
import { claimOfPod } from '../../model/claims.ts';
import { expandCommand, resolveEnv } from '../../model/container-env.ts';
import type { Container, FieldFiles, Volume, VolumeMount, VolumeSource } from '../../model/kubernetes.ts';
import { podMetaText, withGivenMeta } from '../../model/pod-meta.ts';
import { readQuantity } from '../../model/quantity.ts';
import type { Node } from '../../model/resource-field.ts';
import type { WorkloadSpec } from '../contract.ts';
import { standIn } from './stand-in.ts';

export type VolumePlan = { readonly name: string } & (
  | { readonly kind: 'files'; readonly files: readonly FilePlan[] }
  /** `memoryBytes`: in memory, not more than that. */
  | { readonly kind: 'empty'; readonly memoryBytes?: number }
  /** A folder or file of this machine. */
  | { readonly kind: 'host'; readonly path: string; readonly type: string; readonly readOnly: boolean }
  /** A folder that outlives pods. `copyOf`: it begins as a copy of the baseline's, or empty. */
  | {
      readonly kind: 'disk';
      readonly claim: string;
      readonly of: 'baseline' | 'fork';
      readonly copy: boolean;
      readonly readOnly: boolean;
    }
);

export type FilePlan = {
  /** Relative, in the volume. */
  readonly path: string;
  readonly mode: number;
  readonly text?: string;
  readonly base64?: string;
};

export type MountPlan = {
  readonly volume: string;
  /** Absolute, as the container names it. */
  readonly path: string;
  /** Relative, in the volume. */
  readonly subPath?: string;
  readonly readOnly: boolean;
};

/** @returns a sentence when something that a volume refers to is missing or wrong */
export function planVolumes(spec: WorkloadSpec, node: Node): readonly VolumePlan[] | string {
  const { template, volumeClaimTemplates = [] } = spec.workload.spec;
  const planned: VolumePlan[] = [];
  for (const volume of template.spec.volumes ?? []) {
    const one = planVolume(spec, volume, node);
    if (typeof one === 'string') return `volume "${volume.name}" ${one}`;
    planned.push(one);
  }
  // A StatefulSet's own claims win over volumes of the same name.
  const { name } = spec.workload.metadata;
  for (const { metadata } of volumeClaimTemplates)
    planned.push(disk(spec, metadata.name, claimOfPod(metadata.name, name, standIn('index'))));
  return planned.filter(({ name }, i) => planned.findLastIndex(other => other.name === name) === i);
}

/** @param env of the container, for `subPathExpr` @returns a sentence when one is wrong */
export function planMounts(
  { volumeMounts = [] }: Container,
  volumes: readonly VolumePlan[],
  env: Readonly<Record<string, string>>,
): readonly MountPlan[] | string {
  const planned: MountPlan[] = [];
  for (const mount of volumeMounts) {
    const one = planMount(mount, volumes, env);
    if (typeof one === 'string') return `its mount at "${mount.mountPath}" ${one}`;
    planned.push(one);
  }
  return planned;
}

// --- internal -----------------------------------------------------------------------------------

function planMount(
  { name, mountPath, subPath, subPathExpr, readOnly = false }: VolumeMount,
  volumes: readonly VolumePlan[],
  env: Readonly<Record<string, string>>,
): MountPlan | string {
  const volume = volumes.find(volume => volume.name === name);
  if (volume === undefined) return `names the volume "${name}", which the pod does not have`;
  if (!mountPath.startsWith('/') || mountPath === '/') return 'is no place below /';
  const [sub] = subPathExpr ? expandCommand([subPathExpr], env) : [subPath]; // an empty one is none
  if (sub && !isInside(sub)) return `has the subPath "${sub}", which leads out of the volume`;
  return {
    volume: name,
    path: mountPath.replace(/\/+$/, ''),
    ...(sub && { subPath: sub }),
    readOnly: readOnly || volume.kind === 'files' || ('readOnly' in volume && volume.readOnly),
  };
}

function planVolume(spec: WorkloadSpec, volume: Volume, node: Node): VolumePlan | string {
  const { name, emptyDir, hostPath, persistentVolumeClaim: claim } = volume;
  if (hostPath) {
    const { path, type = '' } = hostPath;
    if (!path.startsWith('/')) return `has the hostPath "${path}", which is not absolute`;
    // A fork may look at what is the machine's, and not change it.
    return {
      name,
      kind: 'host',
      path,
      type,
      readOnly: isFork(spec) && spec.forkVolumes?.hostPath !== 'write',
    };
  }
  if (claim) return disk(spec, name, claim.claimName, claim.readOnly);
  if (emptyDir?.medium === 'Memory') {
    const limit = emptyDir.sizeLimit === undefined ? undefined : readQuantity(emptyDir.sizeLimit);
    return { name, kind: 'empty', memoryBytes: limit ?? node.memoryBytes / 2 };
  }
  const files = filesOf(spec, volume, node);
  // Kinds that we do not know (of clouds, of drivers) are an empty folder, so that programs find one.
  return files === undefined || typeof files === 'string'
    ? (files ?? { name, kind: 'empty' })
    : { name, kind: 'files', files };
}

const isFork = ({ owner }: WorkloadSpec): boolean => owner !== 'baseline';

const disk = (spec: WorkloadSpec, name: string, claim: string, readOnly = false): VolumePlan => ({
  ...{ name, kind: 'disk', claim },
  of: isFork(spec) ? 'fork' : 'baseline',
  copy: spec.forkVolumes?.disks !== 'empty',
  readOnly,
});

/** @returns undefined when it is no volume of files; a sentence when something is missing */
function filesOf(
  spec: WorkloadSpec,
  volume: VolumeSource,
  node: Node,
): readonly FilePlan[] | string | undefined {
  const { configMap, secret, downwardAPI, projected } = volume;
  if (configMap) return keyFiles(spec, 'ConfigMap', configMap.name, configMap);
  if (secret) return keyFiles(spec, 'Secret', secret.secretName, secret);
  if (downwardAPI) return fieldFiles(spec, downwardAPI, node);
  if (projected === undefined) return undefined;
  const all: FilePlan[] = [];
  const { defaultMode } = projected;
  for (const { configMap, secret, downwardAPI } of projected.sources ?? []) {
    const files = configMap
      ? keyFiles(spec, 'ConfigMap', configMap.name, { defaultMode, ...configMap } as KeyFiles)
      : secret
        ? keyFiles(spec, 'Secret', secret.name, { defaultMode, ...secret } as KeyFiles)
        : downwardAPI
          ? fieldFiles(spec, { defaultMode, ...downwardAPI } as FieldFiles, node)
          : []; // e.g. the token of a service account: there is no API that would take it
    if (typeof files === 'string') return files;
    all.push(...files);
  }
  return all;
}

type KeyFiles = NonNullable<VolumeSource['configMap']>;

const USUAL_MODE = 0o644;
/** A cluster puts it into each namespace, and into each pod beside the token of its account; there is no API here. */
const OF_CLUSTER = 'kube-root-ca.crt';

function keyFiles(
  { workload, refs }: WorkloadSpec,
  kind: 'ConfigMap' | 'Secret',
  name: string,
  { items, optional = name === OF_CLUSTER, defaultMode = USUAL_MODE }: Omit<KeyFiles, 'name'>,
): readonly FilePlan[] | string {
  const id = `${workload.metadata.namespace ?? 'default'}/${name}`;
  const [texts, bytes] =
    kind === 'ConfigMap'
      ? [refs.configMaps[id], refs.binary.configMaps[id]]
      : [refs.secrets[id], refs.binary.secrets[id]];
  if (texts === undefined && bytes === undefined) return optional ? [] : `lacks the ${kind} "${id}"`;
  const contentOf = (key: string) =>
    bytes !== undefined && Object.hasOwn(bytes, key)
      ? { base64: bytes[key]! }
      : texts !== undefined && Object.hasOwn(texts, key)
        ? { text: texts[key]! }
        : undefined;
  const keys = new Set([...Object.keys(texts ?? {}), ...Object.keys(bytes ?? {})]);
  const wanted = items ?? [...keys].sort().map(key => ({ key, path: key, mode: undefined }));
  const files: FilePlan[] = [];
  for (const { key, path, mode = defaultMode } of wanted) {
    const content = contentOf(key);
    if (content === undefined && !optional) return `lacks the key "${key}" of ${kind} "${id}"`;
    if (!isInside(path)) return `has the path "${path}", which leads out of the volume`;
    if (content !== undefined) files.push({ path, mode, ...content });
  }
  return files;
}

/** Kubernetes, "Downward API": `metadata.labels` and `metadata.annotations` as a whole are for files only. */
function fieldFiles(
  { workload, refs }: WorkloadSpec,
  { items = [], defaultMode = USUAL_MODE }: FieldFiles,
  node: Node,
): readonly FilePlan[] | string {
  const { template } = workload.spec;
  const meta = withGivenMeta(workload, { name: standIn('name'), index: standIn('index') });
  const files: FilePlan[] = [];
  for (const { path, mode = defaultMode, fieldRef, resourceFieldRef } of items) {
    if (!isInside(path)) return `has the path "${path}", which leads out of the volume`;
    const text = podMetaText(meta, fieldRef?.fieldPath ?? '');
    if (text !== undefined) {
      files.push({ path, mode, text });
      continue;
    }
    const value = { name: 'it', valueFrom: { ...(fieldRef ? { fieldRef } : { resourceFieldRef }) } } as never;
    const container = { name: '', image: '', env: [value] };
    const pod = { name: standIn('name'), uid: standIn('uid'), ip: standIn('ip'), node, spec: template.spec };
    const { env } = resolveEnv(container, meta, refs, pod);
    if (env.it === undefined)
      return `asks for a field that there is not: ${fieldRef?.fieldPath ?? 'resource'}`;
    files.push({ path, mode, text: env.it });
  }
  return files;
}

const isInside = (path: string): boolean =>
  path !== '' && !path.startsWith('/') && !path.split('/').includes('..');
