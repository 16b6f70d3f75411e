/**
 * Applications in the shape of well-known public ones, as their teams would use them here: deploy, sandbox, change code,
 * change configuration, delete. All on one machine at once.
 */
import assert from 'node:assert/strict';
import { cpSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { stringify } from 'yaml';
import { http } from '../../scripts/demo/http.ts';
import { findProgram } from '../../src/lib/find-program.ts';
import { until } from '../../src/lib/wait.ts';
import type { ImageMap } from '../../src/model/image.ts';
import type { ManifestView, SandboxView } from '../../src/model/view.ts';
import { runCli } from '../support/cli.ts';
import { root, type TestDaemon, testDaemon } from '../support/daemon.ts';
import { noNetworks } from '../support/networks.ts';
import { tempDir } from '../support/temp.ts';

const fixtures = join(root, 'test', 'e2e', 'apps');

type Ask = (
  service: string,
  path?: string,
  how?: { readonly key?: string; readonly method?: string },
) => Promise<string>;

type World = {
  readonly daemon: TestDaemon;
  readonly folder: string;
  /** Runs the command line; it must succeed. @returns what it says */
  readonly run: (args: readonly string[], input?: string) => Promise<string>;
  /** What a Service answers: to everybody, or to requests with a routing key. */
  readonly ask: Ask;
  readonly sandbox: SandboxView;
};

type Shape = {
  /** Of its folder, and its namespace. */
  readonly name: string;
  readonly images: Readonly<Record<string, readonly string[]>>;
  /** What is there before it. */
  readonly before?: (world: Omit<World, 'sandbox'>) => Promise<void>;
  /** The image whose code is changed, and what is forked for it. */
  readonly changed: { readonly image: string; readonly kind: string; readonly name: string };
  readonly spec?: object;
  readonly customizations?: object;
  /** What `code` makes visible to everybody, and to those with a key; `config` is of the ConfigMap. */
  readonly shows: (world: World, seen: Seen) => Promise<void>;
  /** A text in the ConfigMap's file, what it becomes, and which workloads use it. */
  readonly config: {
    readonly file: string;
    readonly from: string;
    readonly to: string;
    readonly users: readonly string[];
  };
};

type Seen = { readonly all: 'first' | 'second'; readonly config: string };

/** What the shapes have in common with a machine that has the real programs. */
const real = {
  redis: await findProgram('redis-server', process.env.PATH ?? '', '/'),
  python: await findProgram('python3', process.env.PATH ?? '', '/'),
};
const redis: Shape['images'] =
  real.redis === undefined
    ? { redis: ['node', '../redis.mjs'] }
    : { redis: [real.redis, '--save', '', '--protected-mode', 'no'] };

const shapes: readonly Shape[] = [
  {
    name: 'boutique',
    images: { 'shop-service': ['node', 'service.mjs'], 'shop-frontend': ['node', 'frontend.mjs'], ...redis },
    changed: { image: 'shop-service', kind: 'Deployment', name: 'currencyservice' },
    async shows({ ask, sandbox }, { all, config }) {
      const answers = async (key?: string) =>
        JSON.parse(await ask('frontend', '/', key ? { key } : {})) as string[];
      const everybody = await answers();
      assert.equal(everybody.length, 7, 'the eighth asks the others');
      assert.ok(everybody.includes(`currencyservice ${all} ${config}`), everybody.join());
      const cart = Number(
        everybody
          .find(one => one.startsWith('cartservice'))
          ?.split(' ')
          .at(-1),
      );
      assert.ok(cart > 0, 'Redis counts');
      assert.ok((await answers(sandbox.routingKey)).includes(`currencyservice second ${config}`));
    },
    config: { file: 'shop.yaml', from: 'currency: EUR', to: 'currency: JPY', users: ['currencyservice'] },
  },
  {
    name: 'notes',
    images: { notes: ['node', 'app.cjs'] },
    async before({ run }) {
      const url = await run(['branch', 'url', 'main']);
      const secret = {
        apiVersion: 'v1',
        kind: 'Secret',
        metadata: { name: 'notes-database', namespace: 'notes' },
      };
      await run(
        ['deploy', '-f', '-', '--no-wait'],
        JSON.stringify({ ...secret, stringData: { DATABASE_URL: url.trim() } }),
      );
      await run([
        'resourceplugin',
        'apply',
        '-f',
        join(root, 'examples/users-service/signadot/xata-branch-plugin.uses.yaml'),
      ]);
    },
    changed: { image: 'notes', kind: 'Deployment', name: 'web' },
    spec: { resources: [{ name: 'db', plugin: 'xata-branch', params: { 'parent-branch': 'main' } }] },
    // Migrations run in a container of their own.
    customizations: {
      images: ['migrate', 'web'].map(container => ({ container, image: 'notes:v2' })),
      env: ['migrate', 'web'].map(container => ({
        ...{ container, name: 'DATABASE_URL' },
        valueFrom: { resource: { name: 'db', outputKey: 'provision.connection-string' } },
      })),
    },
    async shows({ ask, sandbox }, { all, config }) {
      const notes = async (how: { key?: string; method?: string } = {}, path = '/') =>
        JSON.parse(await ask('web', path, how)) as {
          code: string;
          title: string;
          notes: string[];
          columns: string[];
        };
      const { routingKey: key } = sandbox;
      await notes({ key, method: 'POST' }, '/mine');
      const [everybody, own] = [await notes(), await notes({ key })];
      assert.deepEqual([everybody.code, everybody.title, everybody.notes], [all, config, []]);
      assert.deepEqual([own.code, own.title, own.notes.includes('mine')], ['second', config, true]);
      assert.equal(
        everybody.columns.includes('by_second'),
        all === 'second',
        'a migration of a fork stays there',
      );
      assert.ok(own.columns.includes('by_second'));
    },
    config: { file: 'config.yaml', from: 'TITLE: Notes', to: 'TITLE: Memos', users: ['web'] },
  },
  {
    name: 'podinfo',
    images: { podinfo: real.python === undefined ? ['node', 'app.mjs'] : [real.python, 'app.py'] },
    changed: { image: 'podinfo', kind: 'Deployment', name: 'podinfo' },
    async shows({ ask, sandbox }, { all, config }) {
      const info = async (key?: string) =>
        JSON.parse(await ask('podinfo', '/', key ? { key } : {})) as Record<string, string>;
      const [everybody, own] = [await info(), await info(sandbox.routingKey)];
      assert.deepEqual([everybody.code, everybody.colour, everybody.motd], [all, config, 'good day']);
      assert.deepEqual([own.code, own.colour], ['second', config]);
      assert.match(everybody.pod ?? '', /^podinfo-/);
    },
    config: { file: 'all.yaml', from: '"colour": "blue"', to: '"colour": "green"', users: ['podinfo'] },
  },
  {
    name: 'guestbook',
    images: { 'guestbook-web': ['node', 'web.mjs'], 'guestbook-api': ['node', 'api.mjs'] },
    changed: { image: 'guestbook-api', kind: 'Deployment', name: 'api' },
    async shows({ ask, sandbox }, { all, config }) {
      await ask('api', '/hello', { key: sandbox.routingKey, method: 'POST' });
      const [page, own] = [await ask('frontend'), await ask('frontend', '/', { key: sandbox.routingKey })];
      assert.equal(page, `<h1>${config}</h1><ul></ul><footer>${all}</footer>`);
      assert.match(own, new RegExp(`<h1>${config}</h1><ul>.*<li>hello</li></ul><footer>second`));
    },
    config: {
      file: 'api.json',
      from: '"GREETING": "Guestbook"',
      to: '"GREETING": "Visitors"',
      users: ['api'],
    },
  },
  {
    name: 'voting',
    images: {
      'acme/vote': ['node', 'vote.mjs'],
      'acme/worker': ['node', 'worker.mjs'],
      'acme/result': ['node', 'result.mjs'],
      ...redis,
    },
    async before({ daemon, run }) {
      const secret = {
        apiVersion: 'v1',
        kind: 'Secret',
        metadata: { name: 'offshoot', namespace: 'voting' },
      };
      const stringData = {
        url: daemon.client.connection.url,
        key: (await run(['key', 'create', 'worker'])).trim(),
      };
      await run(['deploy', '-f', '-', '--no-wait'], JSON.stringify({ ...secret, stringData }));
    },
    changed: { image: 'acme/worker', kind: 'Deployment', name: 'worker' },
    async shows({ ask, sandbox }, { all, config }) {
      const counted = async () => JSON.parse(await ask('result')) as string[];
      const before = (await counted()).length;
      assert.equal(await ask('vote', '/cats'), `voted by ${config}`);
      await ask('vote', '/dogs', { key: sandbox.routingKey });
      const found = await until(
        async () => {
          const all = (await counted()).slice(before);
          return all.length >= 2 ? all : undefined;
        },
        { what: 'the counted votes', deadlineMs: 60_000 },
      );
      assert.deepEqual(found.sort(), [`cats by ${all}`, 'dogs by second']);
    },
    config: { file: 'vote.yaml', from: 'OPTION_A: Cats', to: 'OPTION_A: Hens', users: ['vote'] },
  },
  {
    name: 'ledger',
    images: {
      ledger: ['node', 'ledger.mjs'],
      'ledger-init': ['node', 'init.mjs'],
      busybox: ['sh'],
    },
    changed: { image: 'acme/ledger', kind: 'StatefulSet', name: 'ledger' },
    async shows({ ask, daemon, sandbox }, { all, config }) {
      const { routingKey: key } = sandbox;
      const ledger = async (how = {}, path = '/') =>
        JSON.parse(await ask('ledger-client', path, how)) as {
          code: string;
          name: string;
          cluster: string;
          lines: string[];
        };
      await ledger({ key, method: 'POST' }, '/mine');
      const [everybody, own] = [await ledger(), await ledger({ key })];
      assert.deepEqual(everybody, { code: all, name: 'ledger-0', cluster: config, lines: ['opened'] });
      assert.deepEqual([own.code, own.cluster, own.lines.at(-1)], ['second', config, 'mine']);
      assert.notEqual(own.name, 'ledger-0', 'a fork has none of the stable names');
      const { disks } = (await daemon.client.sandboxes.get(sandbox.name)).status.forks[0]!;
      // Where the file system shares no blocks it begins empty, and says so.
      assert.equal(
        own.lines.includes('opened'),
        Object.values(disks ?? {}).join() === 'copy',
        JSON.stringify(disks),
      );
    },
    config: { file: 'ledger.yaml', from: 'name: books', to: 'name: annals', users: ['ledger'] },
  },
];

test('shapes of public applications', { concurrency: true }, async t => {
  const why = await noNetworks();
  if (why !== undefined) return t.skip(`programs with fixed ports need networks of their own: ${why}`);
  for (const [name, file] of Object.entries(real)) t.diagnostic(`${name}: ${file ?? 'a stand-in'}`);
  await using daemon = await testDaemon();
  await using dir = await tempDir();
  for (const file of ['redis.mjs', 'redis-client.mjs']) cpSync(join(fixtures, file), join(dir.path, file));
  await daemon.cli(['branch', 'wait', 'main']);
  await Promise.all(shapes.map(shape => t.test(shape.name, () => play(shape, daemon, dir.path))));
});

async function play(shape: Shape, daemon: TestDaemon, parent: string): Promise<void> {
  const { name, changed, config } = shape;
  const folder = checkout(shape, parent);
  const run: World['run'] = async (args, input) => {
    const env = { OFFSHOOT_HOME: daemon.home, PATH: process.env.PATH };
    const ran = await runCli(args, { cwd: folder, env, ...(input !== undefined && { input }) });
    assert.equal(ran.code, 0, `${name}: offshoot ${args.join(' ')}: ${ran.stderr}`);
    return ran.stdout;
  };
  const urls = new Map<string, string>();
  const ask: Ask = async (service, path = '/', { key, method = 'GET' } = {}) => {
    const url = urls.get(service) ?? (await run(['service', 'url', service, '-n', name])).trim();
    urls.set(service, url);
    const headers = key === undefined ? {} : { baggage: `sd-routing-key=${key}` };
    const { status, body } = await http(url + path, { method, headers });
    assert.equal(status, 200, `${name}: ${service}${path}: ${body}`);
    return body;
  };
  const began = async () =>
    new Map((await daemon.labelled(`.${name}.`)).map(line => line.split(' ').reverse() as [string, string]));
  const deploy = () => run(['deploy', '-f', 'k8s', '-n', name]);

  await shape.before?.({ daemon, folder, run, ask });
  await deploy();
  const made = await run(['sandbox', 'apply', '-f', '-', '-o', 'json'], sandboxOf(shape));
  const whole = (await settled(began)).size;
  const world: World = { daemon, folder, run, ask, sandbox: JSON.parse(made) as SandboxView };
  const initial = configValue(config.from);
  await shape.shows(world, { all: 'first', config: initial });

  edit(folder, text => text.replaceAll(`${changed.image}:v1`, `${changed.image}:v2`));
  await deploy();
  await shape.shows(world, { all: 'second', config: initial });

  const before = await settled(began, whole);
  edit(folder, text => text.replace(config.from, config.to));
  await deploy();
  await shape.shows(world, { all: 'second', config: configValue(config.to) });
  const after = await settled(began, whole);
  const isUser = (part: string) => config.users.some(user => part.includes(`.${name}.${user}/`));
  const others = (parts: ReadonlyMap<string, string>) => [...parts].filter(([part]) => !isUser(part)).sort();
  assert.deepEqual(others(after), others(before), `${name}: only what uses the ConfigMap starts again`);
  for (const [part, pid] of before)
    if (isUser(part)) assert.notEqual(after.get(part), pid, `${name}: ${part}`);

  await run(['sandbox', 'delete', name]);
  await run(['undeploy', '-n', name, '--yes']);
  assert.deepEqual(await daemon.labelled(`.${name}.`), []);
  const left = (await daemon.client.manifests.list()).filter((m: ManifestView) => m.namespace === name);
  assert.deepEqual(left, []);
}

// --- internal ------------------------------------------------------------------------------------

type Started = ReadonlyMap<string, string>;

/** What runs when what was replaced has ended: pods are left alone for a while when nobody is led to them any more. */
async function settled(began: () => Promise<Started>, whole?: number): Promise<Started> {
  if (whole === undefined) return began();
  return until(
    async () => {
      const all = await began();
      return all.size === whole ? all : undefined;
    },
    { what: 'the end of pods that were replaced', deadlineMs: 60_000 },
  );
}

/** The folder as somebody has it who has just cloned it, with a second version of its programs beside the first. */
function checkout({ name, images }: Shape, parent: string): string {
  const folder = join(parent, name);
  cpSync(join(fixtures, name), folder, { recursive: true });
  cpSync(join(fixtures, 'redis-client.mjs'), join(folder, 'v1', 'redis-client.mjs'));
  cpSync(join(folder, 'v1'), join(folder, 'v2'), { recursive: true });
  for (const file of readdirSync(join(folder, 'v2'))) {
    const path = join(folder, 'v2', file);
    writeFileSync(path, readFileSync(path, 'utf8').replace(/(CODE = ['"])first/, '$1second'));
  }
  const entries = Object.entries(images).map(([image, command]): [string, ImageMap[string]] => {
    const env = { NODE_PATH: join(root, 'node_modules') };
    return command[1]?.includes('.') && !command[1].startsWith('..')
      ? [`${image}:{version}`, { dir: '{version}', command, env }]
      : [image, { dir: '.', command }];
  });
  writeFileSync(join(folder, 'offshoot.yaml'), stringify({ images: Object.fromEntries(entries) }));
  return folder;
}

function edit(folder: string, change: (text: string) => string): void {
  for (const file of readdirSync(join(folder, 'k8s'))) {
    const path = join(folder, 'k8s', file);
    writeFileSync(path, change(readFileSync(path, 'utf8')));
  }
}

const sandboxOf = ({ name, changed, spec = {}, customizations = {} }: Shape): string =>
  JSON.stringify({
    name,
    spec: {
      ...{ cluster: 'local', ...spec },
      forks: [
        {
          forkOf: { kind: changed.kind, namespace: name, name: changed.name },
          customizations: { images: [{ image: `${changed.image}:v2` }], ...customizations },
        },
      ],
    },
  });

/** `blue` of `"colour": "blue"`. */
const configValue = (text: string): string => text.split(': ').at(-1)!.replaceAll('"', '');
