import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { emptyEntry, emptyTrash, findInTrash, restore, trashEntries } from '../rules/trash.ts';
import type { ApiContext } from './context.ts';
import { checked } from './input.ts';
import { trashView } from './views.ts';

const body = z.strictObject({ as: z.string().optional() });

type Params = { Params: { entry: string } };

/** Entries are named by their id, or by the name that they had. */
export function trashRoutes(app: FastifyInstance, { store, space }: ApiContext): void {
  app.get('/trash', async () => {
    const { sizes } = await space();
    return trashEntries(store).map(entry => trashView(store, entry, sizes));
  });

  app.post<Params>('/trash/:entry/restore', async ({ params, body: sent }, reply) => {
    const entry = findInTrash(store, params.entry);
    const view = trashView(store, entry, new Map());
    const { as } = checked(body, sent ?? {});
    const back = await restore(store, entry, as);
    return reply.status(202).send({ ...view, name: as ?? view.name, object: back.name });
  });

  app.delete<Params>('/trash/:entry', async ({ params }, reply) => {
    const entry = findInTrash(store, params.entry);
    await emptyEntry(store, entry);
    return reply.status(202).send(trashView(store, entry, new Map()));
  });

  app.delete('/trash', async (_request, reply) =>
    reply.status(202).send({ entries: await emptyTrash(store) }),
  );
}
