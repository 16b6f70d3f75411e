/** Intents about the baseline: what may be deployed, and what may go. */
import { dirname } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { inTurns, turn } from '../lib/turns.ts';
import { OffshootError } from '../model/errors.ts';
import { isInside, nowhere, type Origin } from '../model/folder.ts';
import type { ImageMap } from '../model/image.ts';
import type { Manifest } from '../model/kubernetes.ts';
import { nameOfManifest, namespaceOf } from '../model/manifest-name.ts';
import { runOf } from '../model/run.ts';
import type { WorkloadKey } from '../model/sandbox.ts';
import { hasFailed } from '../model/tries.ts';
import { asWorkload, isWorkloadKind, workloadPath } from '../model/workload.ts';
import type { Store, Stored } from '../store/contract.ts';
import { manifestTriedAgain } from './another-try.ts';
import { checkOwners, claim, folderLock, namespaceLock } from './folders.ts';
import { holding } from './locks.ts';

export type AppliedManifest = {
  readonly object: Stored<'manifest'>;
  /** `replaced`: a Job that runs anew. */
  readonly outcome: 'created' | 'configured' | 'replaced' | 'unchanged';
};

export type Applied = {
  readonly applied: readonly AppliedManifest[];
  /** As they were. */
  readonly pruned: readonly Stored<'manifest'>[];
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
  /** Manifests of the folder that came from there before and are not among these are removed. */
  readonly prune?: Scope;
};

/** Files, by path as in `Origin`, and what is directly in folders, or anywhere below them. */
export type Scope = { readonly paths: readonly string[]; readonly recursive: boolean };

/**
 * Creates or updates manifests of one folder, and its images. Everything is checked before anything is written; what an
 * interruption leaves half done, applying again completes.
 * @throws OffshootError manifest/deleting, namespace/taken
 */
export function applyManifests(
  store: Store,
  manifests: readonly Manifest[],
  { folder = nowhere, files = [], images = {}, takeOver = false, prune }: ApplyOptions = {},
): Promise<Applied> {
  const names = manifests.map(nameOfManifest);
  const namespaces = new Set(manifests.map(namespaceOf));
  const going = prune === undefined ? [] : surplusOf(store, manifests, folder, prune);
  const alone = [
    ...[...names, ...going.map(({ name }) => name)].map(manifestLock),
    ...[folderLock(folder), ...[...namespaces].map(namespaceLock)],
  ];
  return holding(store, { alone }, async () => {
    const { before, surplus } = checkApply(store, manifests, { folder, takeOver, ...(prune && { prune }) });
    // First whose they are and what workloads are started with; many in one turn, so that they share a batch, and not
    // too many, because a batch is prepared in one go.
    await claim(store, folder, { images, namespaces });
    const origin = (i: number) => (folder === nowhere ? undefined : { folder, file: files[i] ?? '' });
    const written: Stored<'manifest'>[] = [];
    for (let from = 0; from < manifests.length; from += atOnce) {
      await turn(); // what changes nothing waits for nothing
      const some = manifests.slice(from, from + atOnce);
      const puts = some.map((spec, i) => putManifest(store, names[from + i]!, spec, origin(from + i)));
      written.push(...(await Promise.all(puts)));
    }
    await Promise.all(surplus.map(({ name }) => store.modify('manifest', name, () => ({ deleted: true }))));
    const applied = written.map((object, i) => ({ object, outcome: outcomeOf(object, before[i]) }));
    return { applied, pruned: surplus };
  });
}

/**
 * What applying would do. Writes nothing.
 * @throws as `applyManifests`
 */
export function planManifests(
  store: Store,
  manifests: readonly Manifest[],
  options: ApplyOptions = {},
): { readonly planned: readonly PlannedManifest[]; readonly pruned: readonly Stored<'manifest'>[] } {
  const { before, surplus } = checkApply(store, manifests, options);
  const planned = manifests.map((after, i): PlannedManifest => {
    const object = before[i];
    const now = object?.spec;
    const same = now !== undefined && isDeepStrictEqual(now, plain(after));
    const anew = object !== undefined && runsAnew(object, after, object.secret?.tries ?? 0);
    return {
      ...(now && { before: now }),
      after,
      outcome: !now ? 'created' : anew ? 'replaced' : same ? 'unchanged' : 'configured',
    };
  });
  return { planned, pruned: surplus };
}

