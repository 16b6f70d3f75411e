/**
 * What is done with branches. Each step knows what must be true after it, also when it fails because something was killed
 * meanwhile: then it looks, when all is well, which of the two has become true.
 */
import { until } from '../../../src/lib/wait.ts';
import { OffshootError } from '../../../src/model/errors.ts';
import type { BranchView } from '../../../src/model/view.ts';
import type { Chance } from '../../../test/support/random.ts';
import { writeBatch } from './batches.ts';
import { either, snapshot } from './ledger.ts';
import { copyOf, remember } from './moments.ts';
import { alone, anyOf, childrenOf, idle, type Known, using, type World } from './world.ts';

/** @returns false when there was nothing that it could be done with */
export type Step = (world: World, dice: Chance) => Promise<boolean>;

const mostBranches = 24;

const write: Step = async (world, dice) => {
  const branch = anyOf(world, dice);
  if (branch === undefined) return false;
  const batch = world.nextBatch();
  return await using(branch, async () => {
    const { sure, maybe } = branch.ledger;
    maybe.add(batch);
    const outcome = await attempt(world, () => writeBatch(branch.url, batch));
    if (outcome === 'done') sure.add(batch);
    if (outcome === 'done') maybe.delete(batch);
    if (branch === world.main) remember(world.moments, branch.ledger);
    return true;
  });
};

const create: Step = async (world, dice) => {
  const parent = world.branches.size < mostBranches ? anyOf(world, dice) : undefined;
  if (parent === undefined) return false;
  const name = world.nextName();
  return await using(parent, async () => {
    const begun = snapshot(parent.ledger);
    const { client, project } = world;
    await attempt(world, () => client().branches.create(project, { name, parent: parent.name }));
    const ledger = begun;
    if ((await settled(world, name)) === undefined) return true;
    const child: Known = { ...{ name, parent, ledger: ledger(), url: '', users: 0, taken: false } };
    await address(world, child);
    world.branches.add(child);
    return true;
  });
};

const reset: Step = async (world, dice) => {
  const branch = anyOf(world, dice, b => idle(b) && leaf(world, b) && b.parent !== undefined);
  if (branch?.parent === undefined || branch.parent.taken) return false;
  const { parent } = branch;
  return await using(parent, () =>
    alone(branch, async () => {
      const begun = snapshot(parent.ledger);
      const { client, project } = world;
      const outcome = await attempt(world, () => client().branches.reset(project, branch.name));
      await ready(world, branch.name);
      branch.ledger = outcome === 'done' ? begun() : either(branch.ledger, begun());
      return true;
    }),
  );
};

const remove: Step = async (world, dice) => {
  const branch = anyOf(world, dice, b => idle(b) && leaf(world, b) && b.parent !== undefined);
  if (branch === undefined) return false;
  return await alone(branch, async () => {
    const { client, project } = world;
    const now = dice.often(60);
    await attempt(world, () => client().branches.delete(project, branch.name, { now }));
    if ((await settled(world, branch.name)) !== undefined) return true;
    world.branches.delete(branch);
    const list = { what: 'the trash', deadlineMs, intervalMs: 50 };
    const trash = await until(() => maybe(() => client().trash.list()), list);
    const entry = trash.find(({ name }) => name === branch.name);
    if (entry !== undefined) world.trash.set(entry.id, branch);
    return true;
  });
};

const restore: Step = async (world, dice) => {
  const found = [...world.trash].filter(
    ([, { parent }]) => parent !== undefined && world.branches.has(parent) && !parent.taken,
  );
  if (found.length === 0) return false;
  const [entry, branch] = dice.pick(found);
  world.trash.delete(entry);
  const { client } = world;
  return await using(branch.parent!, async () => {
    await attempt(world, () => client().trash.restore(entry));
    if ((await settled(world, branch.name)) === undefined) {
      world.trash.set(entry, branch);
      return true;
    }
    await address(world, branch);
    world.branches.add(branch);
    return true;
  });
};

const rename: Step = async (world, dice) => {
  const branch = anyOf(world, dice, b => idle(b) && b.parent !== undefined);
  if (branch === undefined) return false;
  const name = world.nextName();
  return await alone(branch, async () => {
    const { client, project } = world;
    await attempt(world, () => client().branches.rename(project, branch.name, name));
    if ((await settled(world, name)) !== undefined) branch.name = name;
    await address(world, branch);
    return true;
  });
};

const rotate: Step = async (world, dice) => {
  const branch = anyOf(world, dice, idle);
  if (branch === undefined) return false;
  return await alone(branch, async () => {
    const { client, project } = world;
    await attempt(world, () => client().branches.rotatePassword(project, branch.name));
    await address(world, branch);
    return true;
  });
};

const restart: Step = async (world, dice) => {
  const branch = anyOf(world, dice, idle);
  if (branch === undefined) return false;
  return await alone(branch, async () => {
    const { client, project } = world;
    await attempt(world, () => client().branches.restart(project, branch.name));
    await ready(world, branch.name);
    return true;
  });
};

/** Whoever writes to it afterwards wakes it; some are asked for a moment before they sleep. */
const sleep: Step = async (world, dice) => {
  const branch = anyOf(world, dice);
  if (branch === undefined) return false;
  return await using(branch, async () => {
    const { client, project } = world;
    const call = client()
      .branches.sleep(project, branch.name, { force: false })
      .catch(error => {
        // Somebody writes to it, or copies it.
        if (!(error instanceof OffshootError && error.code === 'branch/stays-awake')) throw error;
      });
    await attempt(world, () => call);
    return true;
  });
};

