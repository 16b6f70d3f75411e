/**
 * A branch: volume, then server, then access; backwards to delete. Every step looks at the world first, so
 * the whole may be run again from the beginning after any crash.
 */
import type { AdminQuery, Ctx, ServerDriver, VolumeDriver } from '../drivers/contract.ts';
import { KeyedLock } from '../lib/lock.ts';
import type { Log } from '../lib/log.ts';
import { scramVerifier } from '../lib/scram.ts';
import { adminRole, type BranchState, type BranchStatus, type ProjectSpec } from '../model/branch.ts';
import type { Condition } from '../model/conditions.ts';
import { OffshootError, toOffshootError } from '../model/errors.ts';
import { childrenOf } from '../rules/branches.ts';
import type { Store, Stored } from '../store/contract.ts';
import type { Result, Wish } from './scheduler.ts';
import { type Outcome, reasonOf, walk } from './steps.ts';
import type { Topic } from './topics.ts';
import { createWaitingRoom } from './waiting-room.ts';
import { topicOf } from './wake.ts';

export type BranchDeps = {
  readonly store: Store;
  readonly volumes: VolumeDriver;
  readonly servers: ServerDriver;
  /** Ends the client sessions of a branch that goes away. */
  readonly dropSessions: (id: string) => void;
  /** Asks for a look at a branch. */
  readonly add: (id: string, wish?: Wish) => void;
  readonly tell: (topic: Topic) => void;
  readonly now: () => Date;
  readonly log: Log;
};

export type BranchReconciler = {
  reconcile(id: string, signal: AbortSignal): Promise<Result>;
  /**
   * Where the branch's server listens; waits for one that is still starting.
   * @throws OffshootError gateway/branch-unknown, gateway/branch-not-ready
   */
  awake(id: string, signal: AbortSignal): Promise<{ readonly socket: string }>;
};

