/**
 * Keeps one process running: starts or adopts it, watches it, starts it again with growing pauses. The
 * whole life is one loop, so there is never a second copy.
 */
import { once } from 'node:events';
import { endGroup, isAlive } from '../../lib/process.ts';
import { delay } from '../../lib/wait.ts';
import { findPart, killPart } from '../labels.ts';
import { type Health, watchHealth } from './health.ts';
import type { House } from './house.ts';
import { adopt, environmentOf, launch, type Place, type Running, StartProblem } from './launch.ts';
import { type Problem, type ProcessPlan, processHash, sameProcess, withPorts } from './plan.ts';
import { checkProbe } from './probe.ts';
import type { ProcessRecord } from './state-file.ts';

export type Supervised = {
  health(): Health;
  /** Another plan replaces the process, and ends a pause at once; the same one does nothing; none ends it. */
  change(plan: ProcessPlan | undefined): void;
  /** Returns when no process is left. */
  stop(): Promise<void>;
};

export type Keeper = {
  readonly place: Place;
  readonly house: House;
  /** The record changed and must be on disk before we go on. */
  save(): void;
  /** Health or the number of restarts changed. */
  changed(): void;
};

/**
 * @param first by which a process that `record` names was started
 * @param record of an earlier life, or an empty one; changed as the process lives
 */
export function supervise(first: ProcessPlan, record: ProcessRecord, keeper: Keeper): Supervised {
  const { place, house } = keeper;
  const stopped = new AbortController();
  let turn = new AbortController(); // ends when the plan changes
  let plan: ProcessPlan | undefined = first;
  let health = starting;

  const done = Promise.resolve().then(keepRunning); // later, when the keeper knows us

  return {
    health: () => health,
    change(next) {
      const same = plan === undefined ? next === undefined : next !== undefined && sameProcess(plan, next);
      plan = next;
      if (same) {
        if (next !== undefined) record.fits = processHash(next);
        return;
      }
      health = replaced; // at once: what still runs is not what was asked for
      turn.abort();
    },
    async stop() {
      stopped.abort();
      await done;
      await endProcess();
      for (const port of Object.values(record.ports)) house.ports.release(port);
    },
  };

  async function keepRunning(): Promise<void> {
    let pauseMs: number | undefined;
    while (!stopped.signal.aborted) {
      const signal = AbortSignal.any([stopped.signal, turn.signal]);
      const since = performance.now();
      try {
        const problem = await oneLife(plan, signal).catch(error => {
          if (signal.aborted) throw error;
          return problemOf(error);
        });
        pauseMs = restartPause(pauseMs, performance.now() - since);
        const message = `${problem.message}; starts again after ${pauseMs / 1000} s`;
        report({ ready: false, reason: problem.reason, message });
        await delay(pauseMs, signal);
      } catch (error) {
        if (!signal.aborted) throw error;
        pauseMs = undefined;
        turn = new AbortController();
        report(replaced);
      }
    }
  }

  /**
   * Rejects when the signal aborts, or with a StartProblem. No process is left, except on `stop`, which ends
   * it for its caller.
   * @returns why it ended by itself
   */
  async function oneLife(current: ProcessPlan | undefined, signal: AbortSignal): Promise<Problem> {
    const over = new AbortController();
    const living = AbortSignal.any([signal, over.signal]);
    try {
      signal.throwIfAborted();
      if (current === undefined) return await idle(signal);
      const running = await startOrAdopt(current, living);
      const problem = await Promise.race([ownEnd(running, current), badHealth(running, current, living)]);
      record.restarts++;
      report({ ready: false, ...problem });
      return problem;
    } finally {
      over.abort();
      if (!stopped.signal.aborted) await endProcess();
    }
  }

  async function startOrAdopt(current: ProcessPlan, signal: AbortSignal): Promise<Running> {
    const fits = processHash(current);
    if (record.leader !== undefined) {
      if (record.fits === fits && isAlive(record.leader)) return adopt(record.leader, signal);
      await endProcess();
    }
    record.fits = fits;
    const before = record.ports;
    record.ports = {};
    for (const port of current.containerPorts) record.ports[port] = await house.ports.choose(before[port]);
    for (const port of Object.values(before))
      if (!Object.values(record.ports).includes(port)) house.ports.release(port);
    keeper.save(); // first, because a process that is not on record is found by its label, its ports are not
    keeper.changed(); // others may wait for the ports
    const running = await launch(withPorts(current, record.ports), place, house, signal);
    record.leader = running.leader;
    keeper.save();
    return running;
  }

  async function ownEnd({ ended }: Running, { container }: ProcessPlan): Promise<Problem> {
    const { how, completed } = await ended;
    return {
      reason: completed ? 'Completed' : 'CrashLoopBackOff',
      message: `container "${container}" ended: ${how}`,
    };
  }

  async function badHealth({ leader }: Running, current: ProcessPlan, signal: AbortSignal): Promise<Problem> {
    const { ports } = record;
    const target = {
      ports,
      cwd: current.cwd,
      env: environmentOf(withPorts(current, ports), place.part, house),
    };
    const why = await watchHealth(current.probes, {
      signal,
      report: next => {
        if (!signal.aborted) report(next);
      },
      // An answer counts only while the process lives: somebody else may have taken its port.
      check: async probe =>
        (await checkProbe(probe, target, signal)) ?? (isAlive(leader) ? undefined : 'the process is gone'),
    });
    return { reason: 'CrashLoopBackOff', message: `container "${current.container}": ${why}` };
  }

  function problemOf(error: unknown): Problem {
    if (error instanceof StartProblem) return error.problem;
    house.log.error({ part: place.part, err: error }, 'cannot keep process');
    return { reason: 'StartFailed', message: (error as Error).message };
  }

  /** Ends the leader and its group, and whoever left the group but still bears the label. */
  async function endProcess(): Promise<void> {
    const family = await findPart(house.instance, place.part);
    if (record.leader !== undefined) await endGroup(record.leader, { graceMs: GRACE_MS });
    await killPart(house.instance, place.part, family);
    delete record.leader;
  }

  function report(next: Health): void {
    health = next;
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

const GRACE_MS = 3_000;

const starting: Health = { ready: false, reason: 'Starting', message: 'started' };
const replaced: Health = { ...starting, message: 'started with a changed specification' };

async function idle(signal: AbortSignal): Promise<never> {
  await once(signal, 'abort');
  throw signal.reason;
}
