/** Migrations of sandboxes: when they run, and what is said of one that fails. */
import assert from 'node:assert/strict';
import { describe } from 'node:test';
import { storeBaseline } from '../../src/baseline/store-baseline.ts';
import type { MigrationDriver, MigrationFailure, MigrationSpec } from '../../src/drivers/contract.ts';
import type { Migration } from '../../src/model/migration.ts';
import { resetBranch } from '../../src/rules/reset.ts';
import { applySandbox, deleteSandbox, migrateAgain } from '../../src/rules/sandboxes.ts';
import type { Stored } from '../../src/store/contract.ts';
import { branchPlugin, defaultProject, deploy, deployment, fork, install } from '../support/documents.ts';
import { loopOn } from '../support/loop.ts';
import { memoryWorld } from '../support/memory-drivers.ts';
import { it, testStore } from '../support/stores.ts';
import { whenObject } from '../support/when.ts';

/** A folder in memory: what it holds, and for what each database was migrated. */
function memoryMigrations() {
  const state = {
    version: 1,
    failure: undefined as MigrationFailure | undefined,
    /** Database and version, as often as it ran. */
    runs: [] as string[],
    specs: new Map<string, MigrationSpec>(),
  };
  const done = new Map<string, string>();
  const wanted = (spec: MigrationSpec) => `${state.version}.${spec.era}`;
  const driver: MigrationDriver = {
    async ensure(id, spec, _since, tell) {
      state.specs.set(id, spec);
      if (done.get(id) === wanted(spec)) return undefined;
      tell({ reason: 'Migrating', message: 'migrate runs' });
      state.runs.push(`${id} ${wanted(spec)}`);
      if (state.failure !== undefined) return state.failure;
      done.set(id, wanted(spec));
      return undefined;
    },
    due: async (id, spec) => done.get(id) !== wanted(spec),
    async *logs() {},
    list: async () => [...done.keys()],
    async remove(id) {
      done.delete(id);
    },
  };
  return { ...{ state, done, driver } };
}

const migrate: Migration = { dir: '/folder', command: ['migrate'] };

async function testLoop() {
  const world = memoryWorld();
  const memory = memoryMigrations();
  const store = testStore();
  await defaultProject(store);
  await install(store, 'branch', branchPlugin);
  await deploy(store, deployment('users'));
  const workloads = { ...world.workloads, migrations: memory.driver };
  const loop = loopOn(store, world, { programs: { ...world, workloads } });
  await loop.start();
  const signal = AbortSignal.timeout(60_000);
  const spec = {
    cluster: 'local',
    resources: [{ name: 'db', plugin: 'branch' }],
    forks: [fork('users')],
  };
  const says = (reason: string) =>
    whenObject(
      store,
      'sandbox',
      'sb',
      o => (o?.status?.reason === reason && o.status.observedGeneration === o.generation ? o : undefined),
      signal,
    );
  return {
    ...{ ...memory, world, store, loop, says },
    apply: (code: Parameters<typeof applySandbox>[3] = { migrate }) =>
      applySandbox(store, storeBaseline(store), { name: 'sb', spec }, code),
    ready: () => says('AllDesiredWorkloadsReady'),
    branch: () => store.by('branch/owner', 'sandbox/sb')[0]!,
    condition: (sandbox: Stored<'sandbox'>, type = 'MigrationsReady') => {
      const found = sandbox.status!.conditions.find(c => c.type === type);
      return found && `${found.status} ${found.reason}: ${found.message}`;
    },
    async [Symbol.asyncDispose]() {
      await loop.close();
      await store.close();
    },
  };
}

const runs = 'sb-sb.demo.users';

describe('the migrations of a sandbox', () => {
  it('run for its branch before its forks, once; and again when they are due, or it begins anew', async () => {
    await using l = await testLoop();
    await l.apply();
    const ready = await l.ready();
    const { name: id } = l.branch();
    assert.deepEqual(l.state.runs, [`${id} 1.0`]);
    assert.equal(l.condition(ready), 'True Migrated: up to date: sb-sb');
    const { DATABASE_URL, PGUSER, PGPASSWORD, OFFSHOOT_BRANCH } = l.state.specs.get(id)!.variables;
    const { password } = l.branch().secret;
    assert.equal(DATABASE_URL, `postgresql://app.${id}:${password}@127.0.0.1:7432/app`);
    assert.deepEqual([PGUSER, PGPASSWORD, OFFSHOOT_BRANCH], [`app.${id}`, password, 'sb-sb']);

    // What somebody edits is looked at when it is applied again, and not before.
    l.state.version = 2;
    l.loop.look('sandbox', 'sb');
    assert.equal((await l.apply()).outcome, 'unchanged');
    assert.equal(l.state.runs.length, 1);
    await migrateAgain(l.store, 'sb');
    await l.ready();
    assert.deepEqual(l.state.runs, [`${id} 1.0`, `${id} 2.0`]);

    await resetBranch(l.store, l.branch(), {}, new Date());
    await whenObject(
      l.store,
      'sandbox',
      'sb',
      o => (o?.secret.migrated?.[id]?.endsWith('.1') && o.status?.ready ? o : undefined),
      AbortSignal.timeout(60_000),
    );
    assert.deepEqual(l.state.runs, [`${id} 1.0`, `${id} 2.0`, `${id} 2.1`]);

    const without = await l.apply({});
    assert.equal(without.outcome, 'updated');
    assert.equal(l.condition(await l.ready()), undefined);
    await deleteSandbox(l.store, 'sb', { force: false });
  });

  it('that fail keep its forks from starting, say why, and are tried again when it is applied', async () => {
    await using l = await testLoop();
    l.state.failure = {
      reason: 'MigrationFailed',
      message: 'migrate failed: exit code 1',
      log: ['one', 'two'],
    };
    await l.apply();
    const failed = await l.says('MigrationFailed');
    assert.equal(failed.status!.failed, true);
    assert.equal(failed.status!.message, 'migration of branch sb-sb: migrate failed: exit code 1');
    assert.deepEqual(failed.status!.migration, { branch: 'sb-sb', log: ['one', 'two'] });
    assert.equal(l.condition(failed, 'ForksReady'), 'Unknown Waiting: waits for MigrationsReady');
    assert.equal(l.world.workloadsOf.has(runs), false);
    assert.equal(l.branch().status?.state, 'ready', 'its branch is there to look at');

    l.state.failure = undefined;
    assert.equal((await l.apply()).outcome, 'updated');
    const ready = await l.ready();
    assert.equal(ready.status!.migration, undefined);
    assert.equal(l.world.workloadsOf.has(runs), true);
  });

  it('are done where the folder is, and say so elsewhere; what is left of a branch that is gone is forgotten', async () => {
    await using l = await testLoop();
    l.done.set('gone', '1.0');
    await l.loop.close();
    const elsewhere = loopOn(l.store, l.world);
    await elsewhere.start();
    await l.apply();
    assert.match(l.condition(await l.ready()) ?? '', /^True NotHere: /);
    await elsewhere.close();
    const again = loopOn(l.store, l.world, {
      programs: { ...l.world, workloads: { ...l.world.workloads, migrations: l.driver } },
    });
    await again.start();
    assert.equal(l.done.has('gone'), false);
    await again.close();
  });
});
