/** Commands that wait for what a daemon does, which is played here by changing the store. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { storeBaseline } from '../../../src/baseline/store-baseline.ts';
import { until } from '../../../src/lib/wait.ts';
import { type ErrorBody, OffshootError } from '../../../src/model/errors.ts';
import type { SandboxView } from '../../../src/model/view.ts';
import { inputsOf } from '../../../src/rules/inputs.ts';
import type { Kind } from '../../../src/store/contract.ts';
import { type TestApi, testApi } from '../../support/api.ts';
import { type FakeCliOptions, runCli } from '../../support/cli.ts';
import { deploy, deployment, fork } from '../../support/documents.ts';

const run = (api: TestApi, args: readonly string[], options: FakeCliOptions = {}) =>
  runCli(args, { ...options, env: { OFFSHOOT_API_URL: api.url, OFFSHOOT_API_KEY: api.apiKey } });

/** Calls `act` soon after the next change of an object of `kind`. */
function next(api: TestApi, kind: Kind, act: (name: string) => void): void {
  const stop = api.store.onChange(change => {
    if (change.kind !== kind) return;
    stop();
    setImmediate(() => act(change.name));
  });
}

const sandbox = JSON.stringify({ name: 'x', spec: { cluster: 'local', forks: [fork('users')] } });
const apply = ['sandbox', 'apply', '-f', '-'];

const status = (api: TestApi, more: object) =>
  api.store.modify('sandbox', 'x', o => ({
    status: {
      ready: false,
      failed: false,
      reason: 'Any',
      message: 'any',
      observedGeneration: o.generation,
      conditions: [],
      resources: [],
      endpoints: [],
      forks: [],
      ...more,
    },
  }));

async function apiWithBaseline() {
  const api = await testApi();
  await deploy(api.store, deployment('users'));
  return api;
}

test('sandbox apply prints the endpoints when it is ready', async () => {
  await using api = await apiWithBaseline();
  const endpoint = {
    name: 'api',
    url: 'http://api--x.preview.localhost:7480',
    target: 'svc',
    routeType: 'host',
    protocol: 'http',
  };
  next(api, 'sandbox', () => status(api, { ready: true, endpoints: [endpoint] }));
  const { code, stdout, stderr } = await run(api, apply, { input: sandbox });
  assert.equal(code, 0, stderr);
  assert.equal(stdout, `SANDBOX ENDPOINT  TYPE  URL\napi               host  ${endpoint.url}\n`);
  assert.match(stderr, /^sandbox x created \(routing key [a-z0-9]{13}\)\n.*ready in \d+/s);
  const again = await run(api, [...apply, '-o', 'json'], { input: sandbox });
  assert.match(again.stderr, /^sandbox x unchanged /);
  assert.equal((JSON.parse(again.stdout) as SandboxView).endpoints[0]!.url, endpoint.url);
});

test('sandbox apply ends as soon as it cannot become ready, with the last lines of the log', async () => {
  await using api = await apiWithBaseline();
  const users = { kind: 'Deployment', namespace: 'demo', name: 'users' };
  const seen = {
    name: 'users',
    forkOf: users,
    ready: false,
    reason: 'CrashLoopBackOff',
    message: 'exit code 7',
    restarts: 3,
    ports: {},
    log: ['one', 'no luck'],
  };
  next(api, 'sandbox', () => status(api, { failed: true, message: 'its fork crashes', forks: [seen] }));
  const { code, stdout, stderr } = await run(api, apply, { input: sandbox });
  assert.deepEqual([code, stdout], [1, '']);
  assert.match(
    stderr,
    /\nerror: sandbox "x" cannot become ready: its fork crashes\n {2}\| one\n {2}\| no luck\nhint: /,
  );
  next(api, 'sandbox', () => status(api, { failed: true, message: 'still', forks: [seen] }));
  const { code: exit, stderr: text } = await run(api, [...apply, '-o', 'json'], { input: sandbox });
  const body = JSON.parse(text.split('\n').at(-2)!) as ErrorBody;
  assert.deepEqual([exit, body.code, body.output], [1, 'sandbox/not-ready', 'one\nno luck']);
});

