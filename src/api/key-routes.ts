import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import type { ApiContext } from './context.ts';
import { checked } from './input.ts';

const body = z.strictObject({ name: z.string() });

export function keyRoutes(app: FastifyInstance, { keys }: ApiContext): void {
  app.get('/keys', async () => keys.list());

  app.post('/keys', async (request, reply) => {
    const { key, view } = await keys.create(checked(body, request.body).name);
    return reply.status(201).send({ ...view, key });
  });

  app.delete<{ Params: { id: string } }>('/keys/:id', async ({ params }) => keys.revoke(params.id));
}
