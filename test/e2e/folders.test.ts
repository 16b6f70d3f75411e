/** Two folders on one machine: whose namespaces are whose, and whose program runs. */
import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import { stringify } from 'yaml';
import { http } from '../../scripts/demo/http.ts';
import { until } from '../../src/lib/wait.ts';
import type { SandboxView } from '../../src/model/view.ts';
import { type TestDaemon, testDaemon } from '../support/daemon.ts';
import { tempDir } from '../support/temp.ts';

const program = (says: string) => `
  require('node:http').createServer((_, answer) => answer.end('${says} ' + (process.env.COLOUR ?? '')))
    .listen(process.env.PORT, '127.0.0.1');`;

const manifests = (namespace: string) =>
  [
    { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'paint', namespace }, data: { COLOUR: 'red' } },
    {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name: 'web', namespace },
      spec: {
        selector: { matchLabels: { app: 'web' } },
        template: {
          metadata: { labels: { app: 'web' } },
          spec: {
            containers: [
              {
                name: 'main',
                image: 'acme/web:1',
                ports: [{ containerPort: 3000 }],
                envFrom: [{ configMapRef: { name: 'paint' } }],
              },
            ],
          },
        },
      },
    },
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'web', namespace },
      spec: { selector: { app: 'web' }, ports: [{ port: 3000 }] },
    },
  ]
    .map(object => stringify(object))
    .join('---\n');

/** A checkout with a program that says its name, and manifests for `namespace`. */
function checkout(root: string, name: string, namespace: string): string {
  const folder = join(root, name);
  mkdirSync(join(folder, 'k8s'), { recursive: true });
  writeFileSync(join(folder, 'server.cjs'), program(name));
  writeFileSync(join(folder, 'k8s', 'all.yaml'), manifests(namespace));
  const images = { 'acme/web': { dir: '.', command: ['node', 'server.cjs'] } };
  writeFileSync(join(folder, 'offshoot.yaml'), stringify({ images }));
  return folder;
}

async function answerOf({ cli }: TestDaemon, namespace: string, headers = {}): Promise<string> {
  const { stdout } = await cli(['service', 'url', 'web', '-n', namespace]);
  const { status, body } = await http(stdout.trim(), { headers });
  return `${status} ${body}`;
}

test('folders with images of the same name do not meet', async () => {
  await using daemon = await testDaemon({ env: { OFFSHOOT_VOLUMES: 'copy' } });
  await using dir = await tempDir();
  const { cli } = daemon;
  const [one, two] = [checkout(dir.path, 'one', 'one'), checkout(dir.path, 'two', 'two')];
  const ok = async (args: readonly string[], cwd: string, input?: string) => {
    const { code, stderr, stdout } = await cli(args, { cwd, ...(input !== undefined && { input }) });
    assert.equal(code, 0, stderr);
    return stdout;
  };
  await ok(['deploy', '-f', 'k8s'], one);
  await ok(['deploy', '-f', 'k8s'], two);
  assert.equal(await answerOf(daemon, 'one'), '200 one red');
  assert.equal(await answerOf(daemon, 'two'), '200 two red');

  // A namespace of somebody else's.
  writeFileSync(join(two, 'k8s', 'all.yaml'), manifests('one'));
  const refused = await cli(['deploy', '-f', 'k8s'], { cwd: two });
  assert.equal(refused.code, 1);
  assert.match(
    refused.stderr,
    /error: namespace "one" belongs to the folder .*\/one, and this is .*\/two\nhint: .*--take-over/,
  );
  assert.equal(await answerOf(daemon, 'one'), '200 one red');
  await ok(['deploy', '-f', 'k8s', '--take-over'], two);
  assert.equal(await answerOf(daemon, 'one'), '200 two red');

  // A document of another checkout brings its own program along.
  const document = {
    name: 'mine',
    spec: {
      cluster: 'local',
      forks: [{ forkOf: { kind: 'Deployment', namespace: 'two', name: 'web' } }],
      defaultRouteGroup: { endpoints: [{ name: 'web', target: 'http://web.two.svc:3000' }] },
    },
  };
  const three = checkout(dir.path, 'three', 'three');
  const preview = async (cwd: string) => {
    const made = JSON.parse(
      await ok(['sandbox', 'apply', '-f', '-', '-o', 'json'], cwd, JSON.stringify(document)),
    );
    const key = (await ok(['key', 'create', `test-${cwd.length}`], cwd)).trim();
    const { url } = (made as SandboxView).endpoints[0]!;
    return (await http(url, { headers: { 'signadot-api-key': key } })).body;
  };
  assert.equal(await preview(three), 'three red');
  assert.equal(await preview(dir.path), 'two red', 'without a project file, that of the baseline');
  assert.equal(await answerOf(daemon, 'two'), '200 two red');

  const images = await ok(['image', 'list'], two);
  await editsShow({ daemon, ok, document, two, three });
  assert.match(images, /acme\/web +\S+\/two +\S+\/two +node server.cjs +one\/web, two\/web, sandbox mine\n/);
});

