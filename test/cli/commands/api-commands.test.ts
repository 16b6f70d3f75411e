/** Commands that only ask the API: what they print for people, and as objects. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parse } from 'yaml';
import { OffshootError } from '../../../src/model/errors.ts';
import type { BranchView } from '../../../src/model/view.ts';
import { type TestApi, testApi } from '../../support/api.ts';
import { type FakeCliOptions, runCli } from '../../support/cli.ts';
import { applied, deploy, deployment, fork, install, service, tablePlugin } from '../../support/documents.ts';
import { tempDir } from '../../support/temp.ts';

/** Runs a command that must succeed. */
const runner =
  (api: TestApi) =>
  async (args: readonly string[], options: FakeCliOptions = {}) => {
    const env = { ...options.env, OFFSHOOT_API_URL: api.url, OFFSHOOT_API_KEY: api.apiKey };
    const ran = await runCli(args, { ...options, env });
    assert.equal(ran.code, 0, `${args.join(' ')}: ${ran.stderr}`);
    return ran;
  };

/** With one of everything. */
async function fullApi() {
  const api = await testApi();
  await api.client.branches.create('default', { name: 'fix' });
  await api.client.keys.create('laptop');
  await install(api.store, 'table', tablePlugin);
  const users = await deploy(api.store, deployment('users'), service('users', { port: 80 }, { port: 81 }));
  const address = (port: number) => ({ host: '127.77.0.1', port });
  await api.store.modify('manifest', users, () => ({
    status: {
      ready: true,
      reason: 'Ready',
      message: 'answers',
      observedGeneration: 1,
      addresses: { 80: address(80), 81: address(81) },
    },
  }));
  await applied(api.store, 'x', { resources: [{ name: 'db', plugin: 'table' }], forks: [fork('users')] });
  await api.store.record({ kind: 'sandbox', name: 'x', severity: 'info', reason: 'Seen', message: 'hello' });
  return api;
}

test('every command with -o prints one JSON or YAML value, and sentences only on stderr', async () => {
  await using api = await fullApi();
  await using dir = await tempDir();
  const run = runner(api);
  const commands = [
    'status',
    'doctor',
    'repair',
    'events',
    'project list',
    'branch list',
    'branch tree',
    'sandbox get-env x',
    'branch get fix',
    'branch url fix',
    'branch create fix --if-not-exists --no-wait',
    'branch checkout fix',
    'branch rotate-password fix',
    'branch limit fix 2G',
    'key list',
    'service list',
    'service url users -n demo',
    'resourceplugin list',
    'resourceplugin get table',
    'sandbox list',
    'sandbox get x',
    'sandbox logs x',
    'logs',
  ];
  for (const command of commands) {
    const args = command.split(' ');
    const json = (await run([...args, '-o', 'json'], { cwd: dir.path })).stdout;
    const yaml = (await run([...args, '-o', 'yaml'], { cwd: dir.path })).stdout;
    const value = JSON.parse(json) as unknown;
    assert.ok(typeof value === 'object' && value !== null, command);
    const stable = command !== 'branch rotate-password fix';
    if (stable) assert.deepEqual(parse(yaml), value, command);
  }
});

test('branch list marks what the folder works with', async () => {
  await using api = await fullApi();
  await using dir = await tempDir();
  const run = runner(api);
  const rows = async () => {
    const { stdout } = await run(['branch', 'list'], { cwd: dir.path });
    return stdout
      .trimEnd()
      .split('\n')
      .map(line => line.trim().split(/\s+/));
  };
  const [head, main, fix] = await rows();
  assert.deepEqual(head, ['NAME', 'ID', 'PARENT', 'STATE', 'SIZE', 'OWNER', 'AGE', 'EXPIRES']);
  assert.deepEqual([main!.slice(0, 2), main![3]], [['*', 'main'], '-']);
  assert.deepEqual([fix![0], fix![2], fix![3], fix![4]], ['fix', 'main', 'creating', '-']);
  const { stderr } = await run(['branch', 'checkout', 'fix'], { cwd: dir.path });
  assert.match(stderr, /^this folder now works with branch fix \(.*link\.json\)$/m);
  assert.deepEqual(
    (await rows()).map(row => row[0]),
    ['NAME', 'main', '*'],
  );
  assert.match((await run(['branch', 'get'], { cwd: dir.path })).stdout, /^name {5}fix$/m);
});

test('branch url prints the connection string alone', async () => {
  await using api = await fullApi();
  const { stdout, stderr } = await runner(api)(['branch', 'url', 'fix']);
  const { connectionString } = await api.client.branches.credentials('default', 'fix');
  assert.deepEqual([stdout, stderr], [`${connectionString}\n`, '']);
});