test('sandbox apply: somebody deletes it meanwhile', async () => {
  await using api = await apiWithBaseline();
  next(api, 'sandbox', () => api.store.remove('sandbox', 'x'));
  const { code, stderr } = await run(api, apply, { input: sandbox });
  assert.equal(code, 3);
  assert.match(stderr, /error: sandbox "x" does not exist\nhint: somebody deleted it meanwhile\n$/);
});

test('sandbox apply warns of what leads to main', async () => {
  await using api = await apiWithBaseline();
  const input = sandbox.replace('"local"', '"local","description":"shares"');
  const { stderr } = await run(api, [...apply, '--no-wait'], { input });
  assert.match(stderr, /\nwarning: it shares\n/);
});

test('sandbox apply --no-wait, and its time-out', async () => {
  await using api = await apiWithBaseline();
  assert.equal((await run(api, [...apply, '--no-wait'], { input: sandbox })).code, 0);
  const late = await run(api, [...apply, '--wait-timeout', '50ms'], { input: sandbox });
  assert.equal(late.code, 5);
  assert.match(
    late.stderr,
    /timed out after 50 ms waiting for sandbox "x" to be ready; last seen: being created\nhint: it was applied and goes on/,
  );
});

test('sandbox delete: what stands in the way is said at once', async () => {
  await using api = await apiWithBaseline();
  await run(api, [...apply, '--no-wait'], { input: sandbox });
  const own = { name: 'sb-x', parent: 'main', owner: 'sandbox/x' };
  await api.client.branches.create('default', own);
  await api.client.branches.create('default', { name: 'fix', parent: 'sb-x' });
  const refused = await run(api, ['sandbox', 'delete', 'x']);
  assert.equal(refused.code, 1);
  assert.equal(
    refused.stderr,
    'error: sandbox "x" cannot go while branches grow from its own: fix\nhint: delete them first, or repeat with --recursive, which deletes them too, for good\n',
  );
  // One that is on its way already.
  await api.store.modify('sandbox', 'x', () => ({ deleted: true }));
  await status(api, { reason: 'SandboxHasChildren', message: 'fix grows from its branch' });
  const blocked = await run(api, ['sandbox', 'delete', 'x']);
  const params = { name: 'x', why: 'fix grows from its branch' };
  const { message, hint } = new OffshootError('sandbox/delete-blocked', params);
  assert.equal(blocked.code, 1);
  assert.ok(blocked.stderr.endsWith(`error: ${message}\nhint: ${hint}\n`), blocked.stderr);
  const taken = await run(api, ['sandbox', 'delete', 'x', '--recursive', '--no-wait']);
  assert.equal(taken.code, 0, taken.stderr);
  assert.equal(api.store.get('sandbox', 'x')?.secret.recursive, true);
});

test('sandbox delete: once, while it goes, and when it is gone', async () => {
  await using api = await apiWithBaseline();
  await run(api, [...apply, '--no-wait'], { input: sandbox });
  const early = await run(api, ['sandbox', 'delete', 'x', '--no-wait']);
  assert.deepEqual([early.code, early.stderr], [0, 'sandbox "x" is being deleted\n']);
  const { code, stderr } = await run(api, ['sandbox', 'delete', '-f', '-'], {
    input: sandbox,
    onOutput: text => {
      if (text.endsWith('already\n')) void api.store.remove('sandbox', 'x');
    },
  });
  assert.equal(code, 0, stderr);
  assert.match(stderr, /^sandbox "x" is being deleted already\n.*sandbox "x" is gone \(\d+ m?s\)\n$/s);
  const gone = await run(api, ['sandbox', 'delete', 'x']);
  assert.deepEqual(
    [gone.code, gone.stderr],
    [3, 'error: sandbox "x" does not exist\nhint: see "offshoot sandbox list"\n'],
  );
  const fine = await run(api, ['sandbox', 'delete', 'x', '--if-exists']);
  assert.deepEqual([fine.code, fine.stderr], [0, 'sandbox "x" does not exist; nothing to do\n']);
});