/** `web` of namespace `two` runs in folder `two`, and its fork in folder `three`. */
async function editsShow({
  daemon,
  ok,
  document,
  two,
  three,
}: {
  readonly daemon: TestDaemon;
  readonly ok: (args: readonly string[], cwd: string, input?: string) => Promise<string>;
  readonly document: object;
  readonly two: string;
  readonly three: string;
}): Promise<void> {
  const entry = (folder: string, more: object) =>
    writeFileSync(
      join(folder, 'offshoot.yaml'),
      stringify({ images: { 'acme/web': { dir: '.', command: ['node', 'server.cjs'], ...more } } }),
    );
  const edit = (folder: string, says: string) => writeFileSync(join(folder, 'server.cjs'), program(says));
  const apply = async () =>
    JSON.parse(
      await ok(['sandbox', 'apply', '-f', '-', '-o', 'json'], three, JSON.stringify(document)),
    ) as SandboxView;
  const deploy = () => ok(['deploy', '-f', 'k8s'], two);
  entry(two, { watch: ['*.cjs'] });
  entry(three, { watch: ['*.cjs'] });
  await deploy();
  const { routingKey } = await apply();
  const baseline = () => answerOf(daemon, 'two');
  const fork = () => answerOf(daemon, 'two', { baggage: `sd-routing-key=${routingKey}` });
  const both = (what: string, answers: readonly string[]) =>
    until(
      async () => {
        const now = [await baseline(), await fork()];
        // Nobody is ever turned away, and nobody sees what is not his.
        for (const answer of now) assert.match(answer, /^200 (two|three|edit-\d) red$/);
        return isDeepStrictEqual(now, answers) || undefined;
      },
      { what, deadlineMs: 60_000 },
    );
  assert.deepEqual([await baseline(), await fork()], ['200 two red', '200 three red']);
  edit(three, 'edit-1');
  await both('the edit shows in the sandbox alone', ['200 two red', '200 edit-1 red']);
  edit(two, 'edit-2');
  await both('the edit shows in the baseline alone', ['200 edit-2 red', '200 edit-1 red']);
  assert.equal(await answerOf(daemon, 'one'), '200 edit-2 red');

  // Where nobody watches, whoever applies or deploys again gets what is there then.
  entry(two, {});
  entry(three, {});
  await deploy();
  await apply();
  edit(three, 'edit-3');
  edit(two, 'edit-4');
  await apply();
  assert.deepEqual([await baseline(), await fork()], ['200 edit-2 red', '200 edit-3 red']);
  await deploy();
  assert.deepEqual([await baseline(), await fork()], ['200 edit-4 red', '200 edit-3 red']);

  // What cannot be built is told at once, and the version before goes on serving; mended, it is there at once.
  entry(three, { build: 'cat made || exit 3' });
  const cli = (args: readonly string[], cwd: string) =>
    daemon.cli(args, { cwd, input: JSON.stringify(document) });
  const failed = await cli(['sandbox', 'apply', '-f', '-'], three);
  assert.equal(failed.code, 1, failed.stderr);
  assert.match(
    failed.stderr,
    /build failed: "cat made \|\| exit 3" in \S+\/three ended with exit code 3: cat: /,
  );
  assert.equal(await fork(), '200 edit-3 red');
  writeFileSync(join(three, 'made'), '');
  await apply();

  entry(three, { runtime: 'no-such-runtime' });
  const missing = await cli(['sandbox', 'apply', '-f', '-', '-o', 'json'], three);
  assert.equal(missing.code, 2);
  const told = JSON.parse(missing.stderr.trim().split('\n').at(-1)!) as Record<string, string>;
  assert.equal(told.code, 'workload/runtime-missing');
  assert.match(
    told.error!,
    /^the runtime "no-such-runtime" of image "acme\/web" is not on the PATH of this shell \(.*\/.*\)$/,
  );
}

test('a deploy of a ConfigMap returns when what uses it answers with it', async () => {
  await using daemon = await testDaemon({ env: { OFFSHOOT_VOLUMES: 'copy' } });
  await using dir = await tempDir();
  const folder = checkout(dir.path, 'one', 'demo');
  const deploy = async (args: readonly string[], input?: string) => {
    const result = await daemon.cli(['deploy', ...args], {
      cwd: folder,
      ...(input !== undefined && { input }),
    });
    assert.equal(result.code, 0, result.stderr);
  };
  await deploy(['-f', 'k8s']);
  // A fork whose own document refers to a ConfigMap that the baseline knows nothing of.
  const document = {
    name: 'own',
    spec: {
      cluster: 'local',
      forks: [
        {
          forkOf: { kind: 'Deployment', namespace: 'demo', name: 'web' },
          customizations: {
            env: [{ name: 'COLOUR', valueFrom: { configMap: { name: 'own', key: 'COLOUR' } } }],
          },
        },
      ],
    },
  };
  const paint = (name: string, data: Readonly<Record<string, string>>) =>
    deploy(
      ['-f', '-'],
      JSON.stringify({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, namespace: 'demo' }, data }),
    );
  await paint('own', { COLOUR: 'white' });
  const made = await daemon.cli(['sandbox', 'apply', '-f', '-', '-o', 'json'], {
    cwd: folder,
    input: JSON.stringify(document),
  });
  assert.equal(made.code, 0, made.stderr);
  const { routingKey } = JSON.parse(made.stdout) as SandboxView;
  for (let round = 0; round < 3; round++) {
    const data = { COLOUR: `colour-${round}` };
    await paint('paint', data);
    assert.equal(await answerOf(daemon, 'demo'), `200 one ${data.COLOUR}`);
    await paint('own', data);
    assert.equal(
      await answerOf(daemon, 'demo', { baggage: `sd-routing-key=${routingKey}` }),
      `200 one ${data.COLOUR}`,
    );
  }
});
