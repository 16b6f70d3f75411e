/** The example on its own: its documents are valid, and its service does what the tutorial needs. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, describe, test } from 'node:test';
import { readManifests } from '../../src/model/document/manifest.ts';
import { outputKeys, readResourcePlugin } from '../../src/model/document/plugin.ts';
import { readSandbox } from '../../src/model/document/sandbox.ts';
import { readDocument } from '../../src/model/document/yaml.ts';
import { findImage, parseOffshootConfig } from '../../src/model/offshoot-config.ts';
import { type TestBranches, testBranches, testCtx } from '../support/postgres.ts';

const example = join(import.meta.dirname, '../../examples/users-service');
const source = (path: string) => ({ file: path, text: readFileSync(join(example, path), 'utf8') });

describe('documents', () => {
  const plugin = readResourcePlugin(source('signadot/xata-branch-plugin.yaml'));

  test('the sandbox gets its DATABASE_URL from an output that the plugin has', () => {
    const { sandbox, warnings } = readSandbox(source('signadot/users-sandbox.yaml'), {
      set: ['cluster=local'],
    });
    assert.deepEqual(warnings, []);
    assert.equal(sandbox.name, 'xata-test');
    assert.equal(sandbox.spec.resources?.[0]?.plugin, plugin.name);
    const from = sandbox.spec.forks?.[0]?.customizations?.env?.[0]?.valueFrom;
    assert.ok(from !== undefined && 'resource' in from);
    assert.ok(outputKeys(plugin.spec).includes(from.resource.outputKey));
  });

  test('both forms of the plugin have the same name, steps and outputs', () => {
    const builtin = readResourcePlugin(source('signadot/xata-branch-plugin.uses.yaml'));
    const shape = ({ name, spec }: typeof plugin) => ({
      name,
      outputs: outputKeys(spec),
      steps: [...(spec.create ?? []), ...(spec.delete ?? [])].map(step => step.name),
    });
    assert.deepEqual(shape(builtin), shape(plugin));
    assert.deepEqual(shape(plugin).outputs, ['provision.connection-string', 'provision.branch-name']);
  });

  test('the manifests are what the sandbox forks, and offshoot.yaml knows how to run them', () => {
    const manifests = readdirSync(join(example, 'k8s')).flatMap(file => {
      const read = readManifests(source(`k8s/${file}`));
      assert.deepEqual(read.warnings, []);
      return read.manifests;
    });
    assert.deepEqual(manifests.map(m => `${m.kind} ${m.metadata.name}`).sort(), [
      'Deployment users-service',
      'Namespace demo',
      'Service users-service',
    ]);
    const deployment = manifests.find(m => m.kind === 'Deployment')!;
    assert.equal(deployment.spec.template.metadata?.annotations?.['sidecar.signadot.com/inject'], 'true');
    const file = join(example, 'offshoot.yaml');
    const { images } = parseOffshootConfig(readDocument(source('offshoot.yaml')).value, file);
    const image = findImage(images, deployment.spec.template.spec.containers[0]!.image);
    assert.equal(image?.dir, join(example, 'pkg/users-service'));
  });

  test('the Makefile has the targets of the tutorial', () => {
    const wanted =
      'setup db-setup db-connect build deploy test plugin-secret sandbox-create sandbox-delete clean';
    for (const file of ['Makefile', 'kubernetes.mk']) {
      const targets = [...source(file).text.matchAll(/^([a-z-]+):/gm)].map(([, target]) => target);
      assert.deepEqual(targets, wanted.split(' '), file);
    }
  });
});

describe('service', () => {
  let branches: TestBranches;
  let databaseUrl: string;

  before(async () => {
    branches = await testBranches('copy');
    await branches.branch('origin');
    await branches.sql('origin', `CREATE ROLE app LOGIN PASSWORD 'app'`);
    await branches.sql('origin', 'CREATE DATABASE app OWNER app');
    const seen = await branches.servers.observe('origin', testCtx());
    databaseUrl = `postgresql://app:app@/app?host=${encodeURIComponent(dirname(seen!.socket))}`;
    const asApp = (text: string) => `SET ROLE app; ${text}`;
    for (const file of ['db/schema.sql', 'db/seed.sql'])
      await branches.sql('origin', asApp(source(file).text), 'app');
  });
  after(() => branches?.[Symbol.asyncDispose]());

  test('answers /health before its database does', async () => {
    await using service = await start({ DATABASE_URL: 'postgresql://nobody@127.0.0.1:1/none' });
    const { status, body } = await service.get('/health');
    assert.equal(status, 200);
    assert.deepEqual(body, { status: 'healthy', service: 'users-service' });
    assert.equal((await service.get('/users')).status, 500);
  });

  test('lists the five users, adds a sixth, and refuses what it must', async () => {
    await using service = await start({ DATABASE_URL: databaseUrl });
    assert.equal((await service.get('/users')).body.length, 5);
    const user = { name: 'Sandbox User', email: 'sandbox@test.com' };
    const added = await service.post('/users', JSON.stringify(user));
    assert.equal(added.status, 201);
    assert.equal(added.body.email, user.email);
    assert.equal((await service.get('/users')).body.length, 6);

    const refused: readonly (readonly [body: string, status: number, sentence: RegExp])[] = [
      [JSON.stringify(user), 409, /sandbox@test\.com exists already/],
      [JSON.stringify({ ...user, name: ' ' }), 400, /^name must be/],
      [JSON.stringify({ ...user, email: 'nobody' }), 400, /^email must be/],
      ['{"name":', 400, /JSON/],
      ['[]', 400, /^name must be/],
    ];
    for (const [body, status, sentence] of refused) {
      const answer = await service.post('/users', body);
      assert.equal(answer.status, status, body);
      assert.match(answer.body.error, sentence);
    }
    assert.equal((await service.get('/users')).body.length, 6);
    assert.equal((await service.get('/nowhere')).status, 404);
  });

  test('/info tells the branch as the server knows it, and the sandbox', async () => {
    await using service = await start({ DATABASE_URL: databaseUrl, SIGNADOT_SANDBOX_NAME: 'xata-test' });
    const { body } = await service.get('/info');
    assert.equal(body.branch, 'origin');
    assert.equal(body.database, 'app');
    assert.equal(body.sandbox, 'xata-test');
    assert.equal(body.baggage, null);
  });

  test('carries baggage on to the service that it calls, per request', async () => {
    await using peer = await start({ DATABASE_URL: databaseUrl });
    await using service = await start({ DATABASE_URL: databaseUrl, PEER_URL: peer.url });
    const keys = ['sd-routing-key=one', 'sd-routing-key=two', undefined];
    const answers = await Promise.all(
      keys.map(key => service.get('/info', key === undefined ? {} : { baggage: key })),
    );
    assert.deepEqual(
      answers.map(({ body }) => body.peer.baggage),
      ['sd-routing-key=one', 'sd-routing-key=two', null],
    );
  });

  test('ends by itself on SIGTERM', async () => {
    await using service = await start({ DATABASE_URL: databaseUrl });
    await service.get('/users');
    assert.deepEqual(await service.end(), [0, null]);
  });

  test('says so when it has no database', async () => {
    await using service = await start({ DATABASE_URL: '' });
    assert.deepEqual(await service.exited, [2, null]);
    assert.match(service.output(), /needs DATABASE_URL/);
  });
});

/** Runs the service on a free port until the end of the scope. Returns once it listens or has ended. */
async function start(env: Readonly<Record<string, string>>) {
  const child = spawn(process.execPath, ['app.ts'], {
    cwd: join(example, 'pkg/users-service'),
    env: { ...env, PORT: '0' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const exited = once(child, 'exit') as Promise<[code: number | null, signal: string | null]>;
  let output = '';
  child.stderr.on('data', chunk => {
    output += chunk;
  });
  const lines = createInterface({ input: child.stdout });
  const listening = once(lines, 'line') as Promise<[string]>;
  await Promise.race([listening, once(child, 'close')]);
  const port = child.exitCode === null ? /:(\d+)$/.exec((await listening)[0])?.[1] : undefined;
  const url = `http://127.0.0.1:${port}`;

  const request = async (path: string, init: RequestInit) => {
    const response = await fetch(url + path, init);
    // biome-ignore lint/suspicious/noExplicitAny: whatever the service says is then asserted
    return { status: response.status, body: (await response.json()) as any };
  };
  const end = () => {
    child.kill();
    return exited;
  };
  return {
    url,
    exited,
    end,
    output: () => output,
    get: (path: string, headers: Record<string, string> = {}) => request(path, { headers }),
    post: (path: string, body: string) =>
      request(path, { method: 'POST', headers: { 'content-type': 'application/json' }, body }),
    async [Symbol.asyncDispose]() {
      await end();
    },
  };
}
