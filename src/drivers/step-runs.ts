/** Steps that run in this process: who removes one ends its run, and goes on when it has ended. */
import { OffshootError } from '../model/errors.ts';
import type { StepDone } from './contract.ts';
import { stepName } from './step-end.ts';

export type StepRuns = {
  /**
   * @param work gets a signal that aborts when `signal` does, or the step is removed
   * @throws OffshootError step/failed when it was removed meanwhile; what `work` throws
   */
  run(id: string, signal: AbortSignal, work: (signal: AbortSignal) => Promise<StepDone>): Promise<StepDone>;
  /** Resolves when a run of it has ended, if there is one. */
  end(id: string): Promise<void>;
};

export function stepRuns(): StepRuns {
  const runs = new Map<string, { readonly done: Promise<unknown>; remove(): void }>();
  return {
    async run(id, signal, work) {
      const removal = new AbortController();
      const done = work(AbortSignal.any([signal, removal.signal]));
      const run = { done, remove: () => removal.abort() };
      runs.set(id, run);
      try {
        return await done;
      } catch (error) {
        if (signal.aborted || !removal.signal.aborted) throw error;
        throw new OffshootError('step/failed', { step: stepName(id), how: 'its removal' }, { cause: error });
      } finally {
        if (runs.get(id) === run) runs.delete(id);
      }
    },
    async end(id) {
      const run = runs.get(id);
      run?.remove();
      await run?.done.catch(() => {}); // whoever runs it hears of that
    },
  };
}
