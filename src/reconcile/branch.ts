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
import type { Clock } from '../lib/clock.ts';
import type { Log } from '../lib/log.ts';
import { type BranchEndpoint, type BranchState, type BranchStatus, sleepAfter } from '../model/branch.ts';
import { type Condition, reasonOf } from '../model/conditions.ts';
import { OffshootError, toOffshootError } from '../model/errors.ts';
import type { NodeDoor } from '../model/route.ts';
import { settingsKey } from '../model/server-settings.ts';
import { isTrashed } from '../model/trash.ts';
import { childrenOf } from '../rules/branches.ts';
import { expireBranch } from '../rules/expiry.ts';
import { branchHasChildren } from '../rules/offspring.ts';
import { isResetPending, resetBefore, toSeeBefore } from '../rules/reset.ts';
import { hasWork, pendingCall } from '../rules/sleep.ts';
import { expire } from '../rules/trash.ts';
import type { Store, Stored } from '../store/contract.ts';
import { notReady, unknown } from './awake-by-status.ts';
import { EXPIRES, type Expiry, expiryOf } from './branch-expiry.ts';
import { conditionsOf, statusOf } from './branch-status.ts';
import { settingsOf, wishOf } from './branch-wish.ts';
import { type Uses, watchIdle } from './idle.ts';
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
  /** Who uses which branch; undefined: nobody tells. */
  readonly uses?: Uses | undefined;
  /** Waits until nobody is led to a server any more whose address is told to none. @returns false when that took too long */
  readonly routed: () => Promise<unknown>;
  /** Milliseconds that a branch whose time is over can be had back; 0: not at all. Default: a day. */
  readonly trashMs?: number;
  readonly now: () => Date;
  /** Of the time that a branch was not used; default: the real one. */
  readonly clock?: Clock;
  readonly log: Log;
};

export type BranchReconciler = {
  reconcile(id: string, signal: AbortSignal): Promise<Result>;
  /**
   * Where the branch's server listens; wakes one that is asleep, and waits for one that is still starting.
   * @param quiet who asks does not want to get there: nobody is woken for it
   * @throws OffshootError gateway/branch-unknown, gateway/branch-not-ready
   */
  awake(id: string, signal: AbortSignal, quiet?: boolean): Promise<BranchEndpoint>;
  close(): void;
};

