/**
 * Projects and branches made again from what is written beside the data, when the store has lost them. Passwords were
 * never written there, so they are new.
 */
import { type BranchRecord, type BranchSpec, branchIdPattern, type ProjectSpec } from '../model/branch.ts';
import { OffshootError } from '../model/errors.ts';
import { branchNameProblem } from '../model/names.ts';
import { nameBeforeTrash } from '../model/trash.ts';
import type { RepairView } from '../model/view.ts';
import type { Store } from '../store/contract.ts';
import { branchSecret, checkProject, findBranch } from './branches.ts';
import { holding } from './locks.ts';

/** A complete volume that no branch claims. */
export type UnclaimedVolume = {
  readonly id: string;
  /** Absent when it cannot be read. */
  readonly record?: BranchRecord;
  /** In a cluster: where it is. */
  readonly node?: string;
};

/** What `repair` would do, parents before their children. */
export const planRepair = (store: Store, volumes: readonly UnclaimedVolume[]): readonly RepairView[] =>
  plan(store, volumes).rows;

/** Makes the intents of all branches that can be brought back. @returns what was done */
export async function repair(
  store: Store,
  volumes: readonly UnclaimedVolume[],
): Promise<readonly RepairView[]> {
  const keys = planRepair(store, volumes).flatMap(({ project, branch }) => [
    `project/${project}`,
    `branch-name/${project}/${branch}`,
  ]);
  const secrets = new Map(
    await Promise.all(volumes.map(async ({ id }) => [id, await branchSecret()] as const)),
  );
  return await holding(store, { alone: keys }, async () => {
    const { rows, projects, branches } = plan(store, volumes);
    // All at once, and so in one write: a project that is there without its root would get another one.
    await Promise.all([
      ...[...projects].map(([name, spec]) =>
        store.create('project', name, { spec, status: null, secret: null }),
      ),
      ...branches.map(({ id, createdAt, ...record }) =>
        store.create('branch', id, {
          spec: specOf({ ...record, id, createdAt }),
          status: null,
          secret: secrets.get(id)!,
          createdAt,
        }),
      ),
      ...branches.map(({ id, branch, project }) =>
        store.record({
          kind: 'branch',
          name: id,
          severity: 'warning',
          reason: 'BroughtBack',
          message: `branch ${branch} of project ${project} was brought back from its volume, with a new password`,
        }),
      ),
    ]);
    return rows;
  });
}

// --- internal -----------------------------------------------------------------------------------

type Plan = {
  readonly rows: readonly RepairView[];
  readonly projects: ReadonlyMap<string, ProjectSpec>;
  /** As they are to be. */
  readonly branches: readonly BranchRecord[];
};

function plan(store: Store, volumes: readonly UnclaimedVolume[]): Plan {
  const projects = new Map<string, ProjectSpec>();
  const branches: BranchRecord[] = [];
  const rows: RepairView[] = [];
  const nameOf = (id: string): string =>
    branches.find(b => b.id === id)?.branch ?? store.get('branch', id)?.spec.name ?? id;
  // A parent is older than its children.
  const age = ({ record }: UnclaimedVolume) => record?.createdAt ?? '';
  for (const { id, record, node } of volumes.toSorted((a, b) => (age(a) < age(b) ? -1 : 1))) {
    if (record === undefined) {
      rows.push({ id, project: null, branch: null, parent: null, problem: 'its record cannot be read' });
      continue;
    }
    const { project, branch, parent, owner } = record;
    const row = { id, project, branch, parent: parent === undefined ? null : nameOf(parent) };
    const sameName = (b: BranchRecord) => b.project === project && b.branch === branch && !b.trashed;
    const taken = branches.find(sameName)?.id;
    const problem = problemOf(store, { id, node }, record, projects.get(project), taken);
    if (problem !== undefined) {
      rows.push({ ...row, problem });
      continue;
    }
    const notes: string[] = [];
    if (record.trashed !== undefined) notes.push('into the trash, where it was');
    if (store.get('project', project) === undefined && !projects.has(project)) {
      projects.set(project, { ...projectOf(record), ...(node !== undefined && { node }) });
      if (record.role === undefined) notes.push('its role and database are taken to be "app"');
    }
    const isOwned = owner !== undefined && store.get('sandbox', owner.slice('sandbox/'.length)) !== undefined;
    if (owner !== undefined && !isOwned)
      notes.push(`${owner.replace('/', ' ')} is gone: it belongs to nobody`);
    const { owner: _, ...others } = record;
    branches.push(isOwned ? record : others);
    rows.push({ ...row, ...(notes.length > 0 && { note: notes.join('; ') }) });
  }
  return { rows, projects, branches };
}

/**
 * @param coming the record's project, if it is one that is to be brought back
 * @param taken id of another one that is to be brought back under the same name
 */
function problemOf(
  store: Store,
  { id, node }: { readonly id: string; readonly node: string | undefined },
  record: BranchRecord,
  coming: ProjectSpec | undefined,
  taken: string | undefined,
): string | undefined {
  const { project, branch } = record;
  if (record.id !== id || !branchIdPattern.test(id)) return `its record is that of ${record.id}`;
  const there = store.get('project', project);
  if (there?.deletedAt !== undefined) return `project "${project}" is being deleted`;
  const placed = there?.spec ?? coming;
  if (placed !== undefined && placed.node !== node)
    return `it is on branch node ${node}, and project "${project}" is on ${placed.node ?? 'none yet'}`;
  const name = branchNameProblem(branch);
  if (name !== undefined) return `"${branch}" is not a name for a branch: ${name}`;
  const other =
    record.trashed === undefined ? (findBranch(store, project, branch)?.name ?? taken) : undefined;
  if (other !== undefined) return `there is another branch "${branch}" in project "${project}": ${other}`;
  try {
    const { trashed, ...spec } = projectOf(record);
    if (there === undefined) checkProject(trashed?.name ?? project, spec);
  } catch (error) {
    if (error instanceof OffshootError) return error.message;
    throw error;
  }
  return undefined;
}

/** Older records do not name role and database. A project in the trash is one whose root is. */
function projectOf({
  project,
  parent,
  trashed,
  role = 'app',
  database = 'app',
  postgres,
}: BranchRecord): ProjectSpec {
  const name = nameBeforeTrash(project);
  const inTrash = parent === undefined && trashed !== undefined && name !== undefined;
  const chosen = postgres === undefined ? {} : { postgres: { bin: postgres, version: '' } };
  return { role, database, ...chosen, ...(inTrash && { trashed: { name, ...trashed } }) };
}

const specOf = ({
  id,
  project,
  branch,
  parent,
  owner,
  trashed,
  resets,
  createdAt,
  history,
}: BranchRecord): BranchSpec => ({
  project,
  name: branch,
  ...(trashed !== undefined && { trashed }),
  ...(parent !== undefined && { parent }),
  ...(owner !== undefined && { owner }),
  ...(history !== undefined && { history }),
  // So that the next reset is another one.
  ...(resets !== undefined && { reset: { count: resets, from: parent ?? id, at: createdAt } }),
});
