import { z } from 'zod';
import { inTurns } from '../lib/turns.ts';
import { checkSandbox } from '../model/document/sandbox.ts';
import { OffshootError } from '../model/errors.ts';
import type { ImageMap } from '../model/image.ts';
import { applySandbox, deleteSandbox } from '../rules/sandboxes.ts';
import type { Stored } from '../store/contract.ts';
import type { ApiContext } from './context.ts';
import { imageMap } from './image-map.ts';
import { checked, flag } from './input.ts';
import { answer, type Routes } from './routes.ts';
import { sandboxView } from './views.ts';

const deleteQuery = z.strictObject({ force: flag, recursive: flag });
const environmentQuery = z.strictObject({ workload: z.string().optional() });

type Params = { name: string };

export function sandboxRoutes(
  routes: Routes,
  { store, baseline, environment, warnings: tell }: ApiContext,
): void {
  const find = async (name: string) => {
    const found = store.get('sandbox', name);
    if (found !== undefined) return found;
    // Deleting twice is another mistake than deleting what never was.
    const events = await store.events({ kind: 'sandbox', name, limit: 10 });
    const deleted = events.findLast(e => e.reason === 'Deleted');
    if (deleted !== undefined) throw new OffshootError('sandbox/gone', { name, at: deleted.at });
    throw new OffshootError('api/not-found', { kind: 'sandbox', name });
  };

  /** It was taken: what cannot be derived says so in its status. */
  const warningsFor = (object: Stored<'sandbox'>) => {
    try {
      return tell(object);
    } catch {
      return [];
    }
  };

  routes.get('/sandboxes', async () => inTurns(store.list('sandbox'), sandboxView));

  routes.get<Params>('/sandboxes/:name', async ({ params }) => sandboxView(await find(params.name)));

  /** 201 created, 200 updated or unchanged; `outcome` says which. */
  routes.put<Params>('/sandboxes/:name', async request => {
    const { document, images } = withoutImages(request.body ?? null);
    const { sandbox, warnings } = checkSandbox(document);
    if (sandbox.name !== request.params.name) {
      throw new OffshootError('api/bad-request', {
        why: `the document is named "${sandbox.name}", the path "${request.params.name}"`,
      });
    }
    const { object, outcome } = await applySandbox(store, baseline, sandbox, images);
    return answer(outcome === 'created' ? 201 : 200, {
      ...sandboxView(object),
      outcome,
      warnings: [...warnings, ...warningsFor(object)],
    });
  });

  routes.delete<Params>('/sandboxes/:name', async ({ params, query }) => {
    const { name } = params;
    const already = (await find(name)).deletedAt !== undefined;
    const object = (await deleteSandbox(store, name, checked(deleteQuery, query)))!;
    return answer(202, { ...sandboxView(object), already });
  });

  routes.get<Params>(
    '/sandboxes/:name/environment',
    async ({ params, query }) =>
      environment(await find(params.name), checked(environmentQuery, query).workload),
    { tellsSecrets: true },
  );
}

// --- internal -----------------------------------------------------------------------------------

/** The images of the project file that stands above a document come beside `name` and `spec`. */
function withoutImages(body: unknown): { readonly document: unknown; readonly images?: ImageMap } {
  if (typeof body !== 'object' || body === null || !('images' in body)) return { document: body };
  const { images, ...document } = body;
  return { document, images: checked(imageMap, images) as ImageMap };
}
