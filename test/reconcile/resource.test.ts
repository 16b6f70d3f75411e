/** One resource through all that can happen to its workflows. Longer than most: every phase is left in every way. */
import assert from 'node:assert/strict';
import { describe } from 'node:test';
import { silentLog } from '../../src/lib/log.ts';
import { OffshootError } from '../../src/model/errors.ts';
import type { PluginSpec } from '../../src/model/plugin.ts';
import type { ResourceRecord } from '../../src/model/resource-record.ts';
import type { ActionEnd } from '../../src/reconcile/branch-action.ts';
import { resourceRunner } from '../../src/reconcile/resource.ts';
import { applied, input, install, step, tablePlugin, testClock } from '../support/documents.ts';
import { memoryWorld } from '../support/memory-drivers.ts';
import { it, testStore } from '../support/stores.ts';

const failed = new OffshootError(
  'step/failed',
  { step: 's', how: 'exit code 1' },
  { output: Array.from({ length: 30 }, (_, i) => `line ${i}`).join('\n') },
);
const timeout = new OffshootError('step/timeout', { step: 's' });

/** A sandbox `sb` with one resource, `db`, of this plugin. */
async function testResource(
  plugin: PluginSpec,
  params: Readonly<Record<string, string>> = {},
  stepMs = 60_000,
) {
  const world = memoryWorld();
  const clock = testClock();
  const store = testStore({ now: clock.now });
  await install(store, 'p', plugin);
  const spec = (more: object = {}) => ({
    resources: [{ name: 'db', plugin: 'p', params: { ...params, ...more } }],
  });
  await applied(store, 'sb', spec());
  const abort = new AbortController();
  const sandbox = () => store.get('sandbox', 'sb')!;
  const resource = () => sandbox().spec.resources![0]!;
  let action = (): ActionEnd => ({ outputs: {} });
  const newRunner = () =>
    resourceRunner({
      store,
      steps: world.steps,
      actions: { 'branch/create': async () => action(), 'branch/delete': async () => action() },
      scriptEnv: () => ({ OFFSHOOT_API_URL: 'http://api' }),
      keep: [],
      stepMs,
      now: clock.now,
    });
  const runner = newRunner();
  const ctx = (signal: AbortSignal = abort.signal) => ({ signal, log: silentLog });
  return {
    ...world,
    clock,
    store,
    abort,
    newRunner,
    sandbox,
    record: (): ResourceRecord => sandbox().secret.resources.db!,
    /** @returns the record that was reached */
    create: async (by = runner, signal?: AbortSignal) =>
      (await by.create(sandbox(), resource(), ctx(signal))).record,
    createWaits: async () => (await runner.create(sandbox(), resource(), ctx())).waits,
    /** What the built-in actions come to. */
    act(end: () => ActionEnd) {
      action = end;
    },
    remove: (by = runner, signal?: AbortSignal) => by.remove(sandbox(), resource(), ctx(signal)),
    /** Changes the document while nothing is provisioned. */
    change: (more: object) => applied(store, 'sb', spec(more)),
    states: (workflow: 'create' | 'delete') =>
      Object.fromEntries(
        Object.entries(sandbox().secret.resources.db![workflow]).map(([name, s]) => [name, s.state]),
      ),
    [Symbol.asyncDispose]: () => store.close(),
  };
}

const id = (step: string, workflow = 'create') => `sb.db.${workflow}.${step}`;

/** network, then disk and account at once, then server of both; backwards to delete. */
const diamond: PluginSpec = {
  create: [
    step('server', 'make server-$disk-$account\noutput id server-$disk-$account', [
      input('disk', 'disk'),
      input('account', 'account'),
    ]),
    step('disk', 'make disk-$net\noutput id disk-$net', [input('net', 'network')]),
    step('account', 'make account\noutput id account', [input('net', 'network')]),
    step('network', 'make $range\noutput id $range', [input('range')]),
  ],
  delete: [
    step('no-network', 'remove $net', [input('net', 'network'), input('after', 'no-disk')]),
    step('no-disk', 'remove $disk\noutput id x', [input('disk', 'disk'), input('after', 'no-server')]),
    step('no-account', 'remove $account', [input('account', 'account'), input('after', 'no-server')]),
    step('no-server', 'remove $server\noutput id x', [input('server', 'server')]),
  ],
};

