import { isAbsolute } from 'node:path';
import { z } from 'zod';
import type { EnvironmentConfig, EnvironmentOwner } from '../model/environment.ts';
import { OffshootError } from '../model/errors.ts';
import type { ImageMap } from '../model/image.ts';
import type { Migration } from '../model/migration.ts';
import { applyEnvironment, parkEnvironments, renameEnvironment } from '../rules/environments.ts';
import type { ApiContext } from './context.ts';
import { imageMap, migration } from './image-map.ts';
import { checked } from './input.ts';
import { migrateChanged, restartChanged } from './restarting.ts';
import { answer, type Routes } from './routes.ts';
import { sandboxView } from './views.ts';

const path = z.string().max(4_096).refine(isAbsolute, 'must be an absolute path');
const gitBranch = z.string().min(1).max(1_024);

const owner = z.strictObject({ repository: path, worktree: path, branch: gitBranch.optional() });
const parkBody = z.strictObject({ owner });
const renameBody = z.strictObject({ owner, to: gitBranch });

const body = z.strictObject({
  owner,
  config: z.strictObject({
    forks: z.array(z.string()).optional(),
    endpoints: z.record(z.string(), z.string()).optional(),
    database: z
      .strictObject({ project: z.string().optional(), variables: z.record(z.string(), z.string()) })
      .optional(),
  }),
  images: imageMap,
  migrate: migration.optional(),
  file: path,
  from: gitBranch.optional(),
  cameFrom: z.array(gitBranch).max(100).optional(),
});

export function environmentRoutes(routes: Routes, context: ApiContext): void {
  const { store, baseline, programs, warnings: tell } = context;

  /** For who has the folder of a worktree now, and needs no environment. */
  routes.post('/environments/park', async request => {
    const { owner } = checked(parkBody, request.body);
    return { parked: await parkEnvironments(store, baseline, owner as EnvironmentOwner) };
  });

  /** The git branch is called `to` now. `name` of its environment is absent when it has none, or `to` has one of its own. */
  routes.post('/environments/rename', async request => {
    const { owner, to } = checked(renameBody, request.body);
    const name = await renameEnvironment(store, owner as EnvironmentOwner, to);
    return { ...(name !== undefined && { name }) };
  });

  /** 201 created, 200 updated or unchanged; `outcome` says which. */
  routes.put('/environments', async request => {
    const { config, images, migrate, ...wish } = checked(body, request.body);
    const made = await applyEnvironment(store, baseline, {
      ...(wish as Omit<Parameters<typeof applyEnvironment>[2], 'config' | 'images' | 'migrate'>),
      config: config as EnvironmentConfig,
      images: images as ImageMap,
      ...(migrate && { migrate: migrate as Migration }),
    });
    const { outcome, parked, grownFrom } = made;
    const object = await migrateChanged({ store, programs }, made);
    const forks = outcome === 'created' ? [] : (object.spec.forks ?? []);
    const changed = await restartChanged(
      { store, programs },
      forks.map(({ forkOf }) => ({ of: 'fork', sandbox: object.name, workload: forkOf })),
    );
    return answer(outcome === 'created' ? 201 : 200, {
      ...sandboxView(object),
      outcome,
      /** Its migrations have changed, and run. */
      migrates: object !== made.object,
      /** Forks that are started anew because their code has changed. */
      changed: changed.forks,
      parked,
      ...(grownFrom !== undefined && { grownFrom }),
      warnings: warningsOf(),
    });

    /** It was taken: what cannot be derived says so in its status. */
    function warningsOf(): readonly string[] {
      try {
        return tell(object);
      } catch (error) {
        if (error instanceof OffshootError) return [];
        throw error;
      }
    }
  });
}