test('deploy counts what it leaves out, lists it, or refuses it', async () => {
  await using api = await testApi();
  const objects = ['Ingress', 'Ingress', 'HTTPRoute'].map((kind, i) => ({
    ...{ apiVersion: 'networking.k8s.io/v1', kind, metadata: { name: `web-${i}` } },
  }));
  const input = JSON.stringify({ apiVersion: 'v1', kind: 'List', items: objects });
  const deployed = async (...args: string[]) => run(api, ['deploy', '-f', '-', ...args], { input });
  const without = 'no effect where containers run as processes';
  const count = `warning: left out: 2 Ingress, 1 HTTPRoute: ${without}`;
  const short = await deployed('--no-wait');
  assert.deepEqual([short.code, short.stderr.split('\n')[0]], [0, `${count} (-v lists them)`]);
  const long = await deployed('--no-wait', '-v');
  assert.deepEqual(long.stderr.split('\n').slice(0, 4), [
    count,
    `  <stdin>:1:43: Ingress web-0: ${without}`,
    `  <stdin>:1:126: Ingress web-1: ${without}`,
    `  <stdin>:1:209: HTTPRoute web-2: ${without}`,
  ]);
  const strict = await deployed('--strict');
  assert.equal(strict.code, 2);
  assert.match(
    strict.stderr,
    /^<stdin>:1:43: Ingress web-0: no effect .*\nerror: <stdin> is valid, but asks for what is not supported yet: 3 problems\n/s,
  );
});

test('deploy ends as soon as waiting does not help, with the last lines of the log', async () => {
  await using api = await testApi();
  const failing = () =>
    next(api, 'manifest', name =>
      api.store.modify('manifest', name, object => ({
        status: {
          ready: false,
          reason: 'CommandNotFound',
          message: 'nix was not found',
          observedGeneration: 1,
          inputs: inputsOf({ store: api.store, baseline: storeBaseline(api.store) }, object),
          log: ['sh: nix'],
        },
      })),
    );
  failing();
  const input = JSON.stringify(deployment('users'));
  const { code, stdout, stderr } = await run(api, ['deploy', '-f', '-'], { input });
  assert.deepEqual([code, stdout], [1, '']);
  assert.match(
    stderr,
    /^warning: .*\ndeployment\/users created\n.*error: Deployment "users" in namespace "demo" cannot become ready: nix was not found\n {2}\| sh: nix\nhint: /s,
  );
  failing(); // deploying again is another try
  const asObject = await run(api, ['deploy', '-f', '-', '-o', 'json'], { input });
  const body = JSON.parse(asObject.stderr.split('\n').at(-2)!) as ErrorBody;
  assert.deepEqual([asObject.code, body.code], [1, 'manifest/failed']);
});