/** Which steps of the diamond were done one after the other; those of one layer may end in any order. */
function layers(done: readonly string[]): readonly (readonly string[])[] {
  const layerOf = (step: string) => step.replace(/disk|account/, 'disk and account');
  const found: string[][] = [];
  for (const step of done) {
    const last = found.at(-1);
    if (last !== undefined && layerOf(last[0]!) === layerOf(step)) last.push(step);
    else found.push([step]);
  }
  return found.map(layer => layer.sort());
}

describe('creating', () => {
  it('runs steps as their inputs ask for, and passes outputs and params on', async () => {
    await using r = await testResource(diamond, { range: 'ten' });
    const record = await r.create();
    assert.equal(record.phase, 'created');
    assert.deepEqual(layers(r.stepsDone), [[id('network')], [id('account'), id('disk')], [id('server')]]);
    assert.deepEqual([...r.things].sort(), ['account', 'disk-ten', 'server-disk-ten-account', 'ten']);
    assert.deepEqual(record.create.server?.outputs, { id: 'server-disk-ten-account' });
    assert.deepEqual(record.create.network, {
      state: 'succeeded',
      startedAt: r.clock.now().toISOString(),
      ms: 0,
      outputs: { id: 'ten' },
    });
  });

  it('runs the steps of a layer at once', async () => {
    await using r = await testResource(diamond, { range: 'ten' });
    const disk = r.trouble.hang(`steps.run ${id('disk')}`);
    const account = r.trouble.hang(`steps.run ${id('account')}`);
    const creating = r.create();
    await Promise.all([disk.reached, account.reached]);
    assert.deepEqual([...r.stepsRunning], [id('disk'), id('account')]);
    disk.release();
    account.release();
    assert.equal((await creating).phase, 'created');
  });

  it('tells scripts about the sandbox and how to reach us; an input that nobody gave is empty', async () => {
    await using r = await testResource({
      create: [
        step(
          'say',
          [
            'output name $SIGNADOT_SANDBOX_NAME',
            'output key $SIGNADOT_SANDBOX_ROUTING_KEY',
            'output resource $SIGNADOT_RESOURCE_NAME',
            'output api $OFFSHOOT_API_URL',
            'output range <$range>',
          ].join('\n'),
          [input('range')],
        ),
      ],
    });
    const { create } = await r.create();
    assert.deepEqual(create.say?.outputs, {
      name: 'sb',
      key: r.sandbox().secret.routingKey,
      resource: 'db',
      api: 'http://api',
      range: '<>',
    });
  });

  it('writes each step down before it begins and after it ended', async () => {
    await using r = await testResource(diamond);
    const server = r.trouble.hang(`steps.run ${id('server')}`);
    const creating = r.create();
    await server.reached;
    assert.deepEqual(r.states('create'), {
      network: 'succeeded',
      disk: 'succeeded',
      account: 'succeeded',
      server: 'running',
    });
    assert.equal(r.record().phase, 'creating');
    r.clock.forward(1_500);
    server.release();
    await creating;
    assert.equal(r.record().create.server?.ms, 1_500);
  });

  it('does nothing more for a resource that is there', async () => {
    await using r = await testResource(tablePlugin);
    const first = await r.create();
    assert.deepEqual(await r.create(), first);
    assert.deepEqual(r.stepsDone, [id('make')]);
  });

  it('without steps is done at once', async () => {
    await using r = await testResource({});
    assert.equal((await r.create()).phase, 'created');
  });

  it('says that its plugin has gone', async () => {
    await using r = await testResource(tablePlugin);
    await r.store.remove('plugin', 'p@0.0.0');
    await assert.rejects(r.create(), { code: 'sandbox/plugin-missing' });
  });
});

