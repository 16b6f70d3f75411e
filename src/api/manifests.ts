import { isAbsolute } from 'node:path';
import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { readManifestFiles } from '../model/document/manifest.ts';
import { OffshootError } from '../model/errors.ts';
import { manifestName, nameOfManifest } from '../model/manifest-name.ts';
import { usersOfWorkload } from '../store/baseline.ts';
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
});

const logQuery = z.strictObject({ lines: z.coerce.number().int().min(1).max(10_000).default(200) });

type Params = { Params: { kind: string; namespace: string; name: string } };

export function manifestRoutes(app: FastifyInstance, { store, logs }: ApiContext): void {
  app.get('/manifests', async () => store.list('manifest').map(manifestView));

  /** Creates or updates all of them, or none. */
  app.put('/manifests', async request => {
    const { files, images } = checked(body, request.body);
    const { manifests, warnings } = readManifestFiles(files);
    const applied = store.transaction(() => {
      for (const [key, spec] of Object.entries(images)) {
        if (store.modify('image', key, () => ({ spec: spec as never })) === undefined) {
          store.create('image', key, { spec: spec as never, status: null, secret: null });
        }
      }
      return manifests.map(manifest => {
        const name = nameOfManifest(manifest);
        const before = store.get('manifest', name);
        if (before?.deletedAt !== undefined)
          throw new OffshootError('manifest/deleting', { kind: manifest.kind, name: manifest.metadata.name });
        const after =
          store.modify('manifest', name, () => ({ spec: manifest })) ??
          store.create('manifest', name, { spec: manifest, status: null, secret: null });
        const outcome =
          before === undefined
            ? 'created'
            : after.generation > before.generation
              ? 'configured'
              : 'unchanged';
        return { ...manifestView(after), outcome };
      });
    });
    return { applied, warnings };
  });

  const find = ({ kind, namespace, name }: Params['Params']) => {
    const found = store.get('manifest', manifestName(kind, namespace, name));
    if (found === undefined)
      throw new OffshootError('api/not-found', { kind, name, hint: 'see "offshoot status"' });
    return found;
  };

  app.get<Params>('/manifests/:kind/:namespace/:name', async ({ params }) => manifestView(find(params)));

  app.delete<Params>('/manifests/:kind/:namespace/:name', async ({ params }, reply) => {
    const object = find(params);
    const users = params.kind === 'Deployment' ? usersOfWorkload(store, params.namespace, params.name) : [];
    if (users.length > 0)
      throw new OffshootError('manifest/in-use', { ...params, sandboxes: users.join(', ') });
    const marked = store.modify('manifest', object.name, () => ({ deleted: true }))!;
    return reply.status(202).send(manifestView(marked));
  });

  app.get<Params>('/manifests/:kind/:namespace/:name/logs', async ({ params, query }) => {
    find(params);
    const { lines } = checked(logQuery, query);
    return { lines: await logs({ namespace: params.namespace, workload: params.name, lines }) };
  });
}