test('branch create --if-not-exists tells of the branch that is there', async () => {
  await using api = await fullApi();
  const args = ['branch', 'create', 'main', '--parent', 'fix', '--if-not-exists', '--no-wait', '-o', 'json'];
  const { stdout } = await runner(api)(args);
  assert.equal((JSON.parse(stdout) as BranchView).parent, null);
});

test('branch create and get tell of unlogged tables that are empty', async () => {
  await using api = await fullApi();
  const { id } = await api.client.branches.get('default', 'fix');
  const status = {
    state: 'ready',
    reason: 'Ready',
    message: 'accepts connections',
    emptied: ['app: public.cache'],
    conditions: [],
    observedGeneration: 1,
  } as const;
  await api.store.modify('branch', id, () => ({ status }));
  const { stderr } = await runner(api)(['branch', 'create', 'fix', '--if-not-exists']);
  assert.match(stderr, /^warning: without the rows of these unlogged tables, .*: app: public\.cache$/m);
  assert.match((await runner(api)(['branch', 'get', 'fix'])).stdout, /^emptied {2}app: public\.cache$/m);
});

test('repair shows what it would do, and says why when it cannot', async () => {
  const record = { id: 'blost', project: 'shop', branch: 'main', createdAt: '2029-01-01T00:00:00.000Z' };
  await using api = await testApi({ unclaimed: [{ id: 'blost', record }, { id: 'bdark' }] });
  const planned = await runner(api)(['repair']);
  assert.match(planned.stdout, /^shop +main +blost +- +its role and database are taken to be "app"$/m);
  assert.match(planned.stdout, /^- +- +bdark +- +stays as it is: its record cannot be read$/m);
  assert.equal(planned.stderr, '1 branch would be brought back with new passwords; do it with --yes\n');
  assert.match(
    (await runner(api)(['repair', '--yes'])).stderr,
    /^1 branch brought back\. The passwords are new: /,
  );
});

test('branch limit, and the sizes that are shown', async () => {
  await using api = await fullApi();
  const run = runner(api);
  const { id } = await api.client.branches.get('default', 'fix');
  api.sizes.set(id, { bytes: 3 * 2 ** 20, exact: false });
  assert.equal((await run(['branch', 'limit', 'fix', '2G'])).stderr, 'branch fix may take 2 GiB\n');
  assert.match((await run(['branch', 'get', 'fix'])).stdout, /^size {5}~3 MiB of 2 GiB$/m);
  assert.match((await run(['branch', 'list'])).stdout, /fix .* ~3 MiB /);
  assert.equal((await run(['branch', 'limit', 'fix', 'none'])).stderr, 'branch fix may take 512 GiB\n');
  const made = await run(['branch', 'create', 'small', '--limit', '100M', '--no-wait', '-o', 'json']);
  assert.equal((JSON.parse(made.stdout) as BranchView).limitBytes, 100 * 2 ** 20);
  const env = { OFFSHOOT_API_URL: api.url, OFFSHOOT_API_KEY: api.apiKey };
  const refused = await runCli(['branch', 'limit', 'fix', 'much'], { env });
  assert.equal(refused.code, 2);
  assert.match(refused.stderr, /^error: a branch cannot have the limit "much": it is not a size$/m);
  const odd = await runCli(['branch', 'create', 'x', '--limit', 'much'], { env });
  assert.deepEqual(
    [odd.code, odd.stderr],
    [2, 'error: "much" is not a size; write for example 512M or 2G\n'],
  );
});

test('status tells how much room there is', async () => {
  await using api = await fullApi();
  const { stdout } = await runner(api)(['status']);
  assert.match(stdout, /^room {7}511 GiB of 1 TiB left in \/, and 512 MiB that only main branches may use$/m);
});

test('branch rotate-password', async () => {
  await using api = await fullApi();
  const { connectionString } = await api.client.branches.credentials('default', 'fix');
  const { stderr } = await runner(api)(['branch', 'rotate-password', 'fix']);
  assert.equal(stderr, 'branch fix has a new password: see "offshoot branch url fix"\n');
  assert.notEqual(
    (await api.client.branches.credentials('default', 'fix')).connectionString,
    connectionString,
  );
});

test('branch delete --now returns when it is gone; a missing one is fine only with --if-exists', async () => {
  await using api = await fullApi();
  const { id } = await api.client.branches.get('default', 'fix');
  const stop = api.store.onChange(change => {
    if (change.name === id && change.type === 'put' && change.object.deletedAt !== undefined) {
      stop();
      queueMicrotask(() => api.store.remove('branch', id));
    }
  });
  const run = runner(api);
  assert.equal((await run(['branch', 'delete', 'fix', '--now'])).stderr, 'branch fix is gone\n');
  assert.equal(
    (await run(['branch', 'delete', 'fix', '--if-exists'])).stderr,
    'branch fix does not exist; nothing to do\n',
  );
  assert.equal((await runCli(['branch', 'delete', 'fix'], envOf(api))).code, 3);
});

