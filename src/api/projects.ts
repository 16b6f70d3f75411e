import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { createProject, deleteProject, listedProjects, requireProject } from '../rules/branches.ts';
import { trashProject } from '../rules/trash.ts';
import type { ApiContext } from './context.ts';
import { checked, flag } from './input.ts';
import { projectView } from './views.ts';

const body = z.strictObject({
  name: z.string(),
  database: z.string().default('app'),
  role: z.string().default('app'),
  branchLimitBytes: z.int().positive().optional(),
});

/** `now`: for good, not into the trash. */
const deleteQuery = z.strictObject({ now: flag });

export function projectRoutes(app: FastifyInstance, { store, baseline, trash }: ApiContext): void {
  app.get('/projects', async () => listedProjects(store).map(p => projectView(store, p)));

  app.get<{ Params: { name: string } }>('/projects/:name', async ({ params }) =>
    projectView(store, requireProject(store, params.name)),
  );

  app.post('/projects', async (request, reply) => {
    const { name, branchLimitBytes, ...spec } = checked(body, request.body);
    const limit = branchLimitBytes === undefined ? {} : { branchLimitBytes };
    const project = await createProject(store, name, { ...spec, ...limit });
    return reply.status(201).send(projectView(store, project));
  });

  app.delete<{ Params: { name: string } }>('/projects/:name', async ({ params, query }, reply) => {
    const { name } = params;
    const { now } = checked(deleteQuery, query);
    if (now || trash.keepMs === 0) {
      await deleteProject(store, baseline, name);
      return reply.status(202).send({ name, trashed: null });
    }
    const id = await trashProject(store, baseline, name, trash.keepMs, new Date());
    const { until } = store.get('project', id)!.spec.trashed!;
    return reply.status(202).send({ name, trashed: { id, until } });
  });
}
