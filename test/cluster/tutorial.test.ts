/** The tutorial in a cluster, by the commands of its Makefile, as a reader would type them. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { cp, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { type ExecResult, exec } from '../../src/lib/exec.ts';
import { until } from '../../src/lib/wait.ts';
import { contextName, kubectl, namespace, noImage, ourImage } from '../support/cluster.ts';
import { root } from '../support/daemon.ts';
import { removeObjects } from '../support/installation.ts';
import { tempDir } from '../support/temp.ts';

const image = process.env.OFFSHOOT_EXAMPLE_IMAGE;
const skip =
  noImage ||
  (image === undefined && 'OFFSHOOT_EXAMPLE_IMAGE names no image of the example') ||
  (contextName !== undefined && 'its commands use the current context');

test('the tutorial in a cluster', { skip }, async t => {
  await using stack = new AsyncDisposableStack();
  const [own, demo] = [stack.use(await namespace()), stack.use(await namespace())];
  stack.defer(() => removeObjects(own.name));
  const folder = await copyFor(stack, demo.name);
  const colon = ourImage.lastIndexOf(':');
  const helm = [
    ...['--skip-crds', `--set image.repository=${ourImage.slice(0, colon)}`],
    `--set-string image.tag=${ourImage.slice(colon + 1)}`,
    // A cluster for tests need not have a class of volumes.
    '--set branches.storage.kind=emptyDir',
  ];
  const variables = [
    ...['RUNTIME=kubernetes', `NAMESPACE=${own.name}`, `HELM_ARGS=${helm.join(' ')}`],
    ...['BUILD=true', `PORT=${20_000 + (process.pid % 10_000)}`],
  ];
  const make = (target: string): Promise<ExecResult> =>
    exec('make', ['-C', folder, ...variables, target], { deadlineMs: 300_000, maxOutput: 1024 * 1024 });
  const offshoot = async (...args: readonly string[]): Promise<string> => {
    const at = ['-n', own.name, 'exec', '-i', 'deployment/offshoot-controller', '--', 'offshoot'];
    return (await kubectl([...at, ...args], { deadlineMs: 120_000 })).stdout.trim();
  };
  const branches = async () =>
    (JSON.parse(await offshoot('branch', 'list', '-o', 'json')) as { name: string }[]).map(
      ({ name }) => name,
    );

  for (const target of ['setup', 'db-setup', 'build', 'deploy']) await make(target);
  const users = /"name":/g;
  const asked = await make('test');
  assert.equal(asked.stdout.match(users)?.length, 5, asked.stdout);
  assert.match(asked.stdout, /"sandbox": ?null/);

  await make('plugin-secret');
  await make('sandbox-create');
  assert.deepEqual(await branches(), ['main', 'sb-xata-test']);

  await t.test('the preview shows the branch of the sandbox, and writes stay there', async () => {
    const key = await offshoot('key', 'create', 'tutorial');
    await using door = await forward(own.name, 'service/offshoot-gateway', 80);
    const host = `users-api--xata-test.preview.localhost:8080`;
    const ask = async (path: string, body?: object) => {
      const { request } = await import('node:http');
      return new Promise<{ status: number; text: string }>((resolve, reject) => {
        const headers = { host, 'signadot-api-key': key, 'content-type': 'application/json' };
        const options = { port: door.port, path, headers, method: body === undefined ? 'GET' : 'POST' };
        const out = request({ host: '127.0.0.1', ...options }, answer => {
          let text = '';
          answer.on('data', chunk => {
            text += chunk;
          });
          answer.on('end', () => resolve({ status: answer.statusCode!, text }));
          answer.on('error', reject);
        });
        out.on('error', reject);
        out.end(body === undefined ? undefined : JSON.stringify(body));
      });
    };
    const info = JSON.parse((await ask('/info')).text) as { branch: string; sandbox: string };
    assert.deepEqual([info.branch, info.sandbox], ['sb-xata-test', 'xata-test']);
    assert.equal((await ask('/users', { name: 'Sandbox User', email: 'sandbox@test.com' })).status, 201);
    assert.equal((await ask('/users')).text.match(users)?.length, 6);
  });
  assert.equal((await make('test')).stdout.match(users)?.length, 5);

  await make('sandbox-delete');
  assert.deepEqual(await branches(), ['main']);
  await make('clean');
  const { stdout } = await kubectl(['-n', demo.name, 'get', 'deployments,services,secrets', '-o', 'name']);
  assert.equal(stdout, '');
});

// --- internal ------------------------------------------------------------------------------------

/** The example's folder and the chart, with a namespace of the test in place of `demo`. */
async function copyFor(stack: AsyncDisposableStack, demo: string): Promise<string> {
  const { path } = stack.use(await tempDir());
  const folder = join(path, 'examples/users-service');
  await cp(join(root, 'examples/users-service'), folder, {
    recursive: true,
    filter: source => !source.includes('node_modules'),
  });
  await cp(join(root, 'charts'), join(path, 'charts'), { recursive: true });
  const files = ['kubernetes.mk', 'signadot/users-sandbox.yaml'];
  for (const file of [...files, ...['namespace', 'deployment', 'service'].map(name => `k8s/${name}.yaml`)]) {
    const text = await readFile(join(folder, file), 'utf8');
    const ours = text.replaceAll(/\bdemo\b/g, demo).replace('users-service:latest', image!);
    await writeFile(join(folder, file), ours);
  }
  return folder;
}

/** A port of this machine that leads there, as kubectl makes it. */
async function forward(ns: string, to: string, port: number): Promise<AsyncDisposable & { port: number }> {
  const child = spawn('kubectl', ['-n', ns, 'port-forward', to, `:${port}`], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let said = '';
  child.stdout.on('data', chunk => {
    said += chunk;
  });
  const found = await until(() => /127\.0\.0\.1:(\d+)/.exec(said)?.[1], {
    ...{ what: `a way to ${to}`, deadlineMs: 60_000 },
  });
  return {
    port: Number(found),
    async [Symbol.asyncDispose]() {
      child.kill();
    },
  };
}
