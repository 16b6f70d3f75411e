import { isAbsolute } from 'node:path';
import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { readManifestFiles } from '../model/document/manifest.ts';
import { OffshootError } from '../model/errors.ts';
import type { ImageMap } from '../model/image.ts';
import { manifestName } from '../model/manifest-name.ts';
import { asWorkload, keyOfWorkload } from '../model/workload.ts';
import { applyManifests, deleteManifest } from '../rules/manifests.ts';
import type { ApiContext } from './context.ts';
import { checked } from './input.ts';
import { manifestView } from './views.ts';

const image = z.strictObject({
  dir: z.string().refine(isAbsolute, 'must be an absolute path'),
  command: z.array(z.string()).min(1),
  args: z.array(z.string()).optional(),
  env: z.record(z.string(), z.string()).optional(),
});

const body = z.strictObject({
  /** Texts as they stand in the files, so that problems have lines and columns. */
  files: z
    .array(z.strictObject({ file: z.string(), text: z.string() }))
    .min(1)
    .max(1_000),
  images: z.record(z.string(), image).default({}),
  /** Refuse what would be left out. */
  strict: z.boolean().default(false),
});

const logQuery = z.strictObject({ lines: z.coerce.number().int().min(1).max(10_000).default(200) });

type Params = { Params: { kind: string; namespace: string; name: string } };

export function manifestRoutes(app: FastifyInstance, { store, logs, keeps }: ApiContext): void {
  app.get('/manifests', async () => store.list('manifest').map(manifestView));

  /** Creates or updates all of them, or none. */
  app.put('/manifests', async request => {
    const { files, images, strict } = checked(body, request.body);
    const { manifests, warnings, leftOut } = readManifestFiles(files, { strict, keeps });
    const applied = await applyManifests(store, manifests, images as ImageMap);
    return {
      applied: applied.map(({ object, outcome }) => ({ ...manifestView(object), outcome })),
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

  app.get<Params>('/manifests/:kind/:namespace/:name', async ({ params }) => manifestView(find(params)));

  app.delete<Params>('/manifests/:kind/:namespace/:name', async ({ params }, reply) => {
    const marked = await deleteManifest(store, find(params).name);
    return reply.status(202).send(manifestView(marked));
  });

  app.get<Params>('/manifests/:kind/:namespace/:name/logs', async ({ params, query }) => {
    const workload = asWorkload(find(params).spec);
    const { lines } = checked(logQuery, query);
    return { lines: workload === undefined ? [] : await logs({ workload: keyOfWorkload(workload), lines }) };
  });
}
