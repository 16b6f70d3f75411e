/**
 * How a project gets another name, which is also how it gets into the trash and out of it: a new one takes over the
 * branches of the old one, object by object. What it takes over stands in the new one until the end, so the loop can go
 * on from any point.
 */
import type { ProjectSpec } from '../model/branch.ts';
import type { Store, Stored } from '../store/contract.ts';
import { anotherTry } from './another-try.ts';
import { holding } from './locks.ts';

/**
 * From this one write on the old project is nobody's but the new one's. The caller holds both names.
 * @throws OffshootError api/conflict when the new name is taken
 */
export const beginTakeOver = (
  store: Store,
  name: string,
  from: string,
  spec: ProjectSpec,
): Promise<Stored<'project'>> =>
  store.create('project', name, { spec: { ...spec, takesOver: from }, status: null, secret: null });

/** Takes up what is left to do; without a take-over nothing is. May be repeated after any crash. */
export async function finishTakeOver(store: Store, name: string): Promise<void> {
  const from = store.get('project', name)?.spec.takesOver;
  if (from === undefined) return;
  await holding(store, { alone: [`project/${name}`, `project/${from}`] }, async () => {
    const project = store.get('project', name);
    if (project?.spec.takesOver !== from) return;
    const { takesOver: _, ...spec } = project.spec;
    await Promise.all(
      store.by('branch/project', from).map(branch =>
        store.modify('branch', branch.name, b => {
          const moved = underProject(b.spec, name, spec);
          const isBack = b.spec.trashed !== undefined && moved.trashed === undefined;
          return { spec: moved, ...(isBack && anotherTry(b)) };
        }),
      ),
    );
    await store.remove('project', from);
    await store.modify('project', name, () => ({ spec }));
  });
}

/** Name of the project that is just taking this one over: then it is none that anybody could work with. */
export const takenOverBy = (store: Store, name: string): string | undefined =>
  store.by('project/takes-over', name)[0]?.name;

// --- internal -------------------------------------------------------------------------------------

/** The root is in the trash when the project is; what else is there has a mark of its own. */
function underProject(
  branch: Stored<'branch'>['spec'],
  project: string,
  { trashed }: ProjectSpec,
): Stored<'branch'>['spec'] {
  if (branch.parent !== undefined) return { ...branch, project };
  const { trashed: _, ...root } = branch;
  return { ...root, project, ...(trashed && { trashed: { at: trashed.at, until: trashed.until } }) };
}
