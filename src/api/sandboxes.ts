import { z } from 'zod';
import { inTurns } from '../lib/turns.ts';
import { checkSandbox } from '../model/document/sandbox.ts';
import { endpointsOf } from '../model/endpoint.ts';
import { OffshootError } from '../model/errors.ts';
import type { FolderCode } from '../model/migration.ts';
import { previewLabel } from '../model/names.ts';
import { applySandbox, deleteSandbox } from '../rules/sandboxes.ts';
import type { Stored } from '../store/contract.ts';
import type { ApiContext } from './context.ts';
import { imageMap, migration } from './image-map.ts';
import { checked, flag } from './input.ts';
import { keyOf } from './key-of.ts';
import { migrateChanged, restartChanged } from './restarting.ts';
import { answer, type Routes } from './routes.ts';
import { sandboxView } from './views.ts';

const deleteQuery = z.strictObject({ force: flag, recursive: flag });
const environmentQuery = z.strictObject({ workload: z.string().optional() });

const folderCode = z.strictObject({ images: imageMap.optional(), migrate: migration.optional() });

const linkBody = z.strictObject({
  endpoint: z.string().max(100).optional(),
  path: z.string().startsWith('/').max(2_000).optional(),
});

/** Milliseconds that somebody stays in a preview whom no key of ours let in. */
const TOKEN_VISIT_MS = 12 * 3_600_000;

type Params = { name: string };

export function sandboxRoutes(
  routes: Routes,
  { store, baseline, keys, programs, visits, environment, warnings: tell }: ApiContext,
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
    const { document, code } = withoutCode(request.body ?? null);
    const { sandbox, warnings } = checkSandbox(document);
    if (sandbox.name !== request.params.name) {
      throw new OffshootError('api/bad-request', {
        why: `the document is named "${sandbox.name}", the path "${request.params.name}"`,
      });
    }
    const applied = await applySandbox(store, baseline, sandbox, code);
    const { outcome } = applied;
    const object = await migrateChanged({ store, programs }, applied);
    const forks = outcome === 'created' ? [] : (sandbox.spec.forks ?? []);
    const changed = await restartChanged(
      { store, programs },
      forks.map(({ forkOf }) => ({ of: 'fork', sandbox: sandbox.name, workload: forkOf })),
    );
    return answer(outcome === 'created' ? 201 : 200, {
      ...sandboxView(object),
      outcome,
      /** Its migrations have changed, and run. */
      migrates: object !== applied.object,
      /** Forks that are started anew because their code has changed. */
      changed: changed.forks,
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

  /** A link that opens a preview in a browser, once and soon. */
  routes.post<Params>(
    '/sandboxes/:name/links',
    async request => {
      const { endpoint: wanted, path = '/' } = checked(linkBody, request.body);
      const sandbox = await find(request.params.name);
      const { name } = sandbox;
      const names = endpointsOf(sandbox.spec).map(one => one.name);
      const endpoint = wanted ?? names[0];
      if (endpoint === undefined || !names.includes(endpoint)) {
        const hint = names.length === 0 ? 'its document names none' : `there are: ${names.join(', ')}`;
        throw new OffshootError('api/not-found', { kind: 'endpoint', name: endpoint ?? `of ${name}`, hint });
      }
      const chosen = sandbox.status?.endpoints.find(one => one.name === endpoint);
      if (chosen === undefined)
        throw new OffshootError('sandbox/not-ready', { name, why: 'its previews have no address yet' });
      // Of one who came by a token of the cluster nobody tells when his right ends.
      const key = keys.hashOf(keyOf(request) ?? '');
      const preview = previewLabel(chosen.name, name);
      const token = visits.link(
        key === undefined
          ? { preview, key: visits.ownKey, until: Date.now() + TOKEN_VISIT_MS }
          : { preview, key },
      );
      const url = new URL('/.offshoot/open', chosen.url);
      url.searchParams.set('token', token);
      if (path !== '/') url.searchParams.set('to', path);
      return answer(201, { endpoint: chosen.name, preview: chosen.url, url: url.href });
    },
    { tellsSecrets: true },
  );
}

// --- internal -----------------------------------------------------------------------------------

/** What the project file that stands above a document says comes beside `name` and `spec`. */
function withoutCode(body: unknown): { readonly document: unknown; readonly code?: FolderCode } {
  if (typeof body !== 'object' || body === null) return { document: body };
  const { images, migrate, ...document } = body as Readonly<Record<string, unknown>>;
  return { document, code: checked(folderCode, { images, migrate }) as FolderCode };
}