describe('a step that fails', () => {
  it('lets its layer end, and what was begun is undone, with the outputs that there are', async () => {
    await using r = await testResource(diamond, { range: 'ten' });
    r.trouble.fail(`steps.run ${id('disk')}`, failed);
    const record = await r.create();
    assert.deepEqual(layers(r.stepsDone), [
      [id('network')],
      [id('account')],
      // The disk step was begun, so it may have made something. The server step was not.
      [id('no-account', 'delete'), id('no-disk', 'delete')],
      [id('no-network', 'delete')],
    ]);
    assert.deepEqual([...r.things], ['disk-ten'], 'it never said the name of what it made');
    assert.equal(record.phase, 'failed');
    assert.deepEqual(r.states('create'), { network: 'succeeded', disk: 'failed', account: 'succeeded' });
    assert.deepEqual(
      { ...record.failure, output: record.failure?.output?.length },
      {
        step: 'disk',
        code: 'step/failed',
        message: failed.message,
        hint: failed.hint,
        output: 20,
        retry: false,
        generation: 1,
        tries: 0,
      },
    );
    assert.equal(record.failure?.output?.at(-1), 'line 29');
  });

  it('is not undone by steps that have nothing to undo, nor by those that need what they would say', async () => {
    await using r = await testResource({
      create: [step('first', 'make a\noutput id a'), step('second', 'output id b', [input('a', 'first')])],
      delete: [
        step('find', 'output id $second', [input('second', 'second')]),
        // With an empty input this might remove everything.
        step('wipe', 'remove $found', [input('found', 'find')]),
        step('no-first', 'remove $first', [input('first', 'first')]),
      ],
    });
    r.trouble.fail(`steps.run ${id('first')}`, failed);
    await r.create();
    assert.deepEqual(r.stepsDone, [id('no-first', 'delete')]);
  });

  it('is undone also by delete steps that read nothing', async () => {
    await using r = await testResource({
      create: [step('make', 'make table')],
      delete: [step('unmake', 'remove table')],
    });
    r.trouble.fail(`steps.run ${id('make')}`, failed);
    assert.equal((await r.create()).phase, 'failed');
    assert.deepEqual([...r.things], []);
  });

  it('that never began is not undone, and tells why while it waits', async () => {
    await using r = await testResource(tablePlugin);
    const { message } = new OffshootError('step/not-started', { step: 'make', reason: 'X', why: 'y' });
    r.trouble.fail(
      `steps.run ${id('make')}`,
      new OffshootError('step/not-started', { step: 'make', reason: 'X', why: 'y' }),
    );
    const record = await r.create();
    assert.deepEqual([record.phase, record.create, record.failure?.message], ['failed', {}, message]);
    assert.deepEqual(r.stepsDone, [], 'no step of the way back');
    r.trouble.mend(`steps.run ${id('make')}`);
    assert.equal((await r.create()).phase, 'created', 'it is tried again by itself');
  });

  it('that somebody before us has begun ends before it is undone', async () => {
    await using r = await testResource(tablePlugin);
    const make = r.trouble.hang(`steps.run ${id('make')}`);
    const creating = r.create().catch(() => 'stopped');
    await make.reached;
    r.abort.abort(new Error('another process goes on'));
    assert.equal(await creating, 'stopped');
    r.stepsRunning.add(id('make'));
    await r.remove(undefined, new AbortController().signal);
    assert.deepEqual([...r.stepsRunning], []);
    assert.deepEqual(r.stepsDone, [id('unmake', 'delete')]);
  });

  it('is not tried again until the document changes, when that cannot help', async () => {
    await using r = await testResource(tablePlugin);
    r.trouble.fail(`steps.run ${id('make')}`, failed);
    await r.create();
    r.trouble.mend(`steps.run ${id('make')}`);
    const waiting = r.record();
    assert.deepEqual(await r.create(), waiting);
    assert.equal(r.stepsDone.length, 1, 'only the undoing');
    await r.change({ size: '2' });
    assert.equal((await r.create()).phase, 'created');
    assert.equal(r.record().failure, undefined);
  });

  it('is tried again when that may help', async () => {
    await using r = await testResource(tablePlugin);
    r.trouble.fail(`steps.run ${id('make')}`, timeout);
    await r.create();
    assert.equal(r.record().failure?.retry, true);
    assert.equal((await r.create()).phase, 'failed');
    r.trouble.mend(`steps.run ${id('make')}`);
    assert.equal((await r.create()).phase, 'created');
    assert.deepEqual([...r.things], ['table']);
  });
});

