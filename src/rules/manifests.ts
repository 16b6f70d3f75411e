/** Intents about the baseline: what may be deployed, and what may go. */
import { OffshootError } from '../model/errors.ts';
import { nowhere, type Origin } from '../model/folder.ts';
import type { ImageMap } from '../model/image.ts';
import type { Manifest } from '../model/kubernetes.ts';
import { nameOfManifest, namespaceOf } from '../model/manifest-name.ts';
import { runOf } from '../model/run.ts';
import type { WorkloadKey } from '../model/sandbox.ts';
import { hasFailed, triedAgain } from '../model/tries.ts';
import { asWorkload, isWorkloadKind, workloadPath } from '../model/workload.ts';
import type { ManifestStatus } from '../model/workload-status.ts';
import type { Store, Stored } from '../store/contract.ts';
import { checkOwners, claim, folderLock, namespaceLock } from './folders.ts';
import { holding } from './locks.ts';

export type AppliedManifest = {
  readonly object: Stored<'manifest'>;
  /** `replaced`: a Job that runs anew. */
  readonly outcome: 'created' | 'configured' | 'replaced' | 'unchanged';
};

export type ApplyOptions = {
  /** Whose they are, by absolute path; default: nobody's. */
  readonly folder?: string;
  /** The file of each manifest, as in `Origin`. */
  readonly files?: readonly string[];
  /** How the images of the folder run; what it said before and says no more is forgotten. */
  readonly images?: ImageMap;
  /** Namespaces of other folders become its own. */
  readonly takeOver?: boolean;
};

/**
 * Creates or updates manifests of one folder, and its images. Everything is checked before anything is written; what an
 * interruption leaves half done, applying again completes.
 * @throws OffshootError manifest/deleting, namespace/taken
 */
export function applyManifests(
  store: Store,
  manifests: readonly Manifest[],
  { folder = nowhere, files = [], images = {}, takeOver = false }: ApplyOptions = {},
): Promise<readonly AppliedManifest[]> {
  const names = manifests.map(nameOfManifest);
  const namespaces = new Set(manifests.map(namespaceOf));
  const alone = [...names.map(manifestLock), folderLock(folder), ...[...namespaces].map(namespaceLock)];
  return holding(store, { alone }, async () => {
    if (!takeOver) checkOwners(store, namespaces, folder);
    const before = names.map(name => store.get('manifest', name));
    for (const [i, object] of before.entries()) {
      const { kind, metadata } = manifests[i]!;
      if (object?.deletedAt !== undefined)
        throw new OffshootError('manifest/deleting', { kind, name: metadata.name });
    }
    // In one turn, so that they share a batch; first whose they are and what workloads are started with.
    const claimed = claim(store, folder, { images, namespaces });
    const origin = (i: number) => (folder === nowhere ? undefined : { folder, file: files[i] ?? '' });
    const [written] = await Promise.all([
      Promise.all(manifests.map((spec, i) => putManifest(store, names[i]!, spec, origin(i)))),
      claimed,
    ]);
    return written.map((object, i) => ({ object, outcome: outcomeOf(object, before[i]) }));
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

function outcomeOf(
  object: Stored<'manifest'>,
  before: Stored<'manifest'> | undefined,
): AppliedManifest['outcome'] {
  if (before === undefined) return 'created';
  const run = before.secret?.run?.of;
  const job = asWorkload(object.spec);
  if (run !== undefined && job !== undefined && runOf(job, object.secret?.tries ?? 0) !== run)
    return 'replaced';
  return object.generation > before.generation ? 'configured' : 'unchanged';
}

/** One that has failed is tried again, also with the same text: what was wrong may have been mended elsewhere. */
async function putManifest(
  store: Store,
  name: string,
  spec: Manifest,
  from: Origin | undefined,
): Promise<Stored<'manifest'>> {
  const changed = await store.modify('manifest', name, ({ status, secret }) => {
    const again = status !== null && hasFailed(status);
    const { from: _, ...rest } = secret ?? {};
    const tries = again ? { tries: (rest.tries ?? 0) + 1 } : {};
    const next = { ...rest, ...tries, ...(from && { from }) };
    return {
      spec,
      secret: Object.keys(next).length === 0 ? null : next,
      ...(again && { status: asTriedAgain(status) }),
    };
  });
  return changed ?? store.create('manifest', name, { spec, status: null, secret: from ? { from } : null });
}

/** Nothing of what the try before has said. */
function asTriedAgain({ log: _, ...status }: ManifestStatus): ManifestStatus {
  return { ...status, ready: false, ...triedAgain };
}
