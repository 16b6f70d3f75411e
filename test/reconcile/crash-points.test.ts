/**
 * What needs several writes is a sequence that can be taken up after any of them: here the daemon dies after the
 * first, the second, … write of a project's and a sandbox's whole life, the next one goes on, and in the end all is
 * as if nothing had happened.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { storeBaseline } from '../../src/baseline/store-baseline.ts';
import { until } from '../../src/lib/wait.ts';
import { createBranch, createProject, deleteProject, findBranch } from '../../src/rules/branches.ts';
import { ttlBranch } from '../../src/rules/expiry.ts';
import { deleteManifest } from '../../src/rules/manifests.ts';
import { isResetPending, resetBranch } from '../../src/rules/reset.ts';
import { applySandbox, deleteSandbox } from '../../src/rules/sandboxes.ts';
import type { Store } from '../../src/store/contract.ts';
import { memoryStore } from '../../src/store/memory.ts';
import {
  branchPlugin,
  deploy,
  deployment,
  fork,
  install,
  service,
  tablePlugin,
} from '../support/documents.ts';
import { loopOn } from '../support/loop.ts';
import { type MemoryWorld, memoryWorld } from '../support/memory-drivers.ts';

/** One thing that a person does, and when it has had its effect. `ask` again after a crash must do no harm. */
type Act = {
  readonly what: string;
  readonly ask: (store: Store) => Promise<unknown>;
  readonly done: (store: Store, world: MemoryWorld) => boolean;
};

const sandbox = {
  name: 'sb',
  spec: {
    cluster: 'local',
    resources: [
      { name: 'db', plugin: 'branch' },
      { name: 'table', plugin: 'table' },
    ],
    forks: [fork('users')],
  },
};
const isBranch = (store: Store, name: string) =>
  store.list('branch').some(b => b.spec.name === name && b.status?.state === 'ready');

const life: readonly Act[] = [
  {
    what: 'a project',
    ask: store => createProject(store, 'default', { database: 'app', role: 'app' }),
    done: store => isBranch(store, 'main'),
  },
  {
    what: 'a baseline',
    ask: store => deploy(store, deployment('users'), service('users', { port: 80 })),
    done: store => store.list('manifest').length === 2 && store.list('manifest').every(m => m.status?.ready),
  },
  {
    what: 'plugins',
    ask: store => Promise.all([install(store, 'branch', branchPlugin), install(store, 'table', tablePlugin)]),
    done: store => store.list('plugin').length === 2,
  },
  {
    what: 'a branch',
    ask: store => createBranch(store, { project: 'default', name: 'fix', parent: 'main' }),
    done: store => isBranch(store, 'fix'),
  },
  {
    what: 'its reset',
    ask: store => resetBranch(store, findBranch(store, 'default', 'fix')!, {}, new Date()),
    done: store => isBranch(store, 'fix') && !isResetPending(findBranch(store, 'default', 'fix')!),
  },
  {
    what: 'the end of its time',
    ask: async store => {
      const fix = findBranch(store, 'default', 'fix');
      if (fix !== undefined) await ttlBranch(store, fix, '1m', new Date(0));
    },
    done: store => findBranch(store, 'default', 'fix') === undefined,
  },
  {
    what: 'a sandbox',
    ask: store => applySandbox(store, storeBaseline(store), sandbox),
    done: store => store.get('sandbox', 'sb')?.status?.ready === true && isBranch(store, 'sb-sb'),
  },
  {
    what: 'the end of the sandbox',
    ask: store => deleteSandbox(store, 'sb', { force: false }),
    done: store =>
      store.get('sandbox', 'sb') === undefined && findBranch(store, 'default', 'sb-sb') === undefined,
  },
  {
    what: 'the end of the baseline',
    ask: async store => {
      for (const { name } of store.list('manifest')) await deleteManifest(store, name);
    },
    done: store => store.list('manifest').length === 0,
  },
  {
    what: 'the end of the project',
    ask: store => deleteProject(store, storeBaseline(store), 'default'),
    done: store => store.list('project').length + store.list('branch').length === 0,
  },
];

test('a whole life, with a death after every single write', async t => {
  const writes = await live(undefined);
  assert.ok(writes > 30, `only ${writes} writes`);
  for (let death = 1; death <= writes; death++) {
    await t.test(`after write ${death}`, () => live(death).then(() => {}));
  }
});

/** @param death after which write the first daemon dies. @returns how many writes there were */
async function live(death: number | undefined): Promise<number> {
  const kept = memoryStore();
  const world = memoryWorld();
  let mortal = mortalStore(kept, death ?? Number.POSITIVE_INFINITY);
  let loop = loopOn(mortal.store, world);
  await loop.start().catch(mortal.unlessDead);
  /** As `up` after `kill -9`: all that ran in the process has ended, the rest of the world has not. */
  const revive = async () => {
    await loop.close();
    mortal = mortalStore(kept, Number.POSITIVE_INFINITY);
    loop = loopOn(mortal.store, world);
    await loop.start();
  };
  try {
    for (const { what, ask, done } of life) {
      await ask(mortal.store).catch(mortal.unlessDead);
      const settled = async () => {
        if (mortal.isDead()) {
          await revive();
          // Whoever got no answer asks again; what was done already says so.
          await ask(mortal.store).catch(() => {});
        }
        return done(kept, world) ? true : undefined;
      };
      await until(settled, { what, deadlineMs: 60_000, intervalMs: 1 });
    }
    // An end that was on its way.
    if (mortal.isDead()) await revive();
    const rest = () => world.disk.size + world.running.size + world.workloadsOf.size;
    await until(() => (rest() === 0 ? true : undefined), { what: 'nothing is left', deadlineMs: 60_000 });
    assert.deepEqual([...world.things], []);
  } finally {
    await loop.close();
  }
  return mortal.writes();
}

/** Carries out so many writes, then none; the answer to the last one is lost, and so is everything after it. */
function mortalStore(store: Store, most: number) {
  const dead = new Error('the daemon is dead');
  let writes = 0;
  const once = async <T>(write: () => Promise<T>): Promise<T> => {
    if (writes >= most) throw dead;
    writes += 1;
    const last = writes === most;
    const answer = await write();
    if (last) throw dead;
    return answer;
  };
  const mortal: Store = {
    get: store.get.bind(store),
    list: store.list.bind(store),
    by: store.by.bind(store),
    events: store.events.bind(store),
    since: store.since.bind(store),
    version: store.version.bind(store),
    onChange: listener => store.onChange(change => writes < most && listener(change)),
    onObject: (kind, name, listener) => store.onObject(kind, name, () => writes < most && listener()),
    create: (kind, name, fields) => once(() => store.create(kind, name, fields)),
    update: (kind, name, version, changes) => once(() => store.update(kind, name, version, changes)),
    modify: async (kind, name, change) => {
      let writing = false;
      const seen = store.get(kind, name);
      if (seen !== undefined) writing = change(seen) !== undefined;
      return writing ? once(() => store.modify(kind, name, change)) : store.modify(kind, name, change);
    },
    remove: (kind, name, version) => once(() => store.remove(kind, name, version)),
    record: event => once(() => store.record(event)),
    close: () => store.close(),
  };
  return {
    store: mortal,
    isDead: () => writes >= most,
    writes: () => writes,
    unlessDead: (error: unknown) => {
      if (error !== dead) throw error;
    },
  };
}
