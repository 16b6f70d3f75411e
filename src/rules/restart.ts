/** Another start of pods that are as they are asked for, on request; what has failed is tried at once, too. */
import type { WorkloadKey } from '../model/sandbox.ts';
import { workloadPath } from '../model/workload.ts';
import type { Store, Stored } from '../store/contract.ts';
import { manifestTriedAgain } from './another-try.ts';

/** A Job runs once more. @param name of its manifest @returns undefined when it is not there, or is to go */
export async function restartWorkload(store: Store, name: string): Promise<Stored<'manifest'> | undefined> {
  const object = await store.modify('manifest', name, ({ deletedAt, secret, status }) => {
    if (deletedAt !== undefined) return undefined;
    const { tries = 0, restarts = 0 } = secret ?? {};
    return {
      secret: { ...secret, tries: tries + 1, restarts: restarts + 1 },
      ...(status !== null && !status.ready && { status: manifestTriedAgain(status) }),
    };
  });
  return object?.deletedAt === undefined ? object : undefined;
}

/** @returns undefined when the sandbox is not there, or is to go */
export async function restartForks(
  store: Store,
  sandbox: string,
  forks: readonly WorkloadKey[],
): Promise<Stored<'sandbox'> | undefined> {
  const object = await store.modify('sandbox', sandbox, ({ deletedAt, secret }) => {
    if (deletedAt !== undefined) return undefined;
    const restarts = { ...secret.restarts };
    for (const key of forks.map(workloadPath)) restarts[key] = (restarts[key] ?? 0) + 1;
    return { secret: { ...secret, tries: (secret.tries ?? 0) + 1, restarts } };
  });
  return object?.deletedAt === undefined ? object : undefined;
}
