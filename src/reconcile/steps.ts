/**
 * Steps are a list; this is the one loop that walks it. A step says what it is for and what it found; the
 * walker writes the condition and stops at the first step that is not done.
 */
import { type Condition, reasonOf, setCondition } from '../model/conditions.ts';
import { type OffshootError, toOffshootError } from '../model/errors.ts';
import type { Topic } from './topics.ts';

/** What a step found. */
export type Outcome =
  | { readonly done: true; readonly reason: string; readonly message: string }
  | {
      readonly done: false;
      readonly reason: string;
      readonly message: string;
      /** Absent: what is missing wakes the key by itself. */
      readonly waits?: Waits;
      /** It has failed, and may go well the next time. */
      readonly failed?: OffshootError;
    };

/** What has to happen first; nothing is held meanwhile. */
export type Waits = {
  readonly until: readonly Topic[];
  /** Milliseconds after which to look anyway. */
  readonly again?: number;
  /** What stands in the way, when it does not go away by itself. */
  readonly why?: OffshootError;
};

/** Several waits as one; undefined when there is none. */
export function together(all: readonly (Waits | undefined)[]): Waits | undefined {
  const waits = all.filter(w => w !== undefined);
  if (waits.length === 0) return undefined;
  const times = waits.flatMap(w => (w.again === undefined ? [] : [w.again]));
  const why = waits.find(w => w.why !== undefined)?.why;
  return {
    until: [...new Set(waits.flatMap(w => w.until))],
    ...(times.length > 0 && { again: Math.min(...times) }),
    ...(why !== undefined && { why }),
  };
}

export type Step = {
  /** Type of the condition that this step stands for, e.g. ForksReady. */
  readonly condition: string;
  run(): Promise<Outcome>;
};

export type Walk = {
  readonly conditions: readonly Condition[];
  /** The step at which the walk stopped; undefined when all are done. */
  readonly stopped?: { readonly condition: string; readonly outcome: Outcome };
  /** What a step threw; its condition is already set. */
  readonly error?: unknown;
};

export type WalkOptions = {
  readonly now: () => Date;
  readonly signal: AbortSignal;
  readonly report: (conditions: readonly Condition[]) => Promise<void>;
};

/**
 * Walks `steps` in order. Steps behind the one that stopped get status Unknown, reason Waiting.
 * @param report called after each step, so that progress is seen while later steps still run
 * @throws the signal's reason once it aborts: being stopped is no outcome, and leaves no condition
 */
export async function walk(
  steps: readonly Step[],
  before: readonly Condition[],
  { now, signal, report }: WalkOptions,
): Promise<Walk> {
  let conditions = before;
  const set = (type: string, status: Condition['status'], reason: string, message: string) => {
    conditions = setCondition(conditions, { type, status, reason, message }, now().toISOString());
  };
  let stopped: Walk['stopped'];
  let failure: { error: unknown } | undefined;
  for (const step of steps) {
    if (stopped !== undefined) {
      set(step.condition, 'Unknown', 'Waiting', `waits for ${stopped.condition}`);
      continue;
    }
    let outcome: Outcome;
    try {
      outcome = await step.run();
    } catch (thrown) {
      const error = toOffshootError(thrown);
      failure = { error: thrown };
      outcome = { done: false, reason: reasonOf(error.code), message: error.message };
    }
    signal.throwIfAborted();
    set(step.condition, outcome.done ? 'True' : 'False', outcome.reason, outcome.message);
    if (!outcome.done) stopped = { condition: step.condition, outcome };
    await report(conditions);
  }
  return { conditions, ...(stopped && { stopped }), ...(failure && { error: failure.error }) };
}