export function branchReconciler(deps: BranchDeps): BranchReconciler {
  const { store, branches: node, now } = deps;
  /** Branches that are ready, and the password with which they are; what `awake` answers from. */
  const open = new Map<string, Opened>();
  const logins = createWaitingRoom<BranchEndpoint>();
  /** Those that are just falling asleep. */
  const falling = new Set<string>();
  /** Servers whose end has not been looked at yet. */
  const ended = new Set<string>();
  /** Those whose server others need, be it that nobody logs in. */
  const needed = new Set<string>();
  const idle = watchIdle(id => deps.add(id), deps.uses, deps.clock);
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
    const slept = await staysAsleep(branch, ctx);
    if (slept) return;
    if (isResetPending(branch)) open.delete(id);
    const first = resetBefore(store, branch);
    if (first !== undefined) return waitForReset(branch, first);
    const readers = toSeeBefore(store, branch);
    if (readers.length > 0) {
      const result = await stayFor(branch, readers, ctx);
      if (result !== undefined) return result;
    }
    // It is started anew; who comes now waits for that.
    if (open.get(id)?.settings !== settingsKey(settingsOf(store, branch))) open.delete(id);
    const seen = await walk(branch, await wishOf(store, branch), ctx);
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
    return await mayFallAsleep(branch, seen, seen.endpoint, ctx);
  };

  const isWanted = (branch: Stored<'branch'>): boolean =>
    logins.size(branch.name) > 0 ||
    needed.has(branch.name) ||
    pendingCall(branch)?.wanted === 'awake' ||
    hasWork(store, branch);

  /** Whether it is asleep, and nobody wants it. A daemon that died may have left its server. */
  const staysAsleep = async (branch: Stored<'branch'>, ctx: Ctx): Promise<boolean> => {
    const { name: id, status } = branch;
    if (status?.state !== 'asleep' || isWanted(branch)) return false;
    const { seen, busy } = await node.sleep(id, await wishOf(store, branch), false, ctx);
    if (busy !== undefined || seen.record === undefined) return false;
    await setStatus(branch, 'asleep', seen, { open: openAt(branch) });
    return true;
  };

  /**
   * Who looks up a branch has said before that he uses it. So when all proxies know that its address is nowhere any more, those
   * who were faster are known too; who comes later asks us, and waits until it has slept.
   */
  const mayFallAsleep = async (
    branch: Stored<'branch'>,
    seen: BranchSeen,
    endpoint: BranchEndpoint,
    ctx: Ctx,
  ): Promise<Result> => {
    const { name: id, spec } = branch;
    const call = pendingCall(branch);
    const isCalled = call?.wanted === 'asleep';
    if (!isCalled && !idle.isDue(id)) return;
    if (!isCalled && isWanted(branch)) {
      idle.touch(id);
      return;
    }
    const force = call?.force ?? false;
    open.delete(id);
    falling.add(id);
    try {
      if (deps.door === undefined) await setStatus(branch, 'ready', seen, {});
      const isRouted = deps.door !== undefined || (await deps.routed()) !== false;
      if (!isRouted && !force) {
        // A proxy does not answer, and may lead somebody to it.
        idle.touch(id);
        await succeed(branch, seen, endpoint);
        return isCalled ? { again: UNTOLD_MS } : undefined;
      }
      const why = whyAwake(branch, force);
      const slept =
        why === undefined ? await node.sleep(id, await wishOf(store, branch), force, ctx) : { busy: why };
      if (slept.busy !== undefined || !('seen' in slept)) {
        idle.touch(id);
        await succeed(branch, seen, endpoint, isCalled ? slept.busy : undefined);
        return;
      }
      idle.leave(id);
      const how = isCalled ? 'as it was told to' : `for nobody has used it`;
      await Promise.all([
        setStatus(branch, 'asleep', slept.seen, { open: openAt(branch) }),
        record(branch, 'info', 'Asleep', `branch ${spec.name} of project ${spec.project} sleeps, ${how}`),
      ]);
    } finally {
      falling.delete(id);
    }
  };

  const whyAwake = (branch: Stored<'branch'>, force: boolean): string | undefined => {
    const { name: id } = branch;
    if (hasWork(store, branch)) return 'its data are coming, or are about to be replaced';
    if (logins.size(id) > 0) return 'somebody logs in';
    return idle.isUsed(id) && !force ? 'sessions are open' : undefined;
  };

  /** Where others are led to a branch that is asleep: a door knows how to wake it. */
  const openAt = ({ name: id, secret }: Stored<'branch'>): BranchStatus['open'] =>
    deps.door && { endpoint: { ...deps.door, branch: id }, rotation: secret.rotation ?? 0 };

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
    const { reset: _, ...wish } = await wishOf(store, branch);
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

  const succeed = async (
    branch: Stored<'branch'>,
    seen: BranchSeen,
    endpoint: BranchEndpoint,
    staysAwake?: string,
  ) => {
    const { name: id, spec, secret } = branch;
    const { status } = store.get('branch', id) ?? branch;
    const settings = settingsKey(settingsOf(store, branch));
    open.set(id, { endpoint, password: secret.password, settings });
    outOfRoom.delete(id);
    needed.delete(id);
    idle.watch(id, sleepAfter(spec, store.get('project', spec.project)?.spec));
    const now = store.get('branch', id);
    if (now?.secret.password === secret.password && now.spec.reset?.count === spec.reset?.count)
      logins.admit(id, endpoint);
    const message = `branch ${spec.name} of project ${spec.project} accepts connections`;
    await Promise.all([
      status?.state === 'ready' ? undefined : record(branch, 'info', 'Ready', message),
      setStatus(branch, 'ready', seen, {
        open: openAt(branch) ?? { endpoint, rotation: secret.rotation ?? 0 },
        // A call to sleep is heeded when it sleeps, or cannot.
        heeds: staysAwake !== undefined || pendingCall(branch)?.wanted !== 'asleep',
        staysAwake,
      }),
    ]);
    deps.tell(topicOf.branch(id));
  };

  const wait = async (branch: Stored<'branch'>, seen: BranchSeen, topic: Topic): Promise<Result> => {
    open.delete(branch.name);
    await setStatus(branch, 'creating', seen);
    const { parent, reset } = branch.spec;
    for (const source of [parent, reset?.from])
      if (source !== undefined && topic === topicOf.branch(source)) {
        needed.add(source);
        deps.add(source);
      }
    return { until: [topic] };
  };

  const fail = async (branch: Stored<'branch'>, seen: BranchSeen, error: OffshootError): Promise<Result> => {
    const { name: id, status } = branch;
    open.delete(id);
    idle.leave(id);
    const reason = await setStatus(branch, 'failed', seen, { error });
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
    idle.leave(id);
    needed.delete(id);
    ended.delete(id);
    logins.refuse(id, unknown(id));
    await node.stop(id, ctx);
    if (store.get('project', branch.spec.project) !== undefined)
      await node.note(id, await wishOf(store, branch), ctx);
    await setStatus(branch, 'trashed', await node.observe(id, ctx));
    const left = await expire(store, branch, now());
    if (left !== undefined) return { again: left };
    return childrenOf(store, id).length === 0 ? undefined : { until: [topicOf.children(id)] };
  };

  const remove = async (branch: Stored<'branch'>, ctx: Ctx): Promise<Result> => {
    const { name: id, spec } = branch;
    open.delete(id);
    idle.leave(id);
    needed.delete(id);
    logins.refuse(id, unknown(id));
    // Refused when it was asked for; but whatever came to be since then must not lose what it grows from.
    const children = childrenOf(store, id);
    if (children.length > 0) {
      const staying = children.filter(c => c.deletedAt === undefined);
      const error = staying.length > 0 ? branchHasChildren(store, branch, staying) : undefined;
      if (error !== undefined && branch.status?.message !== error.message)
        await record(branch, 'warning', reasonOf(error.code), error.message);
      await setStatus(branch, 'deleting', undefined, { error });
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
      await setStatus(branch, 'deleting', undefined, { error });
      throw thrown;
    }
    ended.delete(id);
    outOfRoom.delete(id);
    const message = `branch ${spec.name} of project ${spec.project} is gone`;
    await Promise.all([store.remove('branch', id), record(branch, 'info', 'Deleted', message)]);
    return;
  };

  /** @param seen undefined: nothing is there, or nothing that matters any more. @returns the reason */
  const setStatus = async (
    branch: Stored<'branch'>,
    state: BranchState,
    seen: BranchSeen | undefined,
    { error, open, heeds = SETTLED.has(state), staysAwake }: Said = {},
  ): Promise<string> => {
    const {
      conditions: before = [],
      made: wasMade = false,
      resets: done = 0,
      called: heeded = 0,
      staysAwake: said,
      import: imported,
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
      called: heeds ? (branch.spec.called?.count ?? 0) : heeded,
      staysAwake: state === 'ready' ? (staysAwake ?? (pendingCall(branch) ? undefined : said)) : undefined,
      // Who is asleep is not looked at for it.
      ...(state === 'asleep' && imported !== undefined && { imported }),
      ...(open !== undefined && { open }),
    });
    // Once another start is asked for, a reset or another call, nothing is said any more of what was before.
    await store.modify('branch', branch.name, ({ secret, spec }) =>
      triesOf(secret) === triesOf(branch.secret) &&
      spec.reset?.count === branch.spec.reset?.count &&
      spec.called?.count === branch.spec.called?.count
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

  const awake: BranchReconciler['awake'] = async (id, signal, quiet = false) => {
    const branch = store.get('branch', id);
    if (branch === undefined && deps.door !== undefined) return hearOf(id, signal);
    if (branch === undefined || branch.deletedAt !== undefined || isTrashed(branch)) throw unknown(id);
    const there = open.get(id);
    // After a rotation the old password must not open the door any more.
    if (there?.password === branch.secret.password && !isResetPending(branch)) return there.endpoint;
    if (branch.status?.state === 'failed') throw outOfRoom.get(id) ?? notReady(id, branch.status.reason);
    if (quiet && (falling.has(id) || branch.status?.state === 'asleep')) throw notReady(id, 'Asleep');
    if (logins.size(id) === 0) deps.add(id);
    return logins.wait(id, signal);
  };

  return { reconcile, awake, close: idle.close };
}

