/**
 * Drivers whose world is in memory: they keep the contract, share one small world, and can be told to fail or to hang
 * at a call. `memoryWorld()` makes them all.
 */
import { type MemoryBranches, memoryBranches } from './memory-branches.ts';
import { type MemorySteps, memorySteps } from './memory-steps.ts';
import { type MemoryWorkloads, memoryWorkloads } from './memory-workloads.ts';
import { Trouble } from './trouble.ts';

export type MemoryWorld = MemoryBranches &
  MemoryWorkloads &
  MemorySteps & {
    readonly trouble: Trouble;
  };

export function memoryWorld(): MemoryWorld {
  const trouble = new Trouble();
  return { ...memoryBranches(trouble), ...memoryWorkloads(trouble), ...memorySteps(trouble), trouble };
}
