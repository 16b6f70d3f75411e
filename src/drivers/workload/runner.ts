/** How the program of a container is started, found again and ended. Types only. */
import type { Surroundings } from '../../model/surroundings.ts';
import type { Exit, Running } from '../processes/contract.ts';
import type { ContainerPlan } from './container-plan.ts';
import type { Health } from './health.ts';

export type Inside = Omit<Surroundings, 'pod' | 'container'>;

export type Runner = {
  /** What runs of it, be it of an earlier daemon. */
  find(): Running | undefined;
  /** How it ended while no daemon was there; undefined: nothing has ended, or nobody knows. */
  unseenEnd(signal: AbortSignal): Promise<Exit | undefined>;
  /**
   * Nothing of an earlier life is there any more. @param plan with everything filled in
   * @param tell called with why it takes long
   * @throws StartProblem; the signal's reason, and then nothing was started
   */
  start(plan: ContainerPlan, signal: AbortSignal, tell: (health: Health) => void): Promise<Running>;
  /** Completes what was seen of its end by what it has left behind. */
  exitOf(exit: Exit): Exit;
  /** Runs a short program where it runs. @throws an error whose sentence names the program and what was wrong */
  run(
    plan: ContainerPlan,
    argv: readonly string[],
    deadlineMs: number,
    signal: AbortSignal,
  ): Promise<unknown>;
  /** Where it runs, for others who enter; absent: see the drivers. @returns or why nobody can */
  inside?(plan: ContainerPlan): Promise<Inside | { readonly why: string }>;
  /** Asks it to end, and kills what is left after the grace. Returns when nothing is left. */
  end(graceMs: number): Promise<void>;
};
