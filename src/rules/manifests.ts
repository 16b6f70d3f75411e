/** Intents about the baseline: what may be deployed, and what may go. */
import { OffshootError } from '../model/errors.ts';
import type { ImageSpec } from '../model/image.ts';
import type { Manifest } from '../model/kubernetes.ts';
import { nameOfManifest } from '../model/manifest-name.ts';
import type { Kind, Kinds, Store, Stored } from '../store/contract.ts';
import { holding } from './locks.ts';

export type AppliedManifest = {
  readonly object: Stored<'manifest'>;
  readonly outcome: 'created' | 'configured' | 'unchanged';
};

/**
 * Creates or updates manifests and images. Everything is checked before anything is written; what an interruption
 * leaves half done, applying again completes.
 * @throws OffshootError manifest/deleting
 */
export function applyManifests(
  store: Store,
  manifests: readonly Manifest[],
  images: Readonly<Record<string, ImageSpec>>,
): Promise<readonly AppliedManifest[]> {
  const names = manifests.map(nameOfManifest);
  const alone = [...names.map(manifestLock), ...Object.keys(images).map(key => `image/${key}`)];
  return holding(store, { alone }, async () => {
    const before = names.map(name => store.get('manifest', name));
    for (const [i, object] of before.entries()) {
      const { kind, metadata } = manifests[i]!;
      if (object?.deletedAt !== undefined)
        throw new OffshootError('manifest/deleting', { kind, name: metadata.name });
    }
    // All at once, so that they share a batch; the images first, which workloads are started with.
    const writes = [
      ...Object.entries(images).map(([key, spec]) => put(store, 'image', key, spec)),
      ...manifests.map((spec, i) => put(store, 'manifest', names[i]!, spec)),
    ];
    const written = (await Promise.all(writes)).slice(Object.keys(images).length) as Stored<'manifest'>[];
    return written.map((object, i) => {
      const generation = before[i]?.generation ?? 0;
      const changed = generation === 0 ? 'created' : 'configured';
      return { object, outcome: object.generation > generation ? changed : 'unchanged' };
    });
  });
}

/** Marks a manifest for deletion. @throws OffshootError api/not-found, manifest/in-use */
export function deleteManifest(store: Store, name: string): Promise<Stored<'manifest'>> {
  return holding(store, { alone: [manifestLock(name)] }, async () => {
    const [kind = '', namespace = '', own = ''] = name.split('/');
    const users = kind === 'Deployment' ? usersOfWorkload(store, namespace, own) : [];
    if (users.length > 0) {
      const params = { kind, namespace, name: own, sandboxes: users.join(', ') };
      throw new OffshootError('manifest/in-use', params);
    }
    const marked = await store.modify('manifest', name, () => ({ deleted: true }));
    if (marked !== undefined) return marked;
    throw new OffshootError('api/not-found', { kind, name: own, hint: 'see "offshoot status"' });
  });
}

/** Names of the sandboxes that fork a workload. */
export const usersOfWorkload = (store: Store, namespace: string, name: string): readonly string[] =>
  store.by('sandbox/workload', `${namespace}/${name}`).map(s => s.name);

export const manifestLock = (name: string): string => `manifest/${name}`;

// --- internal -----------------------------------------------------------------------------------

async function put<K extends Kind & ('manifest' | 'image')>(
  store: Store,
  kind: K,
  name: string,
  spec: Kinds[K]['spec'],
): Promise<Stored<K>> {
  const changed = await store.modify(kind, name, () => ({ spec }) as never);
  return changed ?? store.create(kind, name, { spec, status: null, secret: null } as never);
}
