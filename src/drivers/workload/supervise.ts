/**
 * Keeps one process running: starts or adopts it, watches it, starts it again with growing pauses. The
 * whole life is one loop, so there is never a second copy.
 */
import { once } from 'node:events';
import { statSync } from 'node:fs';
import { isAlive } from '../../lib/process.ts';
import { delay } from '../../lib/wait.ts';
import type { Running } from '../processes/contract.ts';
import { type Health, watchHealth } from './health.ts';
import type { House } from './house.ts';
import { environmentOf, launch, type Place, problemOf, StartProblem } from './launch.ts';
import { type Problem, type ProcessPlan, processHash, sameProcess, withPorts } from './plan.ts';
import { checkProbe, type ProbeTarget } from './probe.ts';
import type { ProcessRecord } from './state-file.ts';

export type Supervised = {
  health(): Health;
  /** Another plan replaces the process, and ends a pause at once; the same one does nothing; none ends it. */
  change(plan: ProcessPlan | undefined): void;
  /** Ends a pause after a failure; what was seen of that is forgotten. */
  tryNow(): void;
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
  let next = starting; // what is reported when the turn has ended
  let pausing = false;

  const done = Promise.resolve().then(keepRunning); // later, when the keeper knows us

  return {
    health: () => health,
    change(to) {
      const same = plan === undefined ? to === undefined : to !== undefined && sameProcess(plan, to);
      plan = to;
      if (same) {
        if (to !== undefined) record.fits = processHash(to);
        return;
      }
      begin(replaced); // at once: what still runs is not what was asked for
    },
    tryNow() {
      if (pausing) begin(starting);
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
          return problemOfError(error);
        });
        pauseMs = restartPause(pauseMs, performance.now() - since);
        const message = `${problem.message}; starts again after ${pauseMs / 1000} s`;
        report({ ready: false, reason: problem.reason, message });
        pausing = true;
        await delay(pauseMs, signal);
      } catch (error) {
        if (!signal.aborted) throw error;
        pauseMs = undefined;
        turn = new AbortController();
        report(next);
      } finally {
        pausing = false;
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
    const before = house.processes.find(place.part);
    if (before !== undefined && record.fits === fits) return before;
    await endProcess();
    record.fits = fits;
    const earlier = record.ports;
    record.ports = {};
    for (const port of current.containerPorts) record.ports[port] = await house.ports.choose(earlier[port]);
    for (const port of Object.values(earlier))
      if (!Object.values(record.ports).includes(port)) house.ports.release(port);
    record.logStart = sizeOf(place.logFile);
    keeper.save(); // first, because its ports are on record nowhere else
    keeper.changed(); // others may wait for the ports
    return await launch(withPorts(current, record.ports), place, house, signal);
  }

  async function ownEnd({ ended }: Running, current: ProcessPlan): Promise<Problem> {
    return problemOf(current, await ended);
  }

  async function badHealth({ leader }: Running, current: ProcessPlan, signal: AbortSignal): Promise<Problem> {
    const { ports } = record;
    const env = environmentOf(withPorts(current, ports), place.part, house);
    const target: ProbeTarget = {
      ports,
      run: (argv, deadlineMs, ended) =>
        house.processes.runIn(place.part, { argv, cwd: current.cwd, env }, { deadlineMs, signal: ended }),
    };
    const why = await watchHealth(current.probes, {
      signal,
      report: now => {
        if (!signal.aborted) report(now);
      },
      // An answer counts only while the process lives: somebody else may have taken its port.
      check: async probe =>
        (await checkProbe(probe, target, signal)) ?? (isAlive(leader) ? undefined : 'the process is gone'),
    });
    return { reason: 'CrashLoopBackOff', message: `container "${current.container}": ${why}` };
  }

  function problemOfError(error: unknown): Problem {
    if (error instanceof StartProblem) return error.problem;
    house.log.error({ part: place.part, err: error }, 'cannot keep process');
    return { reason: 'StartFailed', message: (error as Error).message };
  }

  /** All that it has started ends with it. */
  async function endProcess(): Promise<void> {
    await house.processes.end(place.part, [['SIGTERM', GRACE_MS]]);
  }

  /** Whatever is done now gives way to a new start. */
  function begin(as: Health): void {
    record.restarts = 0;
    record.logStart = sizeOf(place.logFile);
    next = as;
    turn.abort();
    report(as);
  }

  function report(now: Health): void {
    health = now;
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

const sizeOf = (file: string): number => statSync(file, { throwIfNoEntry: false })?.size ?? 0;

async function idle(signal: AbortSignal): Promise<never> {
  await once(signal, 'abort');
  throw signal.reason;
}
