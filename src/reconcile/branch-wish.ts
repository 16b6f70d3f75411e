/** What a node is asked to make of a branch, from what the store knows. */
import type { BranchWish } from '../drivers/contract.ts';
import type { BranchReset, BranchSpec, ProjectSpec } from '../model/branch.ts';
import { OffshootError } from '../model/errors.ts';
import type { ServerSettings } from '../model/server-settings.ts';
import { branchSecret } from '../rules/branches.ts';
import { isResetPending } from '../rules/reset.ts';
import type { Store, Stored } from '../store/contract.ts';

/** @throws OffshootError api/not-found without its project */
export async function wishOf(store: Store, branch: Stored<'branch'>): Promise<BranchWish> {
  const { spec, createdAt } = branch;
  const project = store.get('project', spec.project)?.spec;
  if (project === undefined)
    throw new OffshootError('api/not-found', { kind: 'project', name: spec.project });
  const { status } = store.get('branch', branch.name) ?? branch;
  // A reset does not need what is lost.
  const settings = settingsOf(store, branch);
  const made = status?.made && !isResetPending({ spec, status });
  return {
    project: spec.project,
    branch: spec.name,
    ...(spec.parent !== undefined && { parent: spec.parent }),
    ...(spec.owner !== undefined && { owner: spec.owner }),
    ...(spec.trashed !== undefined && { trashed: spec.trashed }),
    ...(spec.reset !== undefined && { reset: resetOf(spec.reset) }),
    ...(spec.moment !== undefined && { moment: spec.moment }),
    ...(spec.history !== undefined && { history: spec.history }),
    createdAt,
    role: project.role,
    database: project.database,
    verifier: await verifierOf(store, branch),
    ...(project.rolePasswords && { rolePasswords: project.rolePasswords }),
    ...(settings && { settings }),
    ...(project.postgres && { postgres: project.postgres.bin }),
    ...limitFor(branch.spec, project),
    ...(made && { made }),
    ...(branch.spec.parent === undefined && importFor(store, spec.project)),
  };
}

/** Of its server: its own, and beside them its project's. */
export function settingsOf(store: Store, { spec }: Stored<'branch'>): ServerSettings | undefined {
  const general = store.get('project', spec.project)?.spec.settings;
  return (spec.settings ?? general) && { ...general, ...spec.settings };
}

// --- internal -----------------------------------------------------------------------------------

const resetOf = ({ count, from, moment }: BranchReset): NonNullable<BranchWish['reset']> => ({
  count,
  from,
  ...(moment !== undefined && { moment }),
});

/** Made with the password, except by older versions. */
async function verifierOf(store: Store, { name, secret }: Stored<'branch'>): Promise<string> {
  if (secret.verifier !== undefined) return secret.verifier;
  const made = await branchSecret(secret.password);
  await store.modify('branch', name, now =>
    now.secret.password === secret.password ? { secret: { ...now.secret, ...made } } : undefined,
  );
  return made.verifier;
}

/** A root is what all others grow from: the project's limit is not for it. */
const limitFor = (
  { parent, limitBytes }: BranchSpec,
  project: ProjectSpec,
): Pick<BranchWish, 'limitBytes'> => {
  const limit = limitBytes ?? (parent === undefined ? undefined : project.branchLimitBytes);
  return limit === undefined ? {} : { limitBytes: limit };
};

/** What a root is filled from. */
function importFor(store: Store, project: string): Pick<BranchWish, 'import'> {
  const { spec, secret } = store.get('project', project) ?? {};
  return spec?.import === undefined
    ? {}
    : {
        import: {
          ...{ ...spec.import, sealed: secret?.sealed ?? [] },
          ...(secret?.maskSecret && { maskSecret: secret.maskSecret }),
        },
      };
}
