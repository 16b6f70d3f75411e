/** A sandbox from its document to its end, with a resource of a plugin: the same on one machine and in a cluster. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { parse } from 'yaml';
import { until } from '../../src/lib/wait.ts';
import type { SandboxSpec } from '../../src/model/sandbox.ts';
import type { SandboxView } from '../../src/model/view.ts';
import { noCluster, noImage } from '../support/cluster.ts';
import { openPlace, type Place, placeName, type Said } from '../support/place.ts';

describe(`sandboxes on ${placeName}`, { skip: noCluster === false && noImage }, () => {
  let place: Place;
  before(async () => {
    place = await openPlace();
    await run(['project', 'create', project]);
    await sql('main', "create table t (word text); insert into t values ('copied')");
  });
  after(() => place?.[Symbol.asyncDispose]());

  const run = async (args: readonly string[], document?: object): Promise<string> => {
    const input = document === undefined ? {} : { input: JSON.stringify(document) };
    const { code, stdout, stderr } = await place.cli(args, input);
    assert.equal(code, 0, `offshoot ${args.join(' ')}: ${stderr}`);
    return stdout;
  };
  const make = async (name: string, plugin = 'tenant'): Promise<SandboxView> =>
    JSON.parse(
      await run(['sandbox', 'apply', '-f', '-', '-o', 'json'], sandbox(place, name, plugin)),
    ) as SandboxView;
  const sql = (branch: string, text: string) => run(['sql', branch, '--project', project, '-c', text]);
  const branches = async (): Promise<readonly string[]> =>
    (JSON.parse(await run(['branch', 'list', '--project', project, '-o', 'json'])) as { name: string }[])
      .map(({ name }) => name)
      .toSorted();
  const jsonOf = async (answer: ReturnType<Place['ask']>): Promise<unknown> => {
    const { status, body, json } = await answer;
    assert.equal(status, 200, body);
    return json();
  };
  const saidBy = async (answer: ReturnType<Place['ask']>) => (await jsonOf(answer)) as Said;
  const forkOf = ({ status }: SandboxView): Promise<Said> =>
    saidBy(place.askAt(status.forks[0]!.ports[8080]![0]!));
  const nothingLeft = (but: readonly string[] = []) =>
    until(
      async () => {
        const left = await place.left();
        return left.every(one => but.some(name => one.includes(name))) ? true : undefined;
      },
      { what: 'nothing is left', deadlineMs: 120_000, intervalMs: 200 },
    );

  it('have what their plugins make, beside a baseline that stays as it is, and leave nothing', async t => {
    const before = await place.own();
    await run(['resourceplugin', 'apply', '-f', '-'], plugin('tenant'));
    const [one, two] = await Promise.all([make('one'), make('two')]);
    assert.deepEqual(await forkOf(one), { word: 'changed', tenant: 'tenant of one: gold', sandbox: 'one' });
    assert.deepEqual(await forkOf(two), { word: 'changed', tenant: 'tenant of two: gold', sandbox: 'two' });
    const baseline = { word: 'baseline', tenant: null, sandbox: null };
    assert.deepEqual(await saidBy(place.ask()), baseline);

    const { key } = JSON.parse(await run(['key', 'create', 'browser', '-o', 'json'])) as { key: string };
    const headers = { 'offshoot-api-key': key };
    const [preview] = one.endpoints;
    await t.test('a preview shows its fork to who has a key', async () => {
      assert.equal((await saidBy(place.askPreview(preview!.url, { headers }))).sandbox, 'one');
      assert.equal((await place.askPreview(preview!.url)).status, 401);
      assert.deepEqual(await saidBy(place.ask()), baseline);
    });

    await t.test('a routing key leads to its fork, and no other', async () => {
      for (const { name, routingKey } of [one, two])
        for (let i = 0; i < 5; i++) {
          const headers = { baggage: `sd-routing-key=${routingKey}` };
          assert.equal((await saidBy(place.ask({ headers }))).sandbox, name);
          assert.deepEqual(await saidBy(place.ask()), baseline);
        }
    });

    await run(['sandbox', 'delete', 'one']);
    await nothingLeft(['two']);
    assert.equal((await forkOf(two)).sandbox, 'two');

    await t.test('a key of one that was deleted leads nowhere, and neither does its preview', async () => {
      const { status } = await place.ask({ headers: { baggage: `sd-routing-key=${one.routingKey}` } });
      assert.equal(status, 410);
      assert.equal((await place.askPreview(preview!.url, { headers })).status, 410);
    });

    await run(['sandbox', 'delete', 'two']);
    await nothingLeft();
    assert.deepEqual(await saidBy(place.ask()), baseline);
    assert.equal(await place.own(), before);
  });

  it('have a branch of a copy, while the baseline keeps its own database, by the documents of the page', async () => {
    const before = await place.own();
    await run(['resourceplugin', 'apply', '-f', '-'], copyBranch);
    const applied = await run(['sandbox', 'apply', '-f', '-', '-o', 'json'], ownSandbox(place));
    const [address] = (JSON.parse(applied) as SandboxView).status.forks[0]!.ports[8080]!;
    assert.deepEqual(await jsonOf(place.askAt(address!, '/words?add=forked')), ['copied', 'forked']);
    assert.deepEqual(await jsonOf(place.ask({ path: '/words' })), ['its own']);
    assert.deepEqual(await branches(), ['main', 'sb-pr-42']);
    await run(['sandbox', 'delete', 'pr-42']);
    assert.deepEqual(await branches(), ['main']);
    assert.match(await sql('main', 'select string_agg(word, $$ $$) from t'), /^ *copied *$/m);
    assert.equal(await place.own(), before);
  });

  it('say why a plugin failed, undo what it began, and are made when it is mended', async () => {
    const broken = plugin('broken', 'echo "no tenants today"; exit 3');
    await run(['resourceplugin', 'apply', '-f', '-'], broken);
    const document = sandbox(place, 'bad', 'broken');
    const failed = await place.cli(['sandbox', 'apply', '-f', '-'], { input: JSON.stringify(document) });
    assert.equal(failed.code, 1);
    assert.match(failed.stderr, /the script of step "provision" ended with exit code 3/);
    assert.match(failed.stderr, /\| no tenants today/);
    await nothingLeft(['bad']);
    await run(['sandbox', 'delete', 'bad']);
    await nothingLeft();
    await run(['resourceplugin', 'apply', '-f', '-'], plugin('broken'));
    assert.equal((await forkOf(await make('bad', 'broken'))).tenant, 'tenant of bad: gold');
    await run(['sandbox', 'delete', 'bad']);
    await nothingLeft();
  });

  it('are made to their end, and deleted to their end, when what decides is killed meanwhile; branches stay', async () => {
    await run(['branch', 'create', 'mine', '--project', project]);
    await sql('mine', "update t set word = 'mine'");
    const slow = `sleep 1; ${script}`;
    await run(['resourceplugin', 'apply', '-f', '-'], plugin('slow', slow, 'sleep 1'));
    await run(['sandbox', 'apply', '-f', '-', '--no-wait'], sandbox(place, 'cut', 'slow'));
    const isRunning = async () => (await place.left()).some(one => /step/i.test(one)) || undefined;
    const wait = { deadlineMs: 120_000, intervalMs: 50 };
    await until(isRunning, { what: 'its step runs', ...wait });
    await place.kill();
    const view = await until(
      async () => {
        const got = JSON.parse(await run(['sandbox', 'get', 'cut', '-o', 'json'])) as SandboxView;
        return got.status.ready ? got : undefined;
      },
      { what: 'it is ready', ...wait },
    );
    assert.equal((await forkOf(view)).tenant, 'tenant of cut: gold');
    await run(['sandbox', 'delete', 'cut', '--no-wait']);
    await until(isRunning, { what: 'its last step runs', ...wait });
    await place.kill();
    await nothingLeft();
    assert.match(await sql('mine', 'select word from t'), /mine/);
    await run(['branch', 'delete', 'mine', '--project', project]);
    assert.deepEqual(await branches(), ['main']);
  });
});

// --- internal ------------------------------------------------------------------------------------

const [copyBranch, pr42] = [
  ...readFileSync(join(import.meta.dirname, '../../docs/own-database.md'), 'utf8').matchAll(
    /^```yaml\n([\s\S]*?)^```$/gm,
  ),
].map(([, text = '']) => parse(text) as { readonly spec: SandboxSpec });

const project = 'staging-copy';

/** Of the page, for the service that a place has. */
const ownSandbox = ({ namespace }: Place): object => {
  const { spec } = pr42!;
  const forks = spec.forks!.map(fork => ({ ...fork, forkOf: { ...fork.forkOf, namespace, name: 'echo' } }));
  return { ...pr42, spec: { ...spec, forks } };
};

