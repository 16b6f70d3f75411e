/** All that decides, loaded when what serves is on its way. */
import { flushCompileCache } from 'node:module';
import { setImmediate } from 'node:timers/promises';
import { yaml } from '../model/yaml-package.ts';

export type Deciding = Awaited<ReturnType<typeof loadDeciding>>;

/** One after the other: in between, what goes on meanwhile gets its turn. */
export async function loadDeciding() {
  const load = async <T>(module: Promise<T>): Promise<T> => {
    const loaded = await module;
    await setImmediate();
    return loaded;
  };
  const { logId, forkId } = await load(import('../reconcile/workload-spec.ts'));
  const { createLoop } = await load(import('../reconcile/loop.ts'));
  const { followWorktrees } = await load(import('../reconcile/worktrees.ts'));
  const { noteFound } = await load(import('../reconcile/speech.ts'));
  const { createProject } = await load(import('../rules/branches.ts'));
  const { visits } = await load(import('../rules/visits.ts'));
  const { storeBaseline } = await load(import('../baseline/store-baseline.ts'));
  const { keyring } = await load(import('../api/keys.ts'));
  const { startApi } = await load(import('../api/server.ts'));
  return {
    ...{
      logId,
      forkId,
      createLoop,
      followWorktrees,
      noteFound,
      createProject,
      visits,
      storeBaseline,
      keyring,
    },
    startApi,
  };
}

/** What whoever waits for the start need not wait for, and who comes then shall not. */
export async function useSoon(): Promise<void> {
  await setImmediate();
  yaml();
  await setImmediate();
  // Otherwise written at exit only: a daemon that is killed would leave the next one to strip all types again.
  flushCompileCache();
}
