/**
 * Keeps one container of a pod going: starts or adopts it, watches it, starts it again with growing pauses, until it has
 * ended for good or is stopped. The whole life is one loop, so there is never a second copy.
 */
import { dial } from '../../lib/dial.ts';
import { logSize } from '../../lib/log-file.ts';
import { isAlive } from '../../lib/process.ts';
import { delay, orAborted } from '../../lib/wait.ts';
import type { Running } from '../processes/contract.ts';
import type { ContainerPlan } from './container-plan.ts';
import { engineRunner } from './engine-runner.ts';
import { type Health, watchHealth } from './health.ts';
import { runHook } from './hook.ts';
import type { House } from './house.ts';
import { type Place, problemOf } from './launch.ts';
import type { Problem, RestartPolicy } from './plan.ts';
import { checkProbe, type ProbeTarget } from './probe.ts';
import { processRunner } from './process-runner.ts';
import type { Inside } from './runner.ts';
import { StartProblem } from './start-problem.ts';
import type { ContainerRecord } from './state-file.ts';

export type Container = {
  health(): Health;
  /** It lives again, and its health still tells of the life before. */
  isBehind(): boolean;
  /** Runs, and its startup probe has succeeded; or it has ended for good. Rejects when it is stopped before. */
  readonly started: Promise<void>;
  /** It has ended for good, and how. Rejects when it is stopped before. */
  readonly done: Promise<'succeeded' | 'failed'>;
  /** Where it runs, for others who enter. @returns or why nobody can */
  inside(): Promise<Inside | { readonly why: string }>;
  /** Ends a pause after a failure; what was seen of that is forgotten. */
  tryNow(): void;
  /** Returns when no process is left. @param graceMs from the request to end until the kill */
  stop(graceMs: number): Promise<void>;
};

export type Keeper = {
  readonly place: Place;
  readonly house: House;
  readonly restartPolicy: RestartPolicy;
  readonly graceMs: number;
  /** The plan with everything in place that is chosen when it starts, and the local ports. */
  prepare(): Promise<{ plan: ContainerPlan; ports: Readonly<Record<number, number>> }>;
  /** The same of a process that runs already. */
  current(): { plan: ContainerPlan; ports: Readonly<Record<number, number>> };
  /** What is to be reached cannot be. @returns whether there is a way now that was not there */
  unreached(leader: number): Promise<boolean>;
  /** It is ready: what is to be said of how it listens? */
  listens(leader: number): Promise<void>;
  /** The record changed: resolves when that is on disk. Rejects with the system's error. */
  save(): Promise<void>;
  /** Health or the number of restarts changed. */
  changed(): void;
};

