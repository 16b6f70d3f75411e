/** How images run on this machine: the entries of all folders, and who would miss one. */
import { OffshootError } from '../model/errors.ts';
import type { ImageMap } from '../model/image.ts';
import type { Manifest, Workload } from '../model/kubernetes.ts';
import { nameOfManifest } from '../model/manifest-name.ts';
import { findEntry, imageKeyFor } from '../model/offshoot-config.ts';
import type { MissingImageView } from '../model/view.ts';
import { asWorkload, keyOfWorkload, workloadPath } from '../model/workload.ts';
import type { Store, Stored } from '../store/contract.ts';
import { folderLock } from './folders.ts';
import { holding } from './locks.ts';
import { usersOfWorkload } from './manifests.ts';

export type ImageEntry = {
  readonly folder: string;
  readonly image: string;
  /** What runs by it: workloads as by `workloadPath`, `sandbox NAME`. */
  readonly users: readonly string[];
};

/** Entries of all folders, in order of folders and of their files. */
export const imageEntries = (store: Store): readonly ImageEntry[] =>
  store.list('folder').flatMap(folder => {
    const users = usersByEntry(store, folder);
    return Object.keys(folder.spec.images).map(image => ({
      ...{ folder: folder.name, image, users: users.get(image) ?? [] },
    }));
  });

/**
 * Forgets how one image runs; deploying the folder again brings back what its file says.
 * @throws OffshootError api/not-found, image/in-use
 */
export function removeImage(store: Store, folder: string, image: string): Promise<void> {
  return holding(store, { alone: [folderLock(folder)] }, async () => {
    const found = store.get('folder', folder);
    if (found?.spec.images[image] === undefined)
      throw new OffshootError('api/not-found', { kind: 'image', name: image });
    const users = usersByEntry(store, found).get(image);
    if (users !== undefined) throw new OffshootError('image/in-use', { image, users: users.join(', ') });
    await store.modify('folder', folder, ({ spec }) => {
      const { [image]: _, ...images } = spec.images;
      return { spec: { images } };
    });
  });
}

/**
 * Images of workloads for which there is no entry, in the order of the workloads.
 * @param imagesFor the entries that count for a manifest, by its name in the store
 */
export function missingImages(
  manifests: readonly Manifest[],
  imagesFor: (name: string) => ImageMap,
): readonly MissingImageView[] {
  const missing = new Map<string, string[]>();
  for (const manifest of manifests) {
    const workload = asWorkload(manifest);
    if (workload === undefined) continue;
    const name = nameOfManifest(manifest);
    const images = imagesFor(name);
    for (const image of new Set(imagesIn(workload)))
      if (findEntry(images, image) === undefined) missing.set(image, [...(missing.get(image) ?? []), name]);
  }
  return [...missing].map(([image, users]) => ({ image, key: imageKeyFor(image), users }));
}

// --- internal -----------------------------------------------------------------------------------

function usersByEntry(store: Store, folder: Stored<'folder'>): ReadonlyMap<string, readonly string[]> {
  const users = new Map<string, string[]>();
  const add = (image: string, user: string) => {
    const key = findEntry(folder.spec.images, image)?.key;
    if (key !== undefined) users.set(key, [...new Set([...(users.get(key) ?? []), user])]);
  };
  for (const { spec, deletedAt } of store.by('manifest/folder', folder.name)) {
    const workload = asWorkload(spec);
    if (workload === undefined || deletedAt !== undefined) continue;
    const key = keyOfWorkload(workload);
    const images = imagesIn(workload);
    for (const image of images) add(image, workloadPath(key));
    for (const name of usersOfWorkload(store, key)) {
      const sandbox = store.get('sandbox', name)!;
      const changed = (sandbox.spec.forks ?? []).flatMap(fork => fork.customizations?.images ?? []);
      for (const image of [...images, ...changed.map(c => c.image)]) add(image, `sandbox ${name}`);
    }
  }
  return users;
}

function imagesIn({ spec }: Workload): readonly string[] {
  const { containers, initContainers = [] } = spec.template.spec;
  return [...containers, ...initContainers].map(({ image }) => image);
}
