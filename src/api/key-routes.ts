import { z } from 'zod';
import type { ApiContext } from './context.ts';
import { checked } from './input.ts';
import { answer, type Routes } from './routes.ts';

const body = z.strictObject({ name: z.string() });

export function keyRoutes(routes: Routes, { keys }: ApiContext): void {
  routes.get('/keys', async () => keys.list());

  routes.post('/keys', async request => {
    const { key, view } = await keys.create(checked(body, request.body).name);
    return answer(201, { ...view, key });
  });

  routes.delete<{ id: string }>('/keys/:id', async ({ params }) => keys.revoke(params.id));
}