export type PlannedManifest = {
  readonly before?: Manifest;
  readonly after: Manifest;
  readonly outcome: AppliedManifest['outcome'];
};

/** Marks several for deletion, or none. @throws OffshootError api/not-found, manifest/in-use */
export function deleteManifests(
  store: Store,
  names: readonly string[],
): Promise<readonly Stored<'manifest'>[]> {
  return holding(store, { alone: names.map(manifestLock) }, async () => {
    for (const name of names) {
      checkUnforked(store, name);
      const [kind = '', , own = ''] = name.split('/');
      if (store.get('manifest', name) === undefined)
        throw new OffshootError('api/not-found', { kind, name: own, hint: 'see "offshoot status"' });
    }
    const marked = await inTurns(names, name => store.modify('manifest', name, () => ({ deleted: true })));
    return (await Promise.all(marked)).filter(object => object !== undefined);
  });
}

/** Marks a manifest for deletion. @throws OffshootError api/not-found, manifest/in-use */
export const deleteManifest = async (store: Store, name: string): Promise<Stored<'manifest'>> =>
  (await deleteManifests(store, [name]))[0]!;

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
  if (runsAnew(before, object.spec, object.secret?.tries ?? 0)) return 'replaced';
  return object.generation > before.generation ? 'configured' : 'unchanged';
}

/** Whether a Job that has run would run once more. */
function runsAnew({ secret }: Stored<'manifest'>, spec: Manifest, tries: number): boolean {
  const run = secret?.run?.of;
  const job = asWorkload(spec);
  return run !== undefined && job !== undefined && runOf(job, tries) !== run;
}

/** Manifests that are written together. */
const atOnce = 25;

/** What is there of `manifests`, and what else of the folder is to go. @throws as `applyManifests` */
function checkApply(
  store: Store,
  manifests: readonly Manifest[],
  { folder = nowhere, takeOver = false, prune }: ApplyOptions,
): {
  readonly before: readonly (Stored<'manifest'> | undefined)[];
  readonly surplus: readonly Stored<'manifest'>[];
} {
  if (!takeOver) checkOwners(store, new Set(manifests.map(namespaceOf)), folder);
  const before = manifests.map(manifest => store.get('manifest', nameOfManifest(manifest)));
  for (const [i, object] of before.entries()) {
    const { kind, metadata } = manifests[i]!;
    if (object?.deletedAt !== undefined)
      throw new OffshootError('manifest/deleting', { kind, name: metadata.name });
  }
  const surplus = prune === undefined ? [] : surplusOf(store, manifests, folder, prune);
  for (const { name } of surplus) checkUnforked(store, name);
  return { before, surplus };
}

function surplusOf(
  store: Store,
  manifests: readonly Manifest[],
  folder: string,
  { paths, recursive }: Scope,
): readonly Stored<'manifest'>[] {
  const names = new Set(manifests.map(nameOfManifest));
  const within = (file: string) =>
    paths.some(path => file === path || dirname(file) === path || (recursive && isInside(path, file)));
  return store.by('manifest/folder', folder).filter(({ name, deletedAt, secret }) => {
    const file = secret?.from?.file;
    return deletedAt === undefined && !names.has(name) && file !== undefined && within(file);
  });
}

/** @throws OffshootError manifest/in-use */
function checkUnforked(store: Store, name: string): void {
  const [kind = '', namespace = '', own = ''] = name.split('/');
  const users = isWorkloadKind(kind) ? usersOfWorkload(store, { kind, namespace, name: own }) : [];
  if (users.length === 0) return;
  const params = { kind, namespace, name: own, sandboxes: users.join(', ') };
  throw new OffshootError('manifest/in-use', params);
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
      ...(again && { status: manifestTriedAgain(status) }),
    };
  });
  return changed ?? store.create('manifest', name, { spec, status: null, secret: from ? { from } : null });
}

/** As the store keeps it. */
const plain = (manifest: Manifest): unknown => JSON.parse(JSON.stringify(manifest));