const script =
  'mkdir -p /outputs; printf "tenant of %s: %s" "$SIGNADOT_SANDBOX_NAME" "$PLAN" > /outputs/tenant';

const plugin = (name: string, create = script, remove = 'echo "removes $TENANT"') => ({
  name,
  spec: {
    create: [
      {
        name: 'provision',
        inputs: [{ name: 'plan', valueFromSandbox: true }],
        outputs: [{ name: 'tenant', valueFromPath: '/outputs/tenant' }],
        script: `#!/bin/sh\nset -eu\n${create}\n`,
      },
    ],
    delete: [
      {
        name: 'deprovision',
        inputs: [{ name: 'tenant', valueFromStep: { name: 'provision', output: 'tenant' } }],
        script: `#!/bin/sh\nset -eu\n${remove}\n`,
      },
    ],
  },
});

const sandbox = ({ namespace }: Place, name: string, plugin: string) => ({
  name,
  spec: {
    cluster: 'local',
    defaultRouteGroup: { endpoints: [{ name: 'echo', target: `http://echo.${namespace}.svc:8080` }] },
    resources: [{ name: 'tenant', plugin, params: { plan: 'gold' } }],
    forks: [
      {
        forkOf: { kind: 'Deployment', namespace, name: 'echo' },
        customizations: {
          env: [
            { name: 'WORD', value: 'changed' },
            { name: 'TENANT', valueFrom: { resource: { name: 'tenant', outputKey: 'provision.tenant' } } },
          ],
        },
      },
    ],
  },
});