test('key create prints the key alone; list and revoke', async () => {
  await using api = await testApi();
  const run = runner(api);
  const made = await run(['key', 'create', 'laptop']);
  assert.match(made.stdout, /^ofs_[A-Za-z0-9]{40}\n$/);
  assert.equal(made.stderr, 'key "laptop"; it is not stored and cannot be shown again\n');
  const key = made.stdout.trim();
  const { stdout } = await run(['key', 'list']);
  assert.match(stdout, /^ID +NAME +KEY +AGE\n\w+ +laptop +ofs_\w{4}…\w{3} +\ds\n$/);
  assert.ok(!stdout.includes(key));
  assert.equal((await run(['key', 'revoke', 'laptop'])).stderr, 'key "laptop" is revoked\n');
  assert.equal((await runCli(['key', 'revoke', 'laptop'], envOf(api))).code, 3);
});

test('service url: the first port, or the one that is asked for', async () => {
  await using api = await fullApi();
  const run = runner(api);
  assert.equal((await run(['service', 'url', 'users', '-n', 'demo'])).stdout, 'http://127.77.0.1:80\n');
  assert.equal(
    (await run(['svc', 'url', 'users', '-n', 'demo', '--port', '81'])).stdout,
    'http://127.77.0.1:81\n',
  );
  assert.match((await run(['service', 'list'])).stdout, /^demo +users +81 +127\.77\.0\.1:81 +unknown$/m);
  const missing = await runCli(['service', 'url', 'users', '-n', 'demo', '--port', '82'], envOf(api));
  assert.deepEqual(
    [missing.code, missing.stderr],
    [3, 'error: service "demo/users:82" does not exist\nhint: see "offshoot service list"\n'],
  );
  assert.match((await runCli(['service', 'url', 'users'], envOf(api))).stderr, /service "default\/users"/);
});

test('events', async () => {
  await using api = await fullApi();
  const { stdout } = await runner(api)(['events']);
  assert.match(stdout, /^\d{4}-\S+Z {2}info {5}sandbox x {2}Seen: hello\n$/);
});

const followed = {
  text: /^\S+ {2}info {5}sandbox x {2}Seen: hello\n\S+ {2}warning {2}sandbox x {2}Later: again\n$/,
  json: /^\{.*"reason":"Seen".*\}\n\{.*"reason":"Later".*\}\n$/,
  yaml: /^---\n(.+\n)+reason: Seen\n(.+\n)+---\n(.+\n)+reason: Later\n(.+\n)+$/,
};
for (const [format, pattern] of Object.entries(followed)) {
  test(`events --follow -o ${format}: those that were, then those that come, until Ctrl-C`, async () => {
    await using api = await fullApi();
    const stop = new AbortController();
    const onOutput = (text: string) => {
      if (text.includes('Later')) stop.abort(new Error('SIGINT'));
      else
        void api.store.record({
          kind: 'sandbox',
          name: 'x',
          severity: 'warning',
          reason: 'Later',
          message: 'again',
        });
    };
    const options = { signal: stop.signal, onOutput };
    const { stdout } = await runner(api)(['events', '--follow', '-o', format], options);
    assert.match(stdout, pattern);
  });
}

test('status and sandbox get tell people the same as objects do', async () => {
  await using api = await fullApi();
  const run = runner(api);
  const status = (await run(['status'])).stdout;
  assert.match(status, /^daemon {5}pid \d+, version 0\.0\.0, data in \/nowhere$/m);
  assert.match(status, /^previews {3}http:\/\/<endpoint>--<sandbox>\.preview\.localhost:7480$/m);
  assert.match(status, /^Service +demo +users +Ready +answers$/m);
  assert.match(status, /^x +InProgress +being created$/m);
  const { routingKey } = await api.client.sandboxes.get('x');
  const sandbox = (await run(['sandbox', 'get', 'x'])).stdout;
  assert.match(sandbox, new RegExp(`^routing key {2}${routingKey}$`, 'm'));
  assert.match(
    (await run(['sandbox', 'list'])).stdout,
    new RegExp(`^x +${routingKey} +- +local +\\ds +Not Ready$`, 'm'),
  );
  assert.equal((await run(['sandbox', 'logs', 'x', '-n', '2', '-w', 'users'])).stdout, 'one\ntwo\n');
  assert.equal((await run(['sandbox', 'logs', 'x'])).stdout, 'x users-0 main | one\nx users-0 main | two\n');
  assert.equal((await run(['logs', 'users'])).stdout, 'users-0 main | one\nusers-0 main | two\n');
  assert.equal((await run(['logs', 'branch/main', '--plain'])).stdout, 'ready\n');
  // On a terminal each name has a colour, unless nobody wants any.
  const shown = (await run(['logs', 'users'], { shown: true })).stdout;
  assert.equal(shown, '\x1b[36musers-0 main |\x1b[0m one\n\x1b[36musers-0 main |\x1b[0m two\n');
  const plain = (await run(['logs', 'users'], { shown: true, env: { NO_COLOR: '1' } })).stdout;
  assert.equal(plain, 'users-0 main | one\nusers-0 main | two\n');
  assert.equal((await run(['logs', 'resource/x/db'])).stderr, 'nothing was said\n');
});

