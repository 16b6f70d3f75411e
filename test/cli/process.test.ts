/** The command line as a process: pipes that close, Ctrl-C, and what is loaded. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { test } from 'node:test';
import { until } from '../../src/lib/wait.ts';
import { type TestApi, testApi } from '../support/api.ts';
import { root } from '../support/daemon.ts';
import { deploy, deployment } from '../support/documents.ts';

const main = join(root, 'src', 'cli', 'main.ts');

/** Starts a command against `api`; ends it with the test. */
function start(api: TestApi, args: readonly string[], input?: string, nodeArgs: readonly string[] = []) {
  const env = { ...process.env, OFFSHOOT_API_URL: api.url, OFFSHOOT_API_KEY: api.apiKey };
  const child = spawn(process.execPath, [...nodeArgs, main, ...args], { env, cwd: '/' });
  const text = { stdout: '', stderr: '' };
  child.stdout.setEncoding('utf8').on('data', chunk => (text.stdout += chunk));
  child.stderr.setEncoding('utf8').on('data', chunk => (text.stderr += chunk));
  child.stdin.on('error', () => {});
  child.stdin.end(input ?? '');
  const closed = once(child, 'close');
  return {
    child,
    text,
    /** Exit code or the signal's name. */
    ended: async (): Promise<unknown> => {
      const [code, signal] = await closed;
      return code ?? signal;
    },
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL');
      await closed;
    },
  };
}

test('a reader that has seen enough (| head -1) is no error', async () => {
  await using api = await testApi();
  for (let i = 0; i < 30; i++) await api.client.branches.create('default', { name: `b-${i}` });
  for (const args of [['branch', 'list', '-o', 'json'], ['--help']]) {
    await using command = start(api, args);
    command.child.stdout.destroy();
    assert.deepEqual([await command.ended(), command.text.stderr], [0, ''], args.join(' '));
  }
  await using follow = start(api, ['events', '--follow']);
  follow.child.stdout.destroy();
  const event = { kind: 'branch', name: 'b', severity: 'info', reason: 'Seen', message: '' } as const;
  await until(
    () => {
      api.store.record(event);
      return follow.child.exitCode ?? undefined;
    },
    { what: 'events --follow ends', deadlineMs: 20_000, intervalMs: 20 },
  );
  assert.deepEqual([follow.child.exitCode, follow.text.stderr], [0, '']);
});

test('Ctrl-C while it waits: exit 130, and the sandbox goes on', async () => {
  await using api = await testApi();
  deploy(api.store, deployment('users'));
  const input = JSON.stringify({
    name: 'x',
    spec: {
      cluster: 'local',
      forks: [{ forkOf: { kind: 'Deployment', namespace: 'demo', name: 'users' } }],
    },
  });
  await using command = start(api, ['sandbox', 'apply', '-f', '-'], input);
  await until(() => (/fork demo\/users|routing key/.test(command.text.stderr) ? true : undefined), {
    what: 'the sandbox is applied',
    deadlineMs: 20_000,
  });
  command.child.kill('SIGINT');
  assert.equal(await command.ended(), 130);
  assert.match(command.text.stderr, /\ninterrupted; what was asked for goes on in the daemon\n$/);
  assert.equal(command.text.stdout, '');
  assert.equal((await api.client.sandboxes.get('x')).deletedAt, undefined);
});

test('commands load only what they need', async () => {
  await using api = await testApi();
  const loaded = async (...args: string[]) => {
    const log = `import { registerHooks } from 'node:module';
      registerHooks({ load(url, context, next) { process.stderr.write(url + '\\n'); return next(url, context); } });`;
    const hook = `data:text/javascript,${encodeURIComponent(log)}`;
    await using command = start(api, args, undefined, ['--import', hook]);
    assert.equal(await command.ended(), 0);
    const packages = [...command.text.stderr.matchAll(/node_modules\/((?:@[^/]+\/)?[^/]+)/g)].map(m => m[1]!);
    return [...new Set(packages)];
  };
  assert.deepEqual(await loaded('branch', 'list'), ['commander']);
  assert.deepEqual(await loaded('sandbox', 'list'), ['commander']);
  assert.deepEqual(await loaded('down', '--help'), ['commander']);
  assert.deepEqual(await loaded('branch', 'list', '-o', 'yaml'), ['commander', 'yaml']);
});
