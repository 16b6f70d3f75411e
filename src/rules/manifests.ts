/** Intents about the baseline: what may be deployed, and what may go. */
import { OffshootError } from '../model/errors.ts';
import type { ImageSpec } from '../model/image.ts';
import type { Manifest } from '../model/kubernetes.ts';
import { nameOfManifest } from '../model/manifest-name.ts';
import type { WorkloadKey } from '../model/sandbox.ts';
import { hasFailed, triedAgain } from '../model/tries.ts';
import { isWorkloadKind, workloadPath } from '../model/workload.ts';
import type { ManifestStatus } from '../model/workload-status.ts';
import type { Store, Stored } from '../store/contract.ts';
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
    const [written] = await Promise.all([
      Promise.all(manifests.map((spec, i) => putManifest(store, names[i]!, spec))),
      ...Object.entries(images).map(([key, spec]) => putImage(store, key, spec)),
    ]);
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
    const users = isWorkloadKind(kind) ? usersOfWorkload(store, { kind, namespace, name: own }) : [];
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
export const usersOfWorkload = (store: Store, key: WorkloadKey): readonly string[] =>
  store.by('sandbox/workload', workloadPath(key)).map(s => s.name);

export const manifestLock = (name: string): string => `manifest/${name}`;

// --- internal -----------------------------------------------------------------------------------

/** One that has failed is tried again, also with the same text: what was wrong may have been mended elsewhere. */
async function putManifest(store: Store, name: string, spec: Manifest): Promise<Stored<'manifest'>> {
  const changed = await store.modify('manifest', name, ({ status, secret }) => {
    const again = status !== null && hasFailed(status);
    return {
      spec,
      ...(again && { secret: { tries: (secret?.tries ?? 0) + 1 }, status: asTriedAgain(status) }),
    };
  });
  return changed ?? store.create('manifest', name, { spec, status: null, secret: null });
}

async function putImage(store: Store, name: string, spec: ImageSpec): Promise<Stored<'image'>> {
  const changed = await store.modify('image', name, () => ({ spec }));
  return changed ?? store.create('image', name, { spec, status: null, secret: null });
}

/** Nothing of what the try before has said. */
function asTriedAgain({ log: _, ...status }: ManifestStatus): ManifestStatus {
  return { ...status, ready: false, ...triedAgain };
}
