import { isAbsolute } from 'node:path';
import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { readManifestFiles } from '../model/document/manifest.ts';
import { OffshootError } from '../model/errors.ts';
import { nowhere } from '../model/folder.ts';
import type { ImageMap } from '../model/image.ts';
import { manifestName, namespaceOf } from '../model/manifest-name.ts';
import { asWorkload, keyOfWorkload } from '../model/workload.ts';
import { outdated } from '../rules/inputs.ts';
import { applyManifests, deleteManifest } from '../rules/manifests.ts';
import type { Stored } from '../store/contract.ts';
import type { ApiContext } from './context.ts';
import { imageMap } from './image-map.ts';
import { checked } from './input.ts';
import { manifestView } from './views.ts';

const body = z.strictObject({
  /** Texts as they stand in the files, so that problems have lines and columns. */
  files: z
    .array(
      z.strictObject({
        /** As problems name it. */
        file: z.string(),
        text: z.string(),
        /** Absolute, or `-`; default: unknown. */
        path: z.string().default(''),
      }),
    )
    .min(1)
    .max(1_000),
  /** Whose they are: an absolute path. */
  folder: z
    .string()
    .refine(path => path === nowhere || isAbsolute(path), 'must be an absolute path')
    .default(nowhere),
  images: imageMap.default({}),
  takeOver: z.boolean().default(false),
  /** Refuse what would be left out. */
  strict: z.boolean().default(false),
});

const logQuery = z.strictObject({ lines: z.coerce.number().int().min(1).max(10_000).default(200) });

type Params = { Params: { kind: string; namespace: string; name: string } };

export function manifestRoutes(app: FastifyInstance, { store, baseline, logs, keeps }: ApiContext): void {
  const view = (object: Stored<'manifest'>) => manifestView({ store, baseline }, object);

  app.get('/manifests', async () => store.list('manifest').map(view));

  /** Creates or updates all of them, or none. */
  app.put('/manifests', async request => {
    const { files, folder, images, strict, takeOver } = checked(body, request.body);
    const read = readManifestFiles(files, { strict, keeps });
    const { manifests, warnings, leftOut } = read;
    const paths = new Map(files.map(({ file, path }) => [file, path]));
    const applied = await applyManifests(store, manifests, {
      ...{ folder, images: images as ImageMap, takeOver },
      files: read.files.map(file => paths.get(file)!),
    });
    const names = new Set(applied.map(({ object }) => object.name));
    const namespaces = new Set(manifests.map(namespaceOf));
    const affected = outdated({ store, baseline }, { namespaces, folder }).filter(
      ({ name }) => !names.has(name),
    );
    return {
      applied: applied.map(({ object, outcome }) => ({ ...view(object), outcome })),
      affected: affected.map(view),
      warnings,
      leftOut,
    };
  });

  const find = ({ kind, namespace, name }: Params['Params']) => {
    const found = store.get('manifest', manifestName(kind, namespace, name));
    if (found === undefined)
      throw new OffshootError('api/not-found', { kind, name, hint: 'see "offshoot status"' });
    return found;
  };

  app.get<Params>('/manifests/:kind/:namespace/:name', async ({ params }) => view(find(params)));

  app.delete<Params>('/manifests/:kind/:namespace/:name', async ({ params }, reply) => {
    const marked = await deleteManifest(store, find(params).name);
    return reply.status(202).send(view(marked));
  });

  app.get<Params>('/manifests/:kind/:namespace/:name/logs', async ({ params, query }) => {
    const workload = asWorkload(find(params).spec);
    const { lines } = checked(logQuery, query);
    return { lines: workload === undefined ? [] : await logs({ workload: keyOfWorkload(workload), lines }) };
  });
}
