import type { Problem } from './plan.ts';

/** Why a process could not be started. */
export class StartProblem extends Error {
  readonly problem: Problem;

  constructor(reason: string, message: string) {
    super(message);
    this.name = 'StartProblem';
    this.problem = { reason, message };
  }
}
