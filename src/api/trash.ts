import { z } from 'zod';
import { emptyEntry, emptyTrash, findInTrash, restore, trashEntries } from '../rules/trash.ts';
import type { ApiContext } from './context.ts';
import { checked } from './input.ts';
import { answer, type Routes } from './routes.ts';
import { trashView } from './views.ts';

const body = z.strictObject({ as: z.string().optional() });

type Params = { entry: string };

/** Entries are named by their id, or by the name that they had. */
export function trashRoutes(routes: Routes, { store, branches }: ApiContext): void {
  routes.get('/trash', async () => {
    const { sizes } = await branches.space();
    return trashEntries(store).map(entry => trashView(store, entry, sizes));
  });

  routes.post<Params>('/trash/:entry/restore', async ({ params, body: sent }) => {
    const entry = findInTrash(store, params.entry);
    const view = trashView(store, entry, new Map());
    const { as } = checked(body, sent ?? {});
    const back = await restore(store, entry, as);
    return answer(202, { ...view, name: as ?? view.name, object: back.name });
  });

  routes.delete<Params>('/trash/:entry', async ({ params }) => {
    const entry = findInTrash(store, params.entry);
    await emptyEntry(store, entry);
    return answer(202, trashView(store, entry, new Map()));
  });

  routes.delete('/trash', async () => answer(202, { entries: await emptyTrash(store) }));
}
