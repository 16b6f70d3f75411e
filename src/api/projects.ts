import { z } from 'zod';
import {
  createProject,
  deleteProject,
  limitProject,
  listedProjects,
  requireProject,
} from '../rules/branches.ts';
import { trashProject } from '../rules/trash.ts';
import type { ApiContext } from './context.ts';
import { checked, flag } from './input.ts';
import { answer, type Routes } from './routes.ts';
import { projectView } from './views.ts';

const body = z.strictObject({
  name: z.string(),
  database: z.string().default('app'),
  role: z.string().default('app'),
  branchLimitBytes: z.int().positive().optional(),
  maxBranches: z.int().nonnegative().optional(),
});

/** What is not named stays; null: none. */
const limitBody = z.strictObject({
  branchLimitBytes: z.int().positive().nullable().optional(),
  maxBranches: z.int().nonnegative().nullable().optional(),
});

/** `now`: for good, not into the trash. */
const deleteQuery = z.strictObject({ now: flag });

export function projectRoutes(routes: Routes, { store, baseline, trash }: ApiContext): void {
  routes.get('/projects', async () => listedProjects(store).map(p => projectView(store, p)));

  routes.get<{ name: string }>('/projects/:name', async ({ params }) =>
    projectView(store, requireProject(store, params.name)),
  );

  routes.post('/projects', async request => {
    const { name, branchLimitBytes, maxBranches, ...spec } = checked(body, request.body);
    const project = await createProject(store, name, {
      ...spec,
      ...(branchLimitBytes !== undefined && { branchLimitBytes }),
      ...(maxBranches !== undefined && { maxBranches }),
    });
    return answer(201, projectView(store, project));
  });

  routes.put<{ name: string }>('/projects/:name/limit', async ({ params: { name }, body }) => {
    const now = requireProject(store, name).spec;
    const { branchLimitBytes = now.branchLimitBytes, maxBranches = now.maxBranches } = checked(
      limitBody,
      body,
    );
    const limits = {
      ...(typeof branchLimitBytes === 'number' && { branchLimitBytes }),
      ...(typeof maxBranches === 'number' && { maxBranches }),
    };
    return projectView(store, await limitProject(store, name, limits));
  });

  routes.delete<{ name: string }>('/projects/:name', async ({ params, query }) => {
    const { name } = params;
    const { now } = checked(deleteQuery, query);
    if (now || trash.keepMs === 0) {
      await deleteProject(store, baseline, name);
      return answer(202, { name, trashed: null });
    }
    const id = await trashProject(store, baseline, name, trash.keepMs, new Date());
    const { until } = store.get('project', id)!.spec.trashed!;
    return answer(202, { name, trashed: { id, until } });
  });
}
