/** Folders that manifests were deployed from: whose a namespace is, and how images run. */
import { OffshootError } from '../model/errors.ts';
import { isInside, nowhere } from '../model/folder.ts';
import type { ImageMap } from '../model/image.ts';
import { namespaceOf } from '../model/manifest-name.ts';
import type { Store, Stored } from '../store/contract.ts';
import { holding } from './locks.ts';

export const folderLock = (folder: string): string => `folder/${folder}`;
export const namespaceLock = (namespace: string): string => `namespace/${namespace}`;

/** Whose a namespace is; undefined while nothing is there, or nobody said whose it is. */
export function ownerOf(store: Store, namespace: string): string | undefined {
  if (store.by('manifest/namespace', namespace).length === 0) return undefined;
  return store.get('namespace', namespace)?.spec.folder;
}

/**
 * Whether `folder` may deploy into these namespaces. A folder that had nothing to say of images gives way to one that
 * it lies in: that is what happens when somebody adds an offshoot.yaml above his manifests.
 * @throws OffshootError namespace/taken
 */
export function checkOwners(store: Store, namespaces: Iterable<string>, folder: string): void {
  for (const namespace of namespaces) {
    const owner = ownerOf(store, namespace);
    if (owner === undefined || owner === folder) continue;
    const hasImages = Object.keys(store.get('folder', owner)?.spec.images ?? {}).length > 0;
    if (!hasImages && isInside(folder, owner)) continue;
    throw new OffshootError('namespace/taken', { namespace, owner, folder });
  }
}

/** The images of the folder that a manifest came from. @param manifest its name in the store */
export const imagesOf = (store: Store, manifest: string): ImageMap =>
  store.get('folder', store.get('manifest', manifest)?.secret?.from?.folder ?? nowhere)?.spec.images ?? {};

/** Writes whose the namespaces are and how the folder's images run. The caller holds their locks. */
export async function claim(
  store: Store,
  folder: string,
  { images, namespaces }: { readonly images: ImageMap; readonly namespaces: Iterable<string> },
): Promise<void> {
  // Whoever does not say where he is must not remove what others like him have brought.
  const before = folder === nowhere ? (store.get('folder', folder)?.spec.images ?? {}) : {};
  const owner = { folder };
  const silent = folder === nowhere && Object.keys(images).length === 0;
  const claims = folder === nowhere ? [] : [...namespaces];
  await Promise.all([
    ...(silent ? [] : [put(store, 'folder', folder, { images: { ...before, ...images } })]),
    ...claims.map(namespace => put(store, 'namespace', namespace, owner)),
  ]);
}

/** What is known of folder and namespace of a manifest goes with the last one. May be repeated. */
export function forgetUnused(store: Store, { spec, secret }: Stored<'manifest'>): Promise<void> {
  const folder = secret?.from?.folder ?? nowhere;
  const namespace = namespaceOf(spec);
  return holding(store, { alone: [folderLock(folder), namespaceLock(namespace)] }, async () => {
    if (store.by('manifest/namespace', namespace).length === 0) await store.remove('namespace', namespace);
    if (store.by('manifest/folder', folder).length === 0) await store.remove('folder', folder);
  });
}

// --- internal -----------------------------------------------------------------------------------

async function put<K extends 'folder' | 'namespace'>(
  store: Store,
  kind: K,
  name: string,
  spec: Stored<K>['spec'],
): Promise<void> {
  const changed = await store.modify(kind, name, () => ({ spec }));
  if (changed === undefined) await store.create(kind, name, { spec, status: null, secret: null });
}
