import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { createProject, deleteProject, requireProject } from '../rules/branches.ts';
import type { ApiContext } from './context.ts';
import { checked } from './input.ts';
import { projectView } from './views.ts';

const body = z.strictObject({
  name: z.string(),
  database: z.string().default('app'),
  role: z.string().default('app'),
});

export function projectRoutes(app: FastifyInstance, { store }: ApiContext): void {
  app.get('/projects', async () => store.list('project').map(p => projectView(store, p)));

  app.get<{ Params: { name: string } }>('/projects/:name', async ({ params }) =>
    projectView(store, requireProject(store, params.name)),
  );

  app.post('/projects', async (request, reply) => {
    const { name, database, role } = checked(body, request.body);
    const project = await createProject(store, name, { database, role });
    return reply.status(201).send(projectView(store, project));
  });

  app.delete<{ Params: { name: string } }>('/projects/:name', async ({ params }, reply) => {
    await deleteProject(store, params.name);
    return reply.status(202).send({ name: params.name });
  });
}