describe('a built-in action', () => {
  const builtin: PluginSpec = {
    create: [
      { name: 'provision', uses: 'branch/create', inputs: [] },
      step('fill', 'make rows', [input('url', 'provision', 'url')]),
    ],
    delete: [{ name: 'end', uses: 'branch/delete', inputs: [] }],
  };
  const waiting = { until: ['branch/b'] };

  it('holds nothing while it waits, and goes on from where it was', async () => {
    await using r = await testResource(builtin);
    r.act(() => waiting);
    assert.deepEqual(await r.createWaits(), { until: ['branch/b'], again: 60_000 });
    assert.deepEqual([r.record().phase, r.states('create')], ['creating', { provision: 'running' }]);
    const { startedAt } = r.record().create.provision!;
    r.clock.forward(20_000);
    assert.deepEqual(await r.createWaits(), { until: ['branch/b'], again: 40_000 });
    assert.equal(r.record().create.provision?.startedAt, startedAt);
    r.act(() => ({ outputs: { url: 'there' } }));
    assert.equal((await r.create()).phase, 'created');
    assert.deepEqual([r.record().create.provision?.ms, [...r.things]], [20_000, ['rows']]);
  });

  it('that waits longer than a step may take has failed, and is undone', async () => {
    await using r = await testResource(builtin);
    r.act(() => waiting);
    await r.createWaits();
    r.clock.forward(60_000);
    assert.deepEqual(await r.createWaits(), { until: ['branch/b'], again: 60_000 }, 'now for the undoing');
    assert.equal(r.record().failure?.code, 'step/timeout');
    assert.deepEqual([r.record().phase, r.states('delete')], ['undoing', { end: 'running' }]);
    r.act(() => ({ outputs: {} }));
    assert.equal((await r.create()).phase, 'failed');
  });

  it('is waited for when the resource goes, and says what stands in the way', async () => {
    await using r = await testResource(builtin);
    await r.create();
    const why = new OffshootError('branch/has-children', { name: 'b', children: 'c' });
    r.act(() => ({ until: ['children/b'], why }));
    const waits = await r.remove();
    assert.deepEqual([waits?.until, r.record().phase], [['children/b'], 'deleting']);
    assert.equal(waits?.why?.code, 'sandbox/undo-failed');
    assert.match(waits?.why?.message ?? '', /branch "b" has children: c/);
    r.act(() => ({ outputs: {} }));
    assert.equal(await r.remove(), undefined);
    assert.equal(r.record().phase, 'deleted');
  });
});

describe('undoing that fails', () => {
  it('says so and where, keeps the first failure, and goes on with the next try', async () => {
    await using r = await testResource(diamond, { range: 'ten' });
    r.trouble.fail(`steps.run ${id('server')}`, failed);
    r.trouble.fail(`steps.run ${id('no-disk', 'delete')}`, failed);
    await assert.rejects(r.create(), {
      code: 'sandbox/undo-failed',
      params: { resource: 'db', sandbox: 'sb', step: 'no-disk', why: failed.message },
      output: failed.output,
    });
    assert.equal(r.record().phase, 'undoing');
    assert.equal(r.record().failure?.step, 'server');
    const done = r.stepsDone.length;
    r.trouble.mend(`steps.run ${id('no-disk', 'delete')}`);
    assert.equal((await r.create()).phase, 'failed');
    assert.deepEqual(
      r.stepsDone.slice(done),
      [id('no-disk', 'delete'), id('no-network', 'delete')],
      'the others were done',
    );
    assert.deepEqual([...r.things], ['server-disk-ten-account']);
  });
});

describe('a crash', () => {
  it('is resumed: steps that succeeded are kept, those that were interrupted run again', async () => {
    await using r = await testResource(diamond, { range: 'ten' });
    const server = r.trouble.hang(`steps.run ${id('server')}`);
    const gone = new AbortController();
    const lost = r.create(r.newRunner(), gone.signal);
    await server.reached;
    r.trouble.mend(`steps.run ${id('server')}`);
    const record = await r.create(r.newRunner());
    assert.equal(record.phase, 'created');
    assert.deepEqual(layers(r.stepsDone), [[id('network')], [id('account'), id('disk')], [id('server')]]);
    assert.deepEqual(record.create.server?.outputs, { id: 'server-disk-ten-account' });
    gone.abort(new Error('the end of the test'));
    await assert.rejects(lost, { message: 'the end of the test' });
  });

  it('during the undoing is resumed, too', async () => {
    await using r = await testResource(diamond, { range: 'ten' });
    r.trouble.fail(`steps.run ${id('server')}`, failed);
    const last = r.trouble.hang(`steps.run ${id('no-network', 'delete')}`);
    const gone = new AbortController();
    const lost = r.create(r.newRunner(), gone.signal);
    await last.reached;
    assert.equal(r.record().phase, 'undoing');
    const before = r.stepsDone.length;
    r.trouble.mend(`steps.run ${id('no-network', 'delete')}`);
    assert.equal((await r.create(r.newRunner())).phase, 'failed');
    assert.deepEqual(r.stepsDone.slice(before), [id('no-network', 'delete')]);
    gone.abort();
    await assert.rejects(lost);
  });
});

