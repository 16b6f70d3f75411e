/**
 * A branch: what its node makes of it, step by step, and backwards to delete. Every look begins with what is there,
 * so it may be repeated from the beginning after any crash.
 */
import type {
  BranchNode,
  BranchPhase,
  BranchSeen,
  BranchWish,
  Ctx,
  ServerExits,
} from '../drivers/contract.ts';
import type { Log } from '../lib/log.ts';
import type { BranchEndpoint, BranchSpec, BranchState, BranchStatus, ProjectSpec } from '../model/branch.ts';
import type { Condition } from '../model/conditions.ts';
import { OffshootError, toOffshootError } from '../model/errors.ts';
import type { NodeDoor } from '../model/route.ts';
import { isTrashed } from '../model/trash.ts';
import { branchSecret, childrenOf } from '../rules/branches.ts';
import { expireBranch } from '../rules/expiry.ts';
import { branchHasChildren } from '../rules/offspring.ts';
import { isResetPending, resetBefore, toSeeBefore } from '../rules/reset.ts';
import { expire } from '../rules/trash.ts';
import type { Store, Stored } from '../store/contract.ts';
import { notReady, unknown } from './awake-by-status.ts';
import { EXPIRES, type Expiry, expiryOf } from './branch-expiry.ts';
import { conditionsOf, statusOf } from './branch-status.ts';
import type { Result, Wish } from './scheduler.ts';
import type { Topic } from './topics.ts';
import { createWaitingRoom } from './waiting-room.ts';
import { topicOf } from './wake.ts';

export type BranchDeps = {
  readonly store: Store;
  readonly branches: BranchNode;
  /** By which others reach the servers here; undefined: they are on this machine, too. */
  readonly door?: NodeDoor | undefined;
  /** Milliseconds that news of a new branch may take longer to a node than to a controller, default 5000. */
  readonly unheardMs?: number | undefined;
  /** Asks for a look at a branch. */
  readonly add: (id: string, wish?: Wish) => void;
  readonly tell: (topic: Topic, most?: number) => void;
  /** Milliseconds that a branch whose time is over can be had back; 0: not at all. Default: a day. */
  readonly trashMs?: number;
  readonly now: () => Date;
  readonly log: Log;
};

export type BranchReconciler = {
  reconcile(id: string, signal: AbortSignal): Promise<Result>;
  /**
   * Where the branch's server listens; waits for one that is still starting.
   * @throws OffshootError gateway/branch-unknown, gateway/branch-not-ready
   */
  awake(id: string, signal: AbortSignal): Promise<BranchEndpoint>;
};