const wake: Step = async (world, dice) => {
  const branch = anyOf(world, dice);
  if (branch === undefined) return false;
  return await using(branch, async () => {
    const { client, project } = world;
    await attempt(world, () => client().branches.wake(project, branch.name));
    return true;
  });
};

/** A branch of what `main` held then. Nobody knows what it held before its first snapshot, nor right after it has gone back. */
const past: Step = async (world, dice) => {
  const { client, project, main, moments } = world;
  if (moments.length === 0 || main.taken || world.branches.size >= mostBranches) return false;
  const { at, ledger } = dice.pick(moments);
  const name = world.nextName();
  return await using(main, async () => {
    const make = () => client().branches.create(project, { name, parent: main.name, at });
    await attempt(world, () => make().catch(unlessUnknown));
    if ((await settled(world, name)) === undefined) return true;
    const child: Known = {
      ...{ name, parent: main, ledger: copyOf(ledger), url: '', users: 0, taken: false },
    };
    await address(world, child);
    world.branches.add(child);
    return true;
  });
};

const goBack: Step = async (world, dice) => {
  const { client, project, main, moments } = world;
  if (moments.length === 0 || !idle(main)) return false;
  const { at, ledger } = dice.pick(moments);
  return await alone(main, async () => {
    let known = true;
    const refused = (error: unknown) => {
      unlessUnknown(error);
      known = false;
    };
    const call = () => client().branches.restore(project, main.name, { at, force: true }).catch(refused);
    const outcome = await attempt(world, call);
    await ready(world, main.name);
    if (outcome === 'unknown') main.ledger = either(main.ledger, ledger);
    else if (known) main.ledger = copyOf(ledger);
    return true;
  });
};

/** Each with how often it comes. */
export const steps: Readonly<Record<string, { readonly weight: number; readonly take: Step }>> = {
  ...{ write: { weight: 50, take: write }, create: { weight: 16, take: create } },
  ...{ remove: { weight: 12, take: remove }, reset: { weight: 8, take: reset } },
  ...{ restore: { weight: 6, take: restore }, rename: { weight: 4, take: rename } },
  ...{ rotate: { weight: 3, take: rotate }, restart: { weight: 3, take: restart } },
  ...{ sleep: { weight: 8, take: sleep }, wake: { weight: 3, take: wake } },
  ...{ past: { weight: 6, take: past }, goBack: { weight: 2, take: goBack } },
};

/** The view of a branch that takes logins, when it does, be it asleep. @throws DeadlineError */
export function ready({ client, project }: World, name: string): Promise<BranchView> {
  let last = '';
  return until(
    async () => {
      const view = await maybe(() => client().branches.get(project, name));
      last = view === undefined ? 'nobody answers' : `${view.state}: ${view.reason} ${view.message}`;
      return isThere(view?.state) ? view : undefined;
    },
    { what: `branch ${name} is ready`, deadlineMs, intervalMs: 20 },
  ).catch(cause => {
    throw new Error(`branch ${name} is not ready: ${last}`, { cause });
  });
}

// --- internal -----------------------------------------------------------------------------------

const deadlineMs = 90_000;

/** @throws all other errors */
function unlessUnknown(error: unknown): void {
  if (!(error instanceof OffshootError && ['history/out-of-range', 'history/none'].includes(error.code)))
    throw error;
}

/** Undefined when nobody answers; a daemon that is down has no client either. */
const maybe = <T>(ask: () => Promise<T>): Promise<T | undefined> =>
  Promise.resolve()
    .then(ask)
    .catch(() => undefined);

const isThere = (state: BranchView['state'] | undefined): boolean => state === 'ready' || state === 'asleep';

/** What is in the trash may come back, and needs what it grew from. */
const leaf = (world: World, branch: Known): boolean =>
  childrenOf(world, branch).length === 0 &&
  ![...world.trash.values()].some(({ parent }) => parent === branch);

/** @throws what it fails with, unless something was killed since it began */
async function attempt(world: World, work: () => Promise<unknown>): Promise<'done' | 'unknown'> {
  const since = world.now();
  try {
    await work();
    return 'done';
  } catch (error) {
    if (!world.excuses(since)) throw error;
    await world.well();
    return 'unknown';
  }
}

/** What has become of a branch that was made, brought back or removed: it is ready, or gone (undefined). */
async function settled(world: World, name: string): Promise<BranchView | undefined> {
  await world.well();
  const { client, project } = world;
  let last = '';
  const look = async (): Promise<BranchView | 'gone' | undefined> => {
    const all = await maybe(() => client().branches.list(project));
    if (all === undefined) return undefined;
    const found = all.find(branch => branch.name === name);
    last = `${found?.state}: ${found?.message}`;
    if (found === undefined) return 'gone';
    return isThere(found.state) ? found : undefined;
  };
  const view = await until(look, {
    what: `branch ${name} is ready or gone`,
    deadlineMs,
    intervalMs: 20,
  }).catch(cause => {
    throw new Error(`branch ${name} is neither ready nor gone: ${last}`, { cause });
  });
  return view === 'gone' ? undefined : view;
}

async function address(world: World, branch: Known): Promise<void> {
  const ask = async () => {
    await world.well();
    return await maybe(() => world.client().branches.credentials(world.project, branch.name));
  };
  const wait = { what: `credentials of ${branch.name}`, deadlineMs, intervalMs: 50 };
  branch.url = (await until(ask, wait)).connectionString;
}