describe('stopping', () => {
  it('is no failure: the journal says where to go on', async () => {
    await using r = await testResource(diamond, { range: 'ten' });
    const server = r.trouble.hang(`steps.run ${id('server')}`);
    const creating = r.create();
    await server.reached;
    const stop = new Error('stop');
    r.abort.abort(stop);
    await assert.rejects(creating, error => error === stop);
    const record = r.record();
    assert.deepEqual([record.phase, record.failure], ['creating', undefined]);
    assert.equal(record.create.server?.state, 'running');
    assert.deepEqual(r.states('delete'), {});
  });
});

describe('removing', () => {
  it('runs the delete steps, which see outputs of create steps and of one another', async () => {
    await using r = await testResource({
      create: [step('make', 'make table\noutput id table')],
      delete: [
        step('unmake', 'remove $found', [input('found', 'find')]),
        step('find', 'output id $id', [input('id', 'make')]),
      ],
    });
    await r.create();
    await r.remove();
    assert.deepEqual([...r.things], []);
    assert.equal(r.record().phase, 'deleted');
    assert.deepEqual(r.stepsDone.slice(1), [id('find', 'delete'), id('unmake', 'delete')]);
    await r.remove();
    assert.equal(r.stepsDone.length, 3, 'and not again');
  });

  it('has nothing to do for a resource that was never begun, or that was undone', async () => {
    await using r = await testResource(tablePlugin);
    await r.remove();
    assert.deepEqual(r.stepsDone, []);
    assert.equal(r.record().phase, 'deleted');

    await using f = await testResource(tablePlugin);
    f.trouble.fail(`steps.run ${id('make')}`, failed);
    await f.create();
    const done = [...f.stepsDone];
    await f.remove();
    assert.deepEqual(f.stepsDone, done);
  });

  it('goes on with an undoing that was interrupted', async () => {
    await using r = await testResource(diamond, { range: 'ten' });
    r.trouble.fail(`steps.run ${id('server')}`, failed);
    const last = r.trouble.hang(`steps.run ${id('no-network', 'delete')}`);
    const interrupted = new AbortController();
    const creating = r.create(undefined, interrupted.signal);
    await last.reached;
    interrupted.abort(new Error('the intent changed'));
    await assert.rejects(creating);
    assert.equal(r.record().phase, 'undoing');
    const before = r.stepsDone.length;
    r.trouble.mend(`steps.run ${id('no-network', 'delete')}`);
    await r.remove();
    assert.deepEqual(r.stepsDone.slice(before), [id('no-network', 'delete')]);
    assert.equal(r.record().phase, 'deleted');
  });

  it('removes what a create that was interrupted had begun', async () => {
    await using r = await testResource(diamond, { range: 'ten' });
    const network = r.trouble.hang(`steps.run ${id('network')}`);
    const interrupted = new AbortController();
    const creating = r.create(undefined, interrupted.signal);
    await network.reached;
    interrupted.abort(new Error('the intent changed'));
    await assert.rejects(creating);
    await r.remove();
    assert.deepEqual(r.stepsDone, [id('no-network', 'delete')]);
  });

  it('that fails says so, and only the rest is done the next time', async () => {
    await using r = await testResource(diamond, { range: 'ten' });
    await r.create();
    r.trouble.fail(`steps.run ${id('no-disk', 'delete')}`, failed);
    await assert.rejects(r.remove(), { code: 'sandbox/undo-failed' });
    assert.equal(r.record().phase, 'deleting');
    r.trouble.mend(`steps.run ${id('no-disk', 'delete')}`);
    const before = r.stepsDone.length;
    await r.remove();
    assert.deepEqual(r.stepsDone.slice(before), [id('no-disk', 'delete'), id('no-network', 'delete')]);
    assert.deepEqual([...r.things], []);
  });
});

it('a step that never ends is ended by its deadline, and undone', async () => {
  await using r = await testResource(tablePlugin, {}, 30);
  const [first] = tablePlugin.create!;
  r.trouble.hang(`steps.run ${id(first!.name)}`);
  const record = await r.create();
  assert.equal(record.phase, 'failed');
  assert.equal(record.failure!.code, 'step/timeout');
  assert.equal(record.failure!.retry, true);
  assert.deepEqual(r.states('delete'), { [tablePlugin.delete![0]!.name]: 'succeeded' });
});
