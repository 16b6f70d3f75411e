/** What a pod is told of its own labels and annotations (Kubernetes, "Downward API"). Pure. */
import type { Meta, Workload } from './kubernetes.ts';

/** The pod's own metadata: labels and annotations of the template, not of the Deployment. */
export type PodMeta = Pick<Meta, 'namespace' | 'labels' | 'annotations'>;

type Field = { readonly map: 'labels' | 'annotations'; readonly key: string };

/** The label or annotation of the pod that a `fieldPath` means; undefined when it means something else. */
export function podMetaField(fieldPath: string): Field | undefined {
  const [, map, key] = /^metadata\.(labels|annotations)\['([^']+)'\]$/.exec(fieldPath) ?? [];
  return key === undefined ? undefined : { map: map as Field['map'], key };
}

/** A label that is not set is no error in Kubernetes. */
export const podMetaValue = (meta: PodMeta, { map, key }: Field): string => {
  const values = meta[map] ?? {};
  // Names come from documents, and every object has a `constructor` that is not its own.
  return Object.hasOwn(values, key) ? values[key]! : '';
};

/** The same, and all labels or annotations as a file has them; undefined when `fieldPath` means something else. */
export function podMetaText(meta: PodMeta, fieldPath: string): string | undefined {
  const field = podMetaField(fieldPath);
  if (field !== undefined) return podMetaValue(meta, field);
  const [, map] = /^metadata\.(labels|annotations)$/.exec(fieldPath) ?? [];
  if (map === undefined) return undefined;
  return Object.entries(meta[map as Field['map']] ?? {})
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, value]) => `${key}=${quoted(value)}`)
    .join('\n');
}

/**
 * What the controllers of a cluster add to each pod (Kubernetes, "Well-Known Labels, Annotations and Taints"), over what
 * the template says.
 */
export function givenMeta(
  { kind, metadata, spec }: Workload,
  { name, index }: { readonly name: string; readonly index: string },
): Required<Pick<PodMeta, 'labels' | 'annotations'>> {
  if (kind === 'StatefulSet')
    return {
      labels: { 'statefulset.kubernetes.io/pod-name': name, 'apps.kubernetes.io/pod-index': index },
      annotations: {},
    };
  if (kind !== 'Job') return { labels: {}, annotations: {} };
  const job = { 'batch.kubernetes.io/job-name': metadata.name, 'job-name': metadata.name };
  const ofIndex =
    spec.completionMode === 'Indexed' ? { 'batch.kubernetes.io/job-completion-index': index } : {};
  return { labels: { ...job, ...ofIndex }, annotations: ofIndex };
}

/** `given` goes over what the template says. */
export function withGivenMeta(
  workload: Workload,
  pod: { readonly name: string; readonly index: string },
): PodMeta {
  const { namespace = 'default' } = workload.metadata;
  const { labels, annotations } = workload.spec.template.metadata ?? {};
  const given = givenMeta(workload, pod);
  return {
    namespace,
    labels: { ...labels, ...given.labels },
    annotations: { ...annotations, ...given.annotations },
  };
}

// --- internal -----------------------------------------------------------------------------------

const ESCAPES: Readonly<Record<string, string>> = { '\n': '\\n', '\r': '\\r', '\t': '\\t' };

/** As Go does it. Other control characters are in no manifest, and what stands in for a pod's name has some. */
const quoted = (text: string): string => `"${text.replace(/["\\\n\r\t]/g, c => ESCAPES[c] ?? `\\${c}`)}"`;