test('deploy tells of all that cannot become ready; who has not failed is awaited for a moment', async () => {
  await using api = await testApi();
  const become = (name: string, reason: string, message: string) =>
    api.store.modify('manifest', `Deployment/demo/${name}`, object => ({
      status: {
        ...{ ready: reason === 'Running', reason, message, observedGeneration: 1 },
        inputs: inputsOf({ store: api.store, baseline: storeBaseline(api.store) }, object),
      },
    }));
  const names = ['one', 'two', 'three'];
  next(api, 'manifest', async () => {
    await until(() => api.store.list('manifest').length === names.length || undefined, {
      what: 'all are there',
      deadlineMs: 60_000,
    });
    await become('one', 'CommandNotFound', 'one is not there; starts again after 0.5 s');
    await become('two', 'ConfigError', 'two lacks something');
  });
  const input = names.map(name => JSON.stringify(deployment(name))).join('\n---\n');
  const { code, stderr } = await run(api, ['deploy', '-f', '-'], { input });
  assert.equal(code, 1);
  assert.match(stderr, /^ {2}✗ Deployment\/demo\/one: one is not there( \(|$)/m);
  assert.match(stderr, /^ {2}✗ Deployment\/demo\/two: two lacks something/m);
  assert.match(
    stderr,
    /^error: Deployment "one" in namespace "demo" cannot become ready: one is not there \(nor can Deployment\/demo\/two, see above\)\nhint: /m,
  );
});

test('branch restart returns when it accepts connections again, or says why it does not', async () => {
  await using api = await testApi();
  const become = (state: 'ready' | 'failed', message: string) =>
    next(api, 'branch', id =>
      api.store.modify('branch', id, () => ({
        status: { state, reason: 'R', message, conditions: [], observedGeneration: 1 },
      })),
    );
  become('ready', 'accepts connections');
  const good = await run(api, ['branch', 'restart', 'main']);
  assert.equal(good.code, 0, good.stderr);
  assert.match(good.stderr, /^branch main was restarted \(\d+ m?s\)\n$/);
  become('failed', 'its files are broken');
  const bad = await run(api, ['branch', 'restart', 'main']);
  assert.equal(bad.code, 1);
  assert.match(bad.stderr, /error: branch "main" could not be made ready: its files are broken/);
});

test('restart says so when forks answer again, and fails with the reason when one does not', async () => {
  await using api = await apiWithBaseline();
  await run(api, [...apply, '--no-wait'], { input: sandbox });
  const forkOf = { kind: 'Deployment', namespace: 'demo', name: 'users' };
  const become = (inputs: string, more: object) => {
    const one = {
      name: 'users',
      forkOf,
      ready: true,
      reason: 'Running',
      message: 'runs',
      restarts: 0,
      ports: {},
    };
    return status(api, { failed: false, ...more, forks: [{ ...one, inputs, ...more }] });
  };
  await become('old', { ready: true });
  next(api, 'sandbox', () => become('new', { ready: true }));
  const good = await run(api, ['restart', 'sandbox/x']);
  assert.equal(good.code, 0, good.stderr);
  assert.match(good.stderr, /^sandbox\/x\/users restarted in /m);
  next(api, 'sandbox', () => become('newer', { ready: false, failed: true, message: 'exit code 3' }));
  const bad = await run(api, ['restart', 'sandbox/x']);
  assert.equal(bad.code, 1, bad.stderr);
  assert.match(bad.stderr, /warning: the fork of demo\/users in sandbox x is not ready: exit code 3/);
  assert.doesNotMatch(bad.stderr, /restarted in/);
});

test('wait returns when everything, or what is named, is ready', async () => {
  await using api = await apiWithBaseline();
  const spec = { cluster: 'local', forks: [fork('users')] };
  await api.client.sandboxes.apply({ name: 'x', spec } as never);
  const ready = (isReady: boolean) =>
    api.store.modify('manifest', 'Deployment/demo/users', object => ({
      status: {
        ...{ ready: isReady, reason: 'Any', message: 'any', observedGeneration: object.generation },
        inputs: inputsOf({ store: api.store, baseline: storeBaseline(api.store) }, object),
      },
    }));
  await ready(false);
  const limit = ['--wait-timeout', '300ms'];
  const late = await run(api, ['wait', ...limit]);
  assert.equal(late.code, 5, late.stderr);
  assert.match(late.stderr, /the baseline to be ready/);
  await ready(true);
  assert.equal((await run(api, ['wait', 'users'])).code, 0);
  const other = await run(api, ['wait', 'sandbox/x', ...limit]);
  assert.equal(other.code, 5);
  await status(api, { ready: true });
  const done = await run(api, ['wait']);
  assert.equal(done.code, 0);
  assert.match(done.stderr, /ready \(waited [\d.]+ m?s\)\n$/);
  assert.equal((await run(api, ['wait', 'sandbox/x', 'deploy/users', '-n', 'demo'])).code, 0);
  await status(api, { failed: true, message: 'it is broken' });
  const failed = await run(api, ['wait']);
  assert.equal(failed.code, 1);
  assert.match(failed.stderr, /it is broken/);
  for (const [args, code] of [
    [['nix'], 3],
    [['users', '-n', 'other'], 3],
    [['sandbox/nix'], 3],
    [['sandbox/x/users'], 2],
    [['a/b/c'], 2],
  ] as const)
    assert.equal((await run(api, ['wait', ...args])).code, code, args.join(' '));
});