/** @param record of an earlier life, or an empty one; changed as the container lives */
export function keepContainer(record: ContainerRecord, keeper: Keeper): Container {
  const { place, house, restartPolicy } = keeper;
  const { image } = keeper.current().plan;
  const runner =
    image === undefined
      ? processRunner(place, house, runsToItsEnd)
      : engineRunner(image, place, house, house.engine);
  const stopped = new AbortController();
  let turn = new AbortController(); // ends when it is to be tried now
  let health = starting;
  let behind = false;
  let pausing = false;
  let first = true; // what is there may be of an earlier daemon
  let fits: { plan: ContainerPlan; ports: Readonly<Record<number, number>> } | undefined;
  const started = Promise.withResolvers<void>();
  const done = Promise.withResolvers<'succeeded' | 'failed'>();
  for (const promise of [started.promise, done.promise]) promise.catch(() => {}); // not everybody asks

  const life = Promise.resolve().then(keepGoing); // later, when the keeper knows us

  return {
    health: () => health,
    isBehind: () => behind,
    started: started.promise,
    done: done.promise,
    async inside() {
      const there = await runner.inside?.((fits ?? keeper.current()).plan);
      return (
        there ?? {
          why: 'it runs in the container engine, which lets you in itself (docker exec, podman exec)',
        }
      );
    },
    tryNow() {
      record.restarts = 0;
      if (!pausing) return;
      newLog();
      turn.abort();
      report(starting);
    },
    async stop(graceMs) {
      stopped.abort(new Error('it is stopped'));
      await life;
      await endProcess(graceMs);
    },
  };

  async function keepGoing(): Promise<void> {
    let pauseMs: number | undefined;
    while (!stopped.signal.aborted && record.done === undefined) {
      const since = performance.now();
      try {
        const problem = await oneLife().catch(error => {
          if (stopped.signal.aborted) throw error;
          return problemOfError(error);
        });
        const how = endOf(problem);
        if (how !== undefined) {
          record.done = how;
          record.why = { reason: problem.reason, message: problem.message };
          if (problem.exitCode !== undefined) record.exitCode = problem.exitCode;
          await untilSaved(); // before anybody goes on, so that it does not begin again
          break;
        }
        pauseMs = restartPause(pauseMs, performance.now() - since);
        const message = `${problem.message}; starts again after ${pauseMs / 1000} s`;
        report({ ready: false, reason: problem.reason, message });
        pausing = true;
        await delay(pauseMs, AbortSignal.any([stopped.signal, turn.signal]));
      } catch (error) {
        if (!stopped.signal.aborted && !turn.signal.aborted) throw error;
        pauseMs = undefined;
        turn = new AbortController();
      } finally {
        pausing = false;
      }
    }
    if (record.done === undefined) {
      started.reject(stopped.signal.reason);
      done.reject(stopped.signal.reason);
    } else {
      if (record.why !== undefined) report({ ready: false, ...record.why });
      started.resolve();
      done.resolve(record.done);
    }
  }

  /** On a full disk, too, where it takes until there is room. Rejects when it is stopped. */
  async function untilSaved(): Promise<void> {
    for (let pauseMs: number | undefined; ; ) {
      try {
        return await keeper.save();
      } catch (err) {
        house.log.warn({ part: place.part, err }, 'how a container has ended is not on disk');
        pauseMs = restartPause(pauseMs, 0);
        await delay(pauseMs, stopped.signal);
      }
    }
  }

  /** @returns how it has ended for good; undefined: it starts again */
  function endOf({ reason }: Problem): 'succeeded' | 'failed' | undefined {
    const role = keeper.current().plan.role;
    if (role === 'sidecar') return undefined;
    const policy = role === 'init' && restartPolicy === 'Always' ? 'OnFailure' : restartPolicy;
    if (policy === 'Always') return undefined;
    if (reason === 'Completed') return 'succeeded';
    // What could not even be started may be there later.
    return policy === 'Never' && !NOT_STARTED.includes(reason) ? 'failed' : undefined;
  }

  /**
   * Rejects when the signal aborts, or with a StartProblem. No process is left, except on `stop`, which ends
   * it for its caller.
   * @returns why it ended by itself
   */
  async function oneLife(): Promise<Problem> {
    const over = new AbortController();
    const signal = AbortSignal.any([stopped.signal, over.signal]);
    let graceMs = keeper.graceMs;
    try {
      signal.throwIfAborted();
      const problem = (await unseenEnd(signal)) ?? (await untilEnd(signal));
      graceMs = problem.graceMs ?? graceMs;
      if (endOf(problem) === undefined) record.restarts++;
      report({ ready: false, reason: problem.reason, message: problem.message });
      return problem;
    } finally {
      over.abort();
      if (!stopped.signal.aborted) await endProcess(graceMs);
    }
  }

  async function untilEnd(signal: AbortSignal): Promise<End> {
    const running = await startOrAdopt(signal);
    // An init container is never ready: it ends.
    if (keeper.current().plan.role === 'init') return await orAborted(ownEnd(running), signal);
    return await Promise.race([ownEnd(running), badHealth(running, signal)]);
  }

  /** What has ended while no daemon was there, and has written how. */
  async function unseenEnd(signal: AbortSignal): Promise<End | undefined> {
    if (!first || runner.find() !== undefined) return undefined;
    first = false;
    const exit = await runner.unseenEnd(signal);
    return exit && problemOf(keeper.current().plan, exit);
  }

  /** What it says from now on is said in another life. */
  function newLog(): void {
    if (record.logStart !== undefined) record.logBefore = record.logStart;
    record.logStart = logSize(place.logFile);
  }

  async function startOrAdopt(signal: AbortSignal): Promise<Running> {
    first = false;
    const before = runner.find();
    if (before !== undefined) {
      fits = keeper.current();
      return before;
    }
    await endProcess(0); // what its earlier life has left
    signal.throwIfAborted();
    fits = await keeper.prepare();
    newLog();
    behind = health !== starting;
    await keeper.save(); // first, because its ports are on record nowhere else
    signal.throwIfAborted();
    keeper.changed(); // others may wait for the ports
    const running = await runner.start(fits.plan, signal, report);
    const { postStart } = fits.plan.hooks;
    if (postStart !== undefined) await afterStart(postStart, running, signal);
    return running;
  }

  async function afterStart(
    hook: NonNullable<ContainerPlan['hooks']['postStart']>,
    { ended }: Running,
    signal: AbortSignal,
  ): Promise<void> {
    const wrong = await Promise.race([
      runHook(hook, targetOf(), HOOK_MS, signal),
      ended.then(() => undefined), // that says more
    ]);
    if (wrong === undefined) return;
    await endProcess(keeper.graceMs);
    throw new StartProblem('PostStartHookError', `${named()}: its postStart hook failed: ${wrong}`);
  }

  async function ownEnd({ ended }: Running): Promise<Problem> {
    return problemOf(fits!.plan, runner.exitOf(await ended));
  }

  async function badHealth({ leader }: Running, signal: AbortSignal): Promise<End> {
    const { plan } = fits!;
    const { why, grace } = await watchHealth(runsToItsEnd() ? {} : plan.probes, {
      signal,
      started: started.resolve,
      report: now => {
        if (signal.aborted) return;
        report(now);
        if (now.ready) void keeper.listens(leader.pid);
      },
      // An answer counts only while the process lives: somebody else may have taken its port.
      check: async probe => {
        let wrong = await checkProbe(probe, targetOf(), signal);
        if (wrong !== undefined && (await keeper.unreached(leader.pid)))
          wrong = await checkProbe(probe, targetOf(), signal);
        return wrong ?? (isAlive(leader) ? undefined : 'the process is gone');
      },
    });
    return {
      reason: 'CrashLoopBackOff',
      message: `${named()}: ${why}`,
      ...(grace !== undefined && { graceMs: grace }),
    };
  }

  function targetOf(): ProbeTarget {
    const { plan, ports } = fits ?? keeper.current();
    const { network } = place;
    return {
      host: network?.ip ?? '127.0.0.1',
      ports,
      connect: (port, deadline) =>
        network === undefined ? dial({ host: '127.0.0.1', port }, deadline) : network.connect(port, deadline),
      run: (argv, deadlineMs, ended) => runner.run(plan, argv, deadlineMs, ended),
    };
  }

  function problemOfError(error: unknown): Problem {
    if (error instanceof StartProblem) return error.problem;
    house.log.error({ part: place.part, err: error }, 'cannot keep a container');
    return { reason: 'StartFailed', message: (error as Error).message };
  }

  /** All that it has started ends with it. The hook's time is part of the grace (Kubernetes, "Termination of Pods"). */
  async function endProcess(graceMs: number): Promise<void> {
    const end = performance.now() + graceMs;
    const { preStop } = keeper.current().plan.hooks;
    if (graceMs > 0 && preStop !== undefined && runner.find() !== undefined) {
      const signal = AbortSignal.timeout(graceMs);
      const wrong = await runHook(preStop, targetOf(), graceMs, signal).catch(error => String(error));
      if (wrong !== undefined) house.log.info({ part: place.part, wrong }, 'a preStop hook failed');
    }
    const leftMs = Math.max(graceMs === 0 ? 0 : AFTER_HOOK_MS, end - performance.now());
    await runner.end(leftMs);
  }

  function runsToItsEnd(): boolean {
    const { role } = keeper.current().plan;
    return role === 'init' || (role === 'main' && restartPolicy !== 'Always');
  }

  function named(): string {
    return `container "${keeper.current().plan.name}"`;
  }

  function report(now: Health): void {
    health = now;
    behind = false;
    keeper.changed();
  }
}

/**
 * Milliseconds until the next start: from half a second, doubled each time, to 30 s; from the beginning
 * again after a minute of good work.
 * @param before the pause before the life that just ended; undefined for the first
 * @param upMs how long that life was
 */
export const restartPause = (before: number | undefined, upMs: number): number =>
  before === undefined || upMs >= 60_000 ? 500 : Math.min(30_000, before * 2);

// --- internal -----------------------------------------------------------------------------------

/** Why a life is over. `graceMs`: the time that it gets, if not the usual one. */
type End = Problem & { readonly graceMs?: number };

/** A hook has no deadline in Kubernetes; here everything has one. */
const HOOK_MS = 10 * 60_000;
/** What is left for the program when its hook has taken all of the grace, as the kubelet gives it. */
const AFTER_HOOK_MS = 2_000;

/** Reasons of runners. */
const NOT_STARTED: readonly string[] = [
  ...['ConfigError', 'CommandNotFound', 'StartFailed'],
  ...['ErrImagePull', 'ErrImageNeverPull'],
];

export const starting: Health = { ready: false, reason: 'Starting', message: 'started' };