test('resourceplugin get, and delete while it is in use', async () => {
  await using api = await fullApi();
  const { stdout } = await runner(api)(['resourceplugin', 'get', 'table']);
  assert.match(stdout, /^name {4}table@0\.0\.0\ncreate {2}make\ndelete {2}unmake\nin use {2}x\/db\n$/);
  const refused = await runCli(['resourceplugin', 'delete', 'table'], envOf(api));
  assert.equal(refused.code, 1);
  assert.match(refused.stderr, /in use by sandbox x/);
});

test('a dry run prints the document and applies nothing', async () => {
  await using api = await fullApi();
  const input = 'name: "@{who}-1"\nspec:\n  cluster: local\n';
  const args = ['sandbox', 'apply', '-f', '-', '--set', 'who=eve', '--dry-run'];
  const { stdout } = await runner(api)(args, { input });
  assert.deepEqual(parse(stdout), { name: 'eve-1', spec: { cluster: 'local' } });
  assert.deepEqual(
    (await api.client.sandboxes.list()).map(s => s.name),
    ['x'],
  );
});

function envOf(api: TestApi) {
  return { env: { OFFSHOOT_API_URL: api.url, OFFSHOOT_API_KEY: api.apiKey } };
}

test('sandbox get-env prints what a shell can evaluate', async () => {
  await using api = await fullApi();
  const { stdout } = await runner(api)(['sandbox', 'get-env', 'x', '-w', 'users']);
  assert.equal(stdout, "export OF='x users'\nexport QUOTED='it'\\''s \x1b[1m'\n", 'exactly');
});

test('branch tree draws who grew from whom', async () => {
  await using api = await testApi();
  await api.client.branches.create('default', { name: 'a' });
  await api.client.branches.create('default', { name: 'a1', parent: 'a' });
  await api.client.branches.create('default', { name: 'b' });
  const { stdout } = await runner(api)(['branch', 'tree']);
  assert.equal(
    stdout.replaceAll(' (creating)', ''),
    ['└─ main', '   ├─ a', '   │  └─ a1', '   └─ b', ''].join('\n'),
  );
});

test('project limit says what a project may have, and a branch that is renamed stays the one of its folder', async () => {
  await using api = await fullApi();
  await using dir = await tempDir();
  const run = runner(api);
  const limited = await run(['project', 'limit', 'default', '--max-branches', '3'], { cwd: dir.path });
  assert.match(limited.stderr, /it may have 3 branches/);
  const env = { OFFSHOOT_API_URL: api.url, OFFSHOOT_API_KEY: api.apiKey };
  const refused = await runCli(['project', 'limit', 'default', '--max-branches', 'many'], { env });
  const { message } = new OffshootError('project/bad-limit', { limit: 'many' });
  assert.deepEqual([refused.code, refused.stderr.split('\n')[0]], [2, `error: ${message}`]);
  await run(['branch', 'checkout', 'fix'], { cwd: dir.path });
  const renamed = await run(['branch', 'rename', 'fix', 'feature/Login-2'], { cwd: dir.path });
  assert.match(renamed.stderr, /branch fix is now feature\/Login-2\nthis folder still works with it/);
});

test('resourceplugin apply says once where its scripts run without a container engine', async () => {
  await using api = await testApi();
  const spec = { ...tablePlugin, runner: { image: 'tools:1' } };
  const input = JSON.stringify({ name: 'with-image', spec });
  const { stderr } = await runner(api)(['resourceplugin', 'apply', '-f', '-'], { input });
  assert.deepEqual([...stderr.matchAll(/^note: .*$/gm)].flat(), [
    'note: spec.runner has an effect in a cluster, and its image where there is a container engine; here scripts run as local processes',
  ]);
});
