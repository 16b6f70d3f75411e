/** What baseline manifests are called in the store. */
import type { Manifest, Workload } from './kubernetes.ts';

/** Namespaces stand at the place of a namespace of their own. */
export const namespaceOf = (manifest: Pick<Manifest, 'kind' | 'metadata'> | Workload): string =>
  manifest.kind === 'Namespace' ? manifest.metadata.name : (manifest.metadata.namespace ?? 'default');

/** `Kind/namespace/name` */
export const manifestName = (kind: string, namespace: string, name: string): string =>
  `${kind}/${namespace}/${name}`;

export const nameOfManifest = (manifest: Manifest | Workload): string =>
  manifestName(manifest.kind, namespaceOf(manifest), manifest.metadata.name);

/** `Kind/namespace`: all manifests of one kind in one namespace. */
export const manifestGroup = (kind: string, namespace: string): string => `${kind}/${namespace}`;
