/**
 * Migrations of a sandbox: the branches that belong to it are brought to what its folder's code expects, before that code
 * runs. Which wish each branch was brought up to date for stands in the sandbox's record: what somebody edits meanwhile is
 * looked at when it is applied again, or when the branch has begun anew, and not before.
 */
import type { Ctx, MigrationDriver, MigrationSpec, StepCause } from '../drivers/contract.ts';
import { migrationVariables } from '../model/migration.ts';
import type { SandboxStatus } from '../model/sandbox.ts';
import { branchAddress } from '../rules/branches.ts';
import type { Store, Stored } from '../store/contract.ts';
import type { Outcome } from './steps.ts';
import { topicOf } from './wake.ts';
import { sandboxOwner, wishOf } from './workload-spec.ts';

export type MigrationDeps = {
  readonly store: Store;
  /** Absent: the code comes in images, whose folders are elsewhere. */
  readonly migrations?: MigrationDriver | undefined;
  /** Where clients reach the Postgres gateway. */
  readonly gateway: () => { readonly host: string; readonly port: number };
  /** Variables for scripts, e.g. how to reach our API. */
  readonly scriptEnv: () => Readonly<Record<string, string>>;
};

export type Migrated = {
  readonly outcome: Outcome;
  /** See SandboxStatus. */
  readonly failed?: NonNullable<SandboxStatus['migration']>;
};

export type MigrationRunner = {
  /** @param tell what is going on */
  ensure(sandbox: Stored<'sandbox'>, ctx: Ctx, tell: (now: StepCause) => void): Promise<Migrated>;
};

export function migrationRunner(deps: MigrationDeps): MigrationRunner {
  const { store, migrations } = deps;
  /** By sandbox: since when its newest wish is known. What has failed since then fails for all who look. */
  const asked = new Map<string, { readonly wish: string; readonly at: number }>();

  const askedAt = (name: string, wish: string): number => {
    const known = asked.get(name);
    if (known?.wish === wish) return known.at;
    asked.set(name, { wish, at: Date.now() });
    return asked.get(name)!.at;
  };

  const note = (name: string, branch: string, done: string): Promise<unknown> =>
    store.modify('sandbox', name, ({ secret }) => ({
      secret: { ...secret, migrated: { ...secret.migrated, [branch]: done } },
    }));

  return {
    async ensure(sandbox, ctx, tell) {
      if (migrations === undefined)
        return end('NotHere', 'the folder is not on this machine: use a plugin step');
      const branches = branchesOf(store, sandbox);
      if (branches.length === 0) return end('NothingToMigrate', 'no branch belongs to it');
      const wish = wishOf(sandbox);
      const since = askedAt(sandbox.name, wish);
      for (const branch of branches) {
        const { name: id, spec, status } = branch;
        if (status?.state !== 'ready' && status?.state !== 'asleep')
          return {
            outcome: {
              ...{ done: false, reason: 'ResourcesPending', message: `branch ${spec.name} is not ready` },
              waits: { until: [topicOf.branch(id)] },
            },
          };
        const done = `${wish}.${eraOf(branch)}`;
        if (store.get('sandbox', sandbox.name)?.secret.migrated?.[id] === done) continue;
        const told = (now: StepCause) =>
          tell({ ...now, message: `migration of branch ${spec.name}: ${now.message}` });
        const failure = await migrations.ensure(id, specOf(deps, sandbox, branch), since, told, ctx);
        ctx.signal.throwIfAborted();
        if (failure !== undefined) {
          const { reason, message, log } = failure;
          return {
            outcome: { done: false, reason, message: `migration of branch ${spec.name}: ${message}` },
            failed: { branch: spec.name, log },
          };
        }
        await note(sandbox.name, id, done);
      }
      const names = branches.map(({ spec }) => spec.name).join(', ');
      return end('Migrated', `up to date: ${names}`);
    },
  };
}

/** A branch of a sandbox, and what its migration is. */
export type SandboxMigration = { readonly id: string; readonly spec: MigrationSpec };

export const migrationsOf = (deps: MigrationDeps, sandbox: Stored<'sandbox'>): readonly SandboxMigration[] =>
  branchesOf(deps.store, sandbox).map(branch => ({ id: branch.name, spec: specOf(deps, sandbox, branch) }));

// --- internal -----------------------------------------------------------------------------------

const end = (reason: string, message: string): Migrated => ({ outcome: { done: true, reason, message } });

const branchesOf = (
  store: Store,
  { name, spec: { migrate } }: Stored<'sandbox'>,
): readonly Stored<'branch'>[] =>
  migrate === undefined
    ? []
    : store
        .by('branch/owner', sandboxOwner(name))
        .filter(
          ({ spec, deletedAt }) =>
            deletedAt === undefined && (migrate.project === undefined || spec.project === migrate.project),
        );

/** How often it has begun anew. */
const eraOf = ({ status }: Stored<'branch'>): string => `${status?.resets ?? 0}`;

function specOf(
  { store, gateway, scriptEnv }: MigrationDeps,
  { spec: { migrate, images = {} } }: Stored<'sandbox'>,
  branch: Stored<'branch'>,
): MigrationSpec {
  const address = branchAddress(store, branch, gateway());
  const { project, name } = branch.spec;
  const variables = { ...scriptEnv(), ...migrationVariables(address, { project, branch: name }) };
  return { migration: migrate!, images, era: eraOf(branch), variables };
}