export function branchReconciler(deps: BranchDeps): BranchReconciler {
  const { store, branches: node, now } = deps;
  /** Branches that are ready, and the password with which they are; what `awake` answers from. */
  const open = new Map<string, { readonly endpoint: BranchEndpoint; readonly password: string }>();
  const logins = createWaitingRoom<BranchEndpoint>();
  /** Servers whose end has not been looked at yet. */
  const ended = new Set<string>();
  /** What logins to branches are told that do not run, for want of room. */
  const outOfRoom = new Map<string, OffshootError>();
  node.onChange(id => {
    open.delete(id);
    ended.add(id);
    deps.add(id, { lane: 'recovery' });
  });
  node.onFree(({ topic, places }) => deps.tell(topic, places));
  // A pause that was made meanwhile ends with what it was made for.
  node.onRelief(id => deps.add(id, { intent: true }));
  node.onImport(id => deps.add(id));
  node.onRoom(id => {
    open.delete(id); // it may be stopped: the next login waits for a look
    deps.add(id);
  });

  const reconcile = async (id: string, signal: AbortSignal): Promise<Result> => {
    const branch = store.get('branch', id);
    if (branch === undefined) return;
    const ctx: Ctx = { signal, log: deps.log.child({ branch: id }) };
    if (branch.deletedAt !== undefined) return remove(branch, ctx);
    if (isTrashed(branch)) return rest(branch, ctx);

    const expiry = expiryOf(store, branch, now());
    if (expiry.over) {
      await expireBranch(store, id, deps.trashMs ?? A_DAY_MS, now());
      return { again: 0 };
    }
    await tellOf(branch, expiry);
    const result = await look(branch, ctx);
    const until = [...(result?.until ?? []), ...(expiry.until ?? [])];
    const again = [result?.again, expiry.again].filter(ms => ms !== undefined);
    if (until.length + again.length === 0) return result;
    return {
      ...result,
      ...(until.length > 0 && { until }),
      ...(again.length > 0 && { again: Math.min(...again) }),
    };
  };

  /** What is said of the end of its time is an event once. */
  const tellOf = async (branch: Stored<'branch'>, { condition }: Expiry): Promise<void> => {
    const said = branch.status?.conditions.find(c => c.type === EXPIRES)?.reason;
    if (condition === undefined || condition.reason === said) return;
    const reason = condition.status === 'True' ? condition.reason : 'ExpiryBlocked';
    await record(branch, 'warning', reason, `branch ${branch.spec.name}: ${condition.message}`);
  };

  const look = async (branch: Stored<'branch'>, ctx: Ctx): Promise<Result> => {
    const { name: id } = branch;
    if (triesOf(branch.secret) !== triesOf(branch.status)) await endForRestart(branch, ctx);
    if (ended.delete(id)) {
      const seen = await node.observe(id, ctx);
      if (seen?.server.status === 'False' && seen.exits.count > 0) {
        await record(branch, 'warning', 'ServerEnded', `branch ${branch.spec.name}: ${seen.server.message}`);
        // Once may happen. One that ends again and again is left alone for longer and longer.
        if (seen.exits.count >= UNSTEADY) return fail(branch, seen, endsByItself(branch, seen.exits));
        await setStatus(branch, 'creating', seen);
      }
    }
    if (isResetPending(branch)) open.delete(id);
    const first = resetBefore(store, branch);
    if (first !== undefined) return waitForReset(branch, first);
    const readers = toSeeBefore(store, branch);
    if (readers.length > 0) {
      const result = await stayFor(branch, readers, ctx);
      if (result !== undefined) return result;
    }
    const seen = await walk(branch, await wishOf(branch), ctx);
    if (seen.failure !== undefined) {
      const { code, params, output } = seen.failure;
      const error = new OffshootError(code, params, output === undefined ? {} : { output });
      const result = await fail(branch, seen, error);
      return seen.waits === undefined ? result : { until: [seen.waits] };
    }
    if (seen.waits !== undefined) return wait(branch, seen, seen.waits);
    if (seen.endpoint === undefined) return fail(branch, seen, endsByItself(branch, seen.exits));
    const trialMs = trialLeft(seen.exits);
    if (trialMs > 0) {
      await fail(branch, onTrial(seen), endsByItself(branch, seen.exits));
      return { again: trialMs };
    }
    await succeed(branch, seen, seen.endpoint);
    return;
  };

  /** What it is a copy of begins anew first. */
  const waitForReset = async (branch: Stored<'branch'>, first: Stored<'branch'>): Promise<Result> => {
    const message = `waits until ${first.spec.name} has begun anew`;
    await store.modify('branch', branch.name, ({ status }) => ({
      status: { ...(status ?? statusOf('creating', [], branch.generation)), state: 'creating', message },
    }));
    return { until: [topicOf.branch(first.name)] };
  };

  /**
   * It is not reset before those have their copy who asked for it before. They need its server, mostly.
   * @returns undefined when it cannot run: nobody can copy from it then
   */
  const stayFor = async (
    branch: Stored<'branch'>,
    readers: readonly Stored<'branch'>[],
    ctx: Ctx,
  ): Promise<Result | undefined> => {
    const { reset: _, ...wish } = await wishOf(branch);
    const asBefore: BranchWish = { ...wish, ...(branch.status?.made && { made: true }) };
    const seen = await walk(branch, asBefore, ctx);
    if (seen.endpoint === undefined && seen.waits === undefined) return undefined;
    const names = readers.map(r => r.spec.name).join(', ');
    await setStatus(branch, 'creating', { ...seen, volume: waitsFor(names) });
    return { until: [...readers.map(r => topicOf.branch(r.name)), ...(seen.waits ? [seen.waits] : [])] };
  };

  /** Another start was asked for: what runs ends first. */
  const endForRestart = async (branch: Stored<'branch'>, ctx: Ctx): Promise<void> => {
    const { name: id } = branch;
    open.delete(id);
    await node.stop(id, ctx);
    ended.delete(id);
    await store.modify('branch', id, ({ status }) => {
      const now = status ?? statusOf('creating', [], branch.generation);
      return { status: { ...now, tries: triesOf(branch.secret) } };
    });
  };

  /** Takes step after step until the branch is ready, waits or has failed. How far it came is written meanwhile. */
  const walk = async (branch: Stored<'branch'>, wish: BranchWish, ctx: Ctx): Promise<BranchSeen> => {
    const step = () => node.ensure(branch.name, wish, ctx);
    /** At most one word at a time: where writing takes longer than a step, not every step is told. */
    let told: Promise<unknown> | undefined;
    let telling = false;
    const tell = (seen: BranchSeen) => {
      if (telling || branch.status?.state === 'ready') return;
      telling = true;
      told = setStatus(branch, 'creating', inProgress(seen)).finally(() => {
        telling = false;
      });
      told.catch(() => {}); // thrown below
    };
    try {
      let seen = await step();
      for (let steps = 1; steps < MOST_STEPS && !isEnd(seen); steps++) {
        tell(seen);
        seen = await step();
      }
      return seen;
    } finally {
      await told; // or it would be written after what comes later
    }
  };

  const succeed = async (branch: Stored<'branch'>, seen: BranchSeen, endpoint: BranchEndpoint) => {
    const { name: id, spec, secret } = branch;
    const { status } = store.get('branch', id) ?? branch;
    open.set(id, { endpoint, password: secret.password });
    outOfRoom.delete(id);
    const now = store.get('branch', id);
    if (now?.secret.password === secret.password && now.spec.reset?.count === spec.reset?.count)
      logins.admit(id, endpoint);
    const message = `branch ${spec.name} of project ${spec.project} accepts connections`;
    await Promise.all([
      status?.state === 'ready' ? undefined : record(branch, 'info', 'Ready', message),
      setStatus(branch, 'ready', seen, undefined, {
        endpoint: deps.door === undefined ? endpoint : { ...deps.door, branch: id },
        rotation: secret.rotation ?? 0,
      }),
    ]);
    deps.tell(topicOf.branch(id));
  };

  const wait = async (branch: Stored<'branch'>, seen: BranchSeen, topic: Topic): Promise<Result> => {
    open.delete(branch.name);
    await setStatus(branch, 'creating', seen);
    const { parent, reset } = branch.spec;
    for (const source of [parent, reset?.from])
      if (source !== undefined && topic === topicOf.branch(source)) deps.add(source);
    return { until: [topic] };
  };

  const fail = async (branch: Stored<'branch'>, seen: BranchSeen, error: OffshootError): Promise<Result> => {
    const { name: id, status } = branch;
    open.delete(id);
    const reason = await setStatus(branch, 'failed', seen, error);
    const full = roomProblem(id, error);
    if (full === undefined) outOfRoom.delete(id);
    else outOfRoom.set(id, full);
    if (full !== undefined && status?.reason !== reason)
      await record(branch, 'warning', reason, error.message);
    logins.refuse(id, full ?? notReady(id, reason));
    // An earlier process may have counted, too.
    const times = seen.exits.count - UNSTEADY;
    return { failed: error, ...(error.code === 'postgres/ends' && times > 0 && { times }) };
  };

  /** In the trash: its volume stays, its server does not, until its time is over or it is wanted back. */
  const rest = async (branch: Stored<'branch'>, ctx: Ctx): Promise<Result> => {
    const { name: id } = branch;
    open.delete(id);
    ended.delete(id);
    logins.refuse(id, unknown(id));
    await node.stop(id, ctx);
    if (store.get('project', branch.spec.project) !== undefined)
      await node.note(id, await wishOf(branch), ctx);
    await setStatus(branch, 'trashed', await node.observe(id, ctx));
    const left = await expire(store, branch, now());
    if (left !== undefined) return { again: left };
    return childrenOf(store, id).length === 0 ? undefined : { until: [topicOf.children(id)] };
  };

  const remove = async (branch: Stored<'branch'>, ctx: Ctx): Promise<Result> => {
    const { name: id, spec } = branch;
    open.delete(id);
    logins.refuse(id, unknown(id));
    // Refused when it was asked for; but whatever came to be since then must not lose what it grows from.
    const children = childrenOf(store, id);
    if (children.length > 0) {
      const staying = children.filter(c => c.deletedAt === undefined);
      const error = staying.length > 0 ? branchHasChildren(store, branch, staying) : undefined;
      await setStatus(branch, 'deleting', undefined, error);
      return { until: [topicOf.children(id)] };
    }
    if (branch.status?.state !== 'deleting') await setStatus(branch, 'deleting', undefined);
    try {
      await node.remove(id, ctx);
    } catch (thrown) {
      ctx.signal.throwIfAborted();
      const error = toOffshootError(thrown);
      const { message } = error;
      if (branch.status?.message !== message) await record(branch, 'warning', 'DeleteFailed', message);
      await setStatus(branch, 'deleting', undefined, error);
      throw thrown;
    }
    ended.delete(id);
    outOfRoom.delete(id);
    const message = `branch ${spec.name} of project ${spec.project} is gone`;
    await Promise.all([store.remove('branch', id), record(branch, 'info', 'Deleted', message)]);
    return;
  };

  const wishOf = async (branch: Stored<'branch'>): Promise<BranchWish> => {
    const { spec, createdAt } = branch;
    const project = store.get('project', spec.project)?.spec;
    if (project === undefined)
      throw new OffshootError('api/not-found', { kind: 'project', name: spec.project });
    const { status } = store.get('branch', branch.name) ?? branch;
    // A reset does not need what is lost.
    const made = status?.made && !isResetPending({ spec, status });
    return {
      project: spec.project,
      branch: spec.name,
      ...(spec.parent !== undefined && { parent: spec.parent }),
      ...(spec.owner !== undefined && { owner: spec.owner }),
      ...(spec.trashed !== undefined && { trashed: spec.trashed }),
      ...(spec.reset !== undefined && { reset: { count: spec.reset.count, from: spec.reset.from } }),
      createdAt,
      role: project.role,
      database: project.database,
      verifier: await verifierOf(branch),
      ...limitFor(branch.spec, project),
      ...(made && { made }),
      ...(branch.spec.parent === undefined && importFor(store, spec.project)),
    };
  };

  /** Made with the password, except by older versions. */
  const verifierOf = async ({ name, secret }: Stored<'branch'>): Promise<string> => {
    if (secret.verifier !== undefined) return secret.verifier;
    const made = await branchSecret(secret.password);
    await store.modify('branch', name, now =>
      now.secret.password === secret.password ? { secret: { ...now.secret, ...made } } : undefined,
    );
    return made.verifier;
  };

  /** @param seen undefined: nothing is there, or nothing that matters any more. @returns the reason */
  const setStatus = async (
    branch: Stored<'branch'>,
    state: BranchState,
    seen: BranchSeen | undefined,
    error?: OffshootError,
    open?: NonNullable<BranchStatus['open']>,
  ): Promise<string> => {
    const {
      conditions: before = [],
      made: wasMade = false,
      resets: done = 0,
    } = store.get('branch', branch.name)?.status ?? {};
    const resets = seen?.record?.resets ?? done;
    const { condition } = expiryOf(store, store.get('branch', branch.name) ?? branch, now());
    const conditions = seen === undefined ? [] : conditionsOf(seen, before, now(), condition);
    const status = statusOf(state, conditions, branch.generation, {
      ...(error !== undefined && { error }),
      ...(seen !== undefined && { seen }),
      tries: triesOf(branch.secret),
      made: wasMade || seen?.record !== undefined,
      resets,
      ...(open !== undefined && { open }),
    });
    // Once another start is asked for, or a reset, nothing is said any more of what was before.
    await store.modify('branch', branch.name, ({ secret, spec }) =>
      triesOf(secret) === triesOf(branch.secret) && spec.reset?.count === branch.spec.reset?.count
        ? { status }
        : undefined,
    );
    if (resets > done && branch.spec.reset !== undefined) {
      const from = store.get('branch', branch.spec.reset.from)?.spec.name ?? branch.spec.reset.from;
      await record(
        branch,
        'info',
        'Reset',
        `branch ${branch.spec.name} has begun anew from what ${from} holds`,
      );
    }
    const isNew = !hasVolume(before) && hasVolume(conditions);
    if (isNew && seen?.record?.emptied !== undefined)
      await record(
        branch,
        'warning',
        'UnloggedTablesEmptied',
        `branch ${branch.spec.name} is ${seen.volume.message}`,
      );
    return status.reason;
  };

  const record = (branch: Stored<'branch'>, severity: 'info' | 'warning', reason: string, message: string) =>
    store.record({ kind: 'branch', name: branch.name, severity, reason, message });

  /** Whoever sends somebody here may have heard of the branch a moment before us. */
  const hearOf = async (id: string, signal: AbortSignal): Promise<BranchEndpoint> => {
    const limit = AbortSignal.timeout(deps.unheardMs ?? 5_000);
    try {
      return await logins.wait(id, AbortSignal.any([signal, limit]));
    } catch (error) {
      throw limit.aborted && store.get('branch', id) === undefined ? unknown(id) : error;
    }
  };

  const awake: BranchReconciler['awake'] = async (id, signal) => {
    const branch = store.get('branch', id);
    if (branch === undefined && deps.door !== undefined) return hearOf(id, signal);
    if (branch === undefined || branch.deletedAt !== undefined || isTrashed(branch)) throw unknown(id);
    const there = open.get(id);
    // After a rotation the old password must not open the door any more.
    if (there?.password === branch.secret.password && !isResetPending(branch)) return there.endpoint;
    if (branch.status?.state === 'failed') throw outOfRoom.get(id) ?? notReady(id, branch.status.reason);
    if (logins.size(id) === 0) deps.add(id);
    return logins.wait(id, signal);
  };

  return { reconcile, awake };
}

