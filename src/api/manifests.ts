import { z } from 'zod';
import { inTurns } from '../lib/turns.ts';
import { idOfLeftOut } from '../model/document/manifest-kinds.ts';
import { OffshootError } from '../model/errors.ts';
import type { ImageMap } from '../model/image.ts';
import { manifestName, namespaceOf } from '../model/manifest-name.ts';
import { asWorkload, keyOfWorkload, sameWorkload } from '../model/workload.ts';
import { imagesOf } from '../rules/folders.ts';
import { missingImages } from '../rules/images.ts';
import { outdated, outdatedForks } from '../rules/inputs.ts';
import {
  type AppliedManifest,
  applyManifests,
  deleteManifest,
  deleteManifests,
  planManifests,
  usersOfWorkload,
} from '../rules/manifests.ts';
import { tellOnce } from '../rules/warnings.ts';
import type { Stored } from '../store/contract.ts';
import type { ApiContext } from './context.ts';
import { checked, parseJson } from './input.ts';
import { readManifestsAside } from './manifest-reader.ts';
import { type RestartedFork, restartChanged, type WorkloadProgram } from './restarting.ts';
import { answer, type Routes } from './routes.ts';
import { manifestView, plannedView } from './views.ts';

const names = z.strictObject({
  objects: z
    .array(z.strictObject({ kind: z.string(), namespace: z.string(), name: z.string() }))
    .min(1)
    .max(100_000),
});

/** Largest body in bytes; a stream of manifests may be long. */
const bodyLimit = 64 * 1024 * 1024;

type Params = { kind: string; namespace: string; name: string };

export function manifestRoutes(routes: Routes, { store, baseline, programs }: ApiContext): void {
  const view = (object: Stored<'manifest'>) => manifestView({ store, baseline }, object);

  routes.get('/manifests', async () => inTurns(store.list('manifest'), view));

  // What is long is not read here: see manifest-reader.ts.
  const long = { bodyLimit, bytes: true } as const;

  /** Creates or updates all of them, or none; or says what that would do. */
  routes.put(
    '/manifests',
    async request => {
      const given = request.body instanceof Uint8Array ? request.body : new Uint8Array();
      const { read, dryRun, ...options } = await readManifestsAside(given, programs.keeps);
      const { manifests, leftOut } = read;
      const { folder, takeOver, prune } = options;
      const how = {
        ...{ folder, takeOver, images: options.images as ImageMap, files: read.files },
        ...(prune && { prune }),
      };
      if (dryRun) {
        const { planned, pruned } = planManifests(store, manifests, how);
        return {
          planned: planned.map(plannedView),
          pruned: pruned.map(view),
          missingImages: programs.engine() ? [] : missingImages(manifests, () => how.images),
          ...{ warnings: read.warnings.map(({ text }) => ({ text, known: false })), leftOut },
        };
      }
      const { applied, pruned } = await applyManifests(store, manifests, how);
      const names = new Set(applied.map(({ object }) => object.name));
      const namespaces = new Set(manifests.map(namespaceOf));
      // At once: who has been looked at since is current, and not ready yet.
      const outdatedNow = outdated({ store, baseline }, { namespaces, folder });
      const forksNow = outdatedForks({ store, baseline }, { namespaces, folder });
      const anew = await restartChanged({ store, programs }, programsOf(applied, folder));
      const affected = [...new Map([...outdatedNow, ...anew.workloads].map(o => [o.name, o])).values()];
      const forks = [...forksNow, ...anew.forks.filter(fork => !forksNow.some(isSameFork(fork)))];
      const said = [...read.warnings.map(({ id }) => id), ...leftOut.map(idOfLeftOut)];
      const known = await tellOnce(store, folder, said);
      const concerned = [...new Set([...applied.map(({ object }) => object), ...affected])];
      return {
        missingImages: programs.engine()
          ? []
          : missingImages(
              concerned.map(({ spec }) => spec),
              name => imagesOf(store, name),
            ),
        applied: await inTurns(applied, ({ object, outcome }) => ({ ...view(object), outcome })),
        pruned: pruned.map(view),
        forks,
        affected: affected.filter(({ name }) => !names.has(name)).map(view),
        warnings: read.warnings.map(({ text, id }) => ({ text, known: known.has(id) })),
        leftOut: leftOut.map(object => ({ ...object, known: known.has(idOfLeftOut(object)) })),
      };
    },
    long,
  );

  /** All of them, or none. */
  routes.post(
    '/manifests/delete',
    async request => {
      const text = request.body instanceof Uint8Array ? new TextDecoder().decode(request.body) : '{}';
      const { objects } = checked(names, parseJson(text));
      const marked = await deleteManifests(
        store,
        objects.map(({ kind, namespace, name }) => manifestName(kind, namespace, name)),
      );
      return answer(202, marked.map(view));
    },
    long,
  );

  /** Workloads that were deployed just now, others of their folder, and what is forked from them. */
  const programsOf = (applied: readonly AppliedManifest[], folder: string): readonly WorkloadProgram[] => {
    const objects = [...applied.map(({ object }) => object), ...store.by('manifest/folder', folder)];
    const specs = new Map(objects.map(({ name, spec }) => [name, spec]));
    return [...specs.values()].flatMap((spec): readonly WorkloadProgram[] => {
      const found = asWorkload(spec);
      if (found === undefined) return [];
      const workload = keyOfWorkload(found);
      const forks = usersOfWorkload(store, workload);
      return [
        { of: 'baseline', workload },
        ...forks.map(sandbox => ({ of: 'fork' as const, sandbox, workload })),
      ];
    });
  };

  const isSameFork = (fork: RestartedFork) => (other: RestartedFork) =>
    fork.sandbox === other.sandbox && sameWorkload(fork.forkOf, other.forkOf);

  const find = ({ kind, namespace, name }: Params) => {
    const found = store.get('manifest', manifestName(kind, namespace, name));
    if (found === undefined)
      throw new OffshootError('api/not-found', { kind, name, hint: 'see "offshoot status"' });
    return found;
  };

  routes.get<Params>('/manifests/:kind/:namespace/:name', async ({ params }) => view(find(params)));

  routes.delete<Params>('/manifests/:kind/:namespace/:name', async ({ params }) => {
    const marked = await deleteManifest(store, find(params).name);
    return answer(202, view(marked));
  });
}