export function branchReconciler(deps: BranchDeps): BranchReconciler {
  const { store, volumes, servers, now } = deps;
  /** Sockets of the servers that are up and whose password is set; what `awake` answers from. */
  const open = new Map<string, { socket: string; password: string }>();
  const logins = createWaitingRoom<{ readonly socket: string }>();
  const parents = new KeyedLock();
  servers.onExit(id => {
    open.delete(id);
    deps.add(id, { lane: 'recovery' });
  });

  const reconcile = async (id: string, signal: AbortSignal): Promise<Result> => {
    const branch = store.get('branch', id);
    if (branch === undefined) return;
    const ctx: Ctx = { signal, log: deps.log.child({ branch: id }) };
    if (branch.deletedAt !== undefined) return remove(branch, ctx);

    const project = store.get('project', branch.spec.project)?.spec;
    if (project === undefined)
      throw new OffshootError('api/not-found', { kind: 'project', name: branch.spec.project });
    let dataDir = '';
    let socket = '';
    const steps = [
      {
        condition: 'VolumeReady',
        async run(): Promise<Outcome> {
          const seen = await ensureVolume(branch, ctx);
          dataDir = seen.dataDir;
          return done('VolumeReady', `on ${volumes.name}`);
        },
      },
      {
        condition: 'ServerReady',
        async run(): Promise<Outcome> {
          const seen = await servers.ensure(id, { dataDir, name: branch.spec.name }, ctx);
          socket = seen.socket;
          return done('ServerRunning', 'PostgreSQL accepts connections');
        },
      },
      {
        condition: 'AccessReady',
        async run(): Promise<Outcome> {
          const { password } = branch.secret;
          if (open.get(id)?.password !== password) await grantAccess(branch, project, ctx);
          open.set(id, { socket, password });
          if (store.get('branch', id)?.secret.password === password) logins.admit(id, { socket });
          return done('PasswordSet', `role "${project.role}" may connect`);
        },
      },
    ];
    const report = (conditions: readonly Condition[]) => setStatus(branch, 'creating', conditions);
    const walked = await walk(steps, branch.status?.conditions ?? [], { now, signal, report });
    if (walked.error === undefined) {
      if (branch.status?.state !== 'ready') {
        const message = `branch ${branch.spec.name} of project ${branch.spec.project} accepts connections`;
        await store.record({ kind: 'branch', name: id, severity: 'info', reason: 'Ready', message });
      }
      await setStatus(branch, 'ready', walked.conditions);
      deps.tell(topicOf.branch(id));
      return;
    }
    open.delete(id);
    const error = toOffshootError(walked.error);
    if (error.code === 'branch/parent-not-ready') {
      // Nothing is wrong: its turn comes when the parent's has come.
      await setStatus(branch, 'creating', walked.conditions);
      return { until: [topicOf.branch(branch.spec.parent!)] };
    }
    await setStatus(branch, 'failed', walked.conditions, error);
    logins.refuse(id, notReady(id, reasonOf(error.code)));
    throw walked.error;
  };

  const ensureVolume = async (branch: Stored<'branch'>, ctx: Ctx) => {
    const { spec, name: id } = branch;
    const seen = await volumes.observe(id, ctx);
    if (seen !== undefined) return seen;
    const record = {
      id,
      project: spec.project,
      branch: spec.name,
      ...(spec.parent !== undefined && { parent: spec.parent }),
      createdAt: branch.createdAt,
    };
    const { parent } = spec;
    if (parent === undefined) {
      return volumes.ensure(id, { record, prepare: (dir, c) => servers.initialise(dir, c) }, ctx);
    }
    // One copy of a parent at a time: a second CHECKPOINT or backup beside the first would only slow both.
    return parents.run(parent, async () => {
      const live = await servers.live(parent, ctx);
      if (live === undefined) {
        deps.add(parent);
        const name = store.get('branch', parent)?.spec.name ?? parent;
        throw new OffshootError('branch/parent-not-ready', {
          parent: name,
          why: 'its server is not running',
        });
      }
      const source = { id: parent, live };
      return volumes.ensure(id, { record, source, prepare: (dir, c) => servers.adopt(dir, c) }, ctx);
    });
  };

  const grantAccess = async (branch: Stored<'branch'>, project: ProjectSpec, ctx: Ctx): Promise<void> => {
    const verifier = await scramVerifier(branch.secret.password);
    await servers.admin(
      branch.name,
      'postgres',
      async query => {
        const role = quoteName(project.role);
        const known = await query('SELECT 1 FROM pg_roles WHERE rolname = $1', [project.role]);
        if (known.rows.length === 0) await query(`CREATE ROLE ${role} LOGIN CREATEDB CREATEROLE`);
        if (branch.spec.parent !== undefined) await endInheritedPasswords(query, branch.name, project.role);
        await query(`ALTER ROLE ${role} PASSWORD ${quoteText(verifier)}`);
        const database = await query('SELECT 1 FROM pg_database WHERE datname = $1', [project.database]);
        if (database.rows.length === 0) {
          await query(`CREATE DATABASE ${quoteName(project.database)} OWNER ${role}`);
        }
      },
      ctx,
    );
  };

  const remove = async (branch: Stored<'branch'>, ctx: Ctx): Promise<Result> => {
    const id = branch.name;
    open.delete(id);
    logins.refuse(id, unknown(id));
    // Refused when it was asked for; but whatever came to be since then must not lose what it grows from.
    const children = childrenOf(store, id);
    if (children.length > 0) {
      const names = children.map(b => b.spec.name).join(', ');
      const error = new OffshootError('branch/has-children', { name: branch.spec.name, children: names });
      await setStatus(branch, 'deleting', [], error);
      return { until: [topicOf.children(id)] };
    }
    if (branch.status?.state !== 'deleting') await setStatus(branch, 'deleting', []);
    deps.dropSessions(id);
    try {
      await servers.remove(id, ctx);
      await volumes.remove(id, ctx);
    } catch (thrown) {
      ctx.signal.throwIfAborted();
      const error = toOffshootError(thrown);
      const { message } = error;
      if (branch.status?.message !== message) {
        await store.record({
          kind: 'branch',
          name: id,
          severity: 'warning',
          reason: 'DeleteFailed',
          message,
        });
      }
      await setStatus(branch, 'deleting', [], error);
      throw thrown;
    }
    const { name, project } = branch.spec;
    const message = `branch ${name} of project ${project} is gone`;
    await Promise.all([
      store.remove('branch', id),
      store.record({ kind: 'branch', name: id, severity: 'info', reason: 'Deleted', message }),
    ]);
    return;
  };

  const setStatus = async (
    branch: Stored<'branch'>,
    state: BranchState,
    conditions: readonly Condition[],
    error?: OffshootError,
  ): Promise<void> => {
    const stopped = conditions.find(c => c.status === 'False');
    await store.modify('branch', branch.name, object => {
      // Status reports of a step must not hide that the branch was ready and still answers.
      if (state === 'creating' && object.status?.state === 'ready') return undefined;
      const status: BranchStatus = {
        state,
        reason:
          stopped?.reason ??
          (state === 'ready' ? 'Ready' : error === undefined ? 'InProgress' : reasonOf(error.code)),
        message:
          error?.message ?? stopped?.message ?? (state === 'ready' ? 'accepts connections' : `${state} …`),
        ...(error?.hint !== undefined && { hint: error.hint }),
        conditions,
        observedGeneration: branch.generation,
      };
      return { status };
    });
  };

  const awake: BranchReconciler['awake'] = async (id, signal) => {
    const branch = store.get('branch', id);
    if (branch === undefined || branch.deletedAt !== undefined) throw unknown(id);
    const there = open.get(id);
    // After a rotation the old password must not open the door any more.
    if (there?.password === branch.secret.password) return there;
    if (branch.status?.state === 'failed') throw notReady(id, branch.status.reason);
    if (logins.size(id) === 0) deps.add(id);
    return logins.wait(id, signal);
  };

  return { reconcile, awake };
}

// --- internal -----------------------------------------------------------------------------------

const unknown = (id: string) => new OffshootError('gateway/branch-unknown', { branch: id });
const notReady = (id: string, why: string) =>
  new OffshootError('gateway/branch-not-ready', { branch: id, why });

/**
 * A child begins with its parent's roles. Their passwords end here, also those of roles that users made; once,
 * because from then on the roles are the child's own. The mark is a setting of our role in the child's catalogue:
 * a grandchild inherits it with another id, and so is not taken for marked.
 */
async function endInheritedPasswords(query: AdminQuery, id: string, role: string): Promise<void> {
  const { rows } = await query("SELECT current_setting('offshoot.adopted', true) AS id");
  if (rows[0]?.id === id) return;
  await query(`DO $do$ DECLARE r record; BEGIN
      FOR r IN SELECT rolname FROM pg_authid WHERE rolpassword IS NOT NULL
        AND rolname NOT IN (${quoteText(adminRole)}, ${quoteText(role)}) LOOP
        EXECUTE format('ALTER ROLE %I PASSWORD NULL', r.rolname);
      END LOOP;
      ALTER ROLE ${quoteName(adminRole)} SET offshoot.adopted = ${quoteText(id)};
    END $do$`);
}

const done = (reason: string, message: string): Outcome => ({ done: true, reason, message });

/** SQL identifier (PostgreSQL §4.1.1). */
const quoteName = (name: string): string => `"${name.replaceAll('"', '""')}"`;

/** SQL string constant (PostgreSQL §4.1.2.1); standard_conforming_strings is on. */
const quoteText = (text: string): string => `'${text.replaceAll("'", "''")}'`;