// --- internal -----------------------------------------------------------------------------------

/** Volume, server, access, and a last look. More would be a server that ends before the next step. */
const MOST_STEPS = 4;

/** How long the trash keeps what is put there, when nobody says. */
export const A_DAY_MS = 86_400_000;

/** Ends in a row from which on a server is not trusted to stay. */
const UNSTEADY = 2;

/** Milliseconds that such a server must have lived before anybody is told that it is ready. */
const TRIAL_MS = 10_000;

const triesOf = (of: { readonly tries?: number } | null): number => of?.tries ?? 0;

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

const hasVolume = (conditions: readonly Condition[]): boolean =>
  conditions.some(c => c.type === 'VolumeReady' && c.status === 'True');

const isEnd = ({ endpoint, waits, failure }: BranchSeen): boolean =>
  endpoint !== undefined || waits !== undefined || failure !== undefined;

const trialLeft = ({ count, upMs = 0 }: ServerExits): number =>
  count < UNSTEADY ? 0 : Math.max(0, TRIAL_MS - upMs);

/** Those that are to be copied from it first. */
const waitsFor = (names: string): BranchPhase => ({
  status: 'False',
  reason: 'Resetting',
  message: `begins anew when these have been made, which were asked for before: ${names}`,
});

/** What is not there yet is not said to be wrong while it is being made. */
const inProgress = (seen: BranchSeen): BranchSeen => {
  const soften = (phase: BranchPhase): BranchPhase =>
    phase.status === 'False' ? { status: 'Unknown', reason: 'InProgress', message: 'is being made' } : phase;
  return { ...seen, volume: soften(seen.volume), server: soften(seen.server), access: soften(seen.access) };
};

const onTrial = (seen: BranchSeen): BranchSeen => ({
  ...seen,
  server: {
    status: 'False',
    reason: 'ServerUnsteady',
    message: `PostgreSQL runs again; it ended by itself ${seen.exits.count} times in a row, so it is watched for a while first`,
  },
  access: { status: 'Unknown', reason: 'Waiting', message: 'waits for ServerReady' },
});

const endsByItself = ({ name, spec }: Stored<'branch'>, { count, livedMs = 0 }: ServerExits): OffshootError =>
  new OffshootError('postgres/ends', { id: name, branch: spec.name, count, lived: `${livedMs / 1000} s` });

/** What a login is told of a branch that does not run for want of room; undefined when that is not why. */
function roomProblem(id: string, { code, params }: OffshootError): OffshootError | undefined {
  if (code === 'branch/over-limit')
    return new OffshootError('gateway/branch-stopped', { branch: id, limit: params.limit });
  return code === 'branch/no-room' ? new OffshootError('gateway/branch-stopped', { branch: id }) : undefined;
}