// --- internal -----------------------------------------------------------------------------------

/** A branch that is ready: where, with which password, and with which settings (`settingsKey`). */
type Opened = { readonly endpoint: BranchEndpoint; readonly password: string; readonly settings: string };

/** Volume, server, access, and a last look. More would be a server that ends before the next step. */
const MOST_STEPS = 4;

/** What else there is to be said of a branch. */
type Said = {
  readonly error?: OffshootError | undefined;
  readonly open?: BranchStatus['open'];
  /** The newest call to sleep or to wake has had its answer; default: with every state that is not on the way to another. */
  readonly heeds?: boolean;
  readonly staysAwake?: string | undefined;
};

/** Milliseconds until a call to sleep is heeded again that a proxy could not be told of. */
const UNTOLD_MS = 500;

const SETTLED: ReadonlySet<BranchState> = new Set(['asleep', 'failed', 'trashed']);

/** How long the trash keeps what is put there, when nobody says. */
export const A_DAY_MS = 86_400_000;

/** Ends in a row from which on a server is not trusted to stay. */
const UNSTEADY = 2;

/** Milliseconds that such a server must have lived before anybody is told that it is ready. */
const TRIAL_MS = 10_000;

const triesOf = (of: { readonly tries?: number } | null): number => of?.tries ?? 0;

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
