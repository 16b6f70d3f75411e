/** Where requests to a workload pass a router beside it, and not before its Services, as in a cluster: do they all? */
import type { WorkloadKey } from '../model/sandbox.ts';

export type Routers = {
  /**
   * Why a request with a key may reach the baseline, or find nothing; undefined: it is led by its key. Whoever knows this
   * asks for a look at the sandboxes of a workload whenever it may be otherwise.
   * @param isNew the key is: all who lead have to know it first
   */
  problem(
    workload: WorkloadKey,
    isNew: boolean,
  ): { readonly reason: string; readonly message: string } | undefined;
};
