/** What happens to workloads when their daemon dies. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { describe, it } from 'node:test';
import type { WorkloadDriver, WorkloadSeen } from '../../../src/drivers/contract.ts';
import { isAlive, type ProcessId } from '../../../src/lib/process.ts';
import { until } from '../../../src/lib/wait.ts';
import { labelled, leaderOf } from '../../support/labelled.ts';
import { tempDir } from '../../support/temp.ts';
import { ask, ctx, openTestRuntime, portOf, specOf, untilReady, untilSeen } from '../../support/workload.ts';

const MAIN = 'workload/web/0/main';

type Orphan = AsyncDisposable & {
  readonly home: string;
  readonly stateFile: string;
  readonly seen: WorkloadSeen;
  readonly process: ProcessId;
  /** Which the process says of itself. */
  readonly life: string;
  /** A second daemon on the same home; closed at the end. */
  open(): Promise<WorkloadDriver>;
  /** Processes of its container. */
  copies(): Promise<ProcessId[]>;
};

/** A ready workload whose daemon was killed with SIGKILL. */
async function orphan(): Promise<Orphan> {
  await using stack = new AsyncDisposableStack();
  const { path: home } = stack.use(await tempDir());
  const fixture = join(import.meta.dirname, '../../support/fixtures/daemon.ts');
  const daemon = spawn(process.execPath, [fixture, home], { stdio: ['ignore', 'pipe', 'inherit'] });
  daemon.on('error', () => {});
  // Whatever the test did: a daemon on this home takes its workloads with it when it closes.
  stack.defer(async () => (await openTestRuntime(home)).close());
  const exited = once(daemon, 'exit');
  stack.defer(() => void daemon.kill('SIGKILL'));
  const [line] = (await once(createInterface(daemon.stdout), 'line')) as [string];
  daemon.kill('SIGKILL');
  await exited;
  const seen = JSON.parse(line) as WorkloadSeen;
  const [process_, life] = [await leaderOf(home, MAIN), await ask<string>(portOf(seen), '/life')];
  const owned = stack.move();
  return {
    home,
    stateFile: join(home, 'workloads', 'web', 'state.json'),
    seen,
    process: process_,
    life,
    copies: async () =>
      (await labelled(home)).filter(({ part }) => part === MAIN).sort((a, b) => a.pid - b.pid),
    async open() {
      const driver = await openTestRuntime(home);
      owned.defer(() => driver.close());
      return driver;
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

describe('take-over', { concurrency: true }, () => {
  it('takes over a process of a killed daemon, without starting a second', async () => {
    await using o = await orphan();
    const before = await o.copies();
    const driver = await o.open();
    // From the first word on: routes follow it.
    assert.equal((await driver.observe('web', ctx()))?.serving, true);
    const seen = await untilReady(driver, 'web');
    assert.deepEqual(seen.ports, o.seen.ports);
    assert.equal(seen.specHash, o.seen.specHash);
    assert.equal(await ask(portOf(seen), '/life'), o.life);
    await driver.ensure('web', specOf(), ctx());
    assert.deepEqual(await o.copies(), before);
  });

  it('ends it when it is closed, whatever has become of its state and of the disk', async () => {
    await using lost = await orphan();
    await rm(lost.stateFile);
    await (await lost.open()).close();
    assert.deepEqual(await labelled(lost.home), []);

    await using full = await orphan();
    await mkdir(`${full.stateFile}.new`); // no state can be written
    await (await full.open()).close();
    assert.deepEqual(await labelled(full.home), []);
  });

  it('ends a process that runs under no plan any more', async () => {
    await using o = await orphan();
    const state = JSON.parse(await readFile(o.stateFile, 'utf8'));
    state.plan.replicas = 0;
    await writeFile(o.stateFile, JSON.stringify(state));
    const driver = await o.open();
    assert.equal((await driver.observe('web', ctx()))!.reason, 'ScaledToZero');
    const gone = async () => ((await labelled(o.home)).length === 0 ? true : undefined);
    await until(gone, { what: 'it ends', deadlineMs: 60_000 });
  });

  it('starts anew what died while no daemon was there', async () => {
    await using o = await orphan();
    process.kill(o.process.pid, 'SIGKILL');
    await until(() => !isAlive(o.process) || undefined, { what: 'it dies', deadlineMs: 60_000 });
    const seen = await untilReady(await o.open(), 'web');
    assert.deepEqual(seen.ports, o.seen.ports);
    assert.notEqual(await ask(portOf(seen), '/life'), o.life);
  });

  it('sees a process that it took over end, and starts it again', async () => {
    await using o = await orphan();
    const driver = await o.open();
    await untilReady(driver, 'web');
    const before = await o.copies();
    process.kill(o.process.pid, 'SIGKILL');
    const down = await untilSeen(driver, 'web', 'the end is seen', s => s.reason === 'CrashLoopBackOff');
    assert.equal(down.ready, false);
    await untilReady(driver, 'web');
    assert.equal((await o.copies()).length, before.length);
  });

  it('replaces a process whose daemon died between writing a new plan and ending the old process', async () => {
    await using o = await orphan();
    const state = JSON.parse(await readFile(o.stateFile, 'utf8'));
    state.pods[0].plan = structuredClone(state.plan.pod);
    state.plan.pod.containers[0].argv.push('new');
    await writeFile(o.stateFile, JSON.stringify(state));
    const seen = await untilReady(await o.open(), 'web');
    assert.deepEqual(await ask(portOf(seen), '/argv'), ['new']);
    await until(() => !isAlive(o.process) || undefined, { what: 'the old one ends', deadlineMs: 60_000 });
  });

  it('finishes a removal that was interrupted, and starts nothing meanwhile', async () => {
    await using o = await orphan();
    const state = JSON.parse(await readFile(o.stateFile, 'utf8'));
    await writeFile(o.stateFile, JSON.stringify({ ...state, wanted: false }));
    const driver = await o.open();
    assert.deepEqual(await driver.list(ctx()), ['web']);
    assert.equal((await driver.observe('web', ctx()))!.reason, 'Stopped');
    await driver.remove('web', ctx());
    assert.ok(!isAlive(o.process));
    assert.deepEqual(await driver.list(ctx()), []);
  });

  it('lists and removes a process that has lost its folder', async () => {
    await using o = await orphan();
    await rm(join(o.home, 'workloads'), { recursive: true });
    const driver = await o.open();
    assert.deepEqual(await driver.list(ctx()), ['web']);
    await driver.remove('web', ctx());
    assert.ok(!isAlive(o.process));
  });
});
