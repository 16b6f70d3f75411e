/** What a workload of the baseline is made from beside its own manifest. */
import { createHash } from 'node:crypto';
import type { Baseline } from '../baseline/contract.ts';
import { nowhere } from '../model/folder.ts';
import { namespaceOf } from '../model/manifest-name.ts';
import { podSources } from '../model/pod-sources.ts';
import { asWorkload } from '../model/workload.ts';
import type { Store, Stored } from '../store/contract.ts';

type Around = { readonly store: Store; readonly baseline: Baseline };

/**
 * Differs whenever something has changed that a workload is made from: its manifest, the ConfigMaps and Secrets that
 * it refers to, the Services that select it, the images of its folder. What was seen of it is of now when it was seen
 * with these inputs. Short, and nothing of a secret can be told from it. @returns '' for what is no workload
 */
export function inputsOf({ store, baseline }: Around, object: Stored<'manifest'>): string {
  const workload = asWorkload(object.spec);
  if (workload === undefined) return '';
  const namespace = namespaceOf(workload);
  const sources = podSources(workload.spec.template);
  const revisions = [
    ...(['ConfigMap', 'Secret'] as const).flatMap(kind =>
      [...sources[kind]].sort().map(name => baseline.get(kind, namespace, name)?.revision),
    ),
    ...baseline.servicesOf(workload).map(({ name, revision }) => `${name} ${revision}`),
  ];
  const folder = store.get('folder', object.secret?.from?.folder ?? nowhere);
  const { createdAt, generation, secret } = object;
  const all = [
    ...[createdAt, generation, secret?.tries],
    ...[folder?.name, folder?.createdAt, folder?.generation],
    ...revisions,
  ];
  return createHash('sha256').update(all.join('\n')).digest('base64url').slice(0, 16);
}

/** Whether the status of a manifest tells of what it is made from now. */
export const isCurrent = (around: Around, object: Stored<'manifest'>): boolean =>
  (object.status?.inputs ?? '') === inputsOf(around, object);

/** Workloads of the baseline that what was just deployed makes other than they are. */
export function outdated(
  around: Around,
  { namespaces, folder }: { readonly namespaces: Iterable<string>; readonly folder: string },
): readonly Stored<'manifest'>[] {
  const { store } = around;
  const near = [
    ...[...namespaces].flatMap(namespace => store.by('manifest/namespace', namespace)),
    ...store.by('manifest/folder', folder),
  ];
  return [...new Set(near)].filter(m => m.deletedAt === undefined && !isCurrent(around, m));
}
