/** The command line as a process: pipes that close, Ctrl-C, and what is loaded. */
import assert from 'node:assert/strict';
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { parse } from 'yaml';
import { until } from '../../src/lib/wait.ts';
import { type TestApi, testApi } from '../support/api.ts';
import { root } from '../support/daemon.ts';
import { deploy, deployment } from '../support/documents.ts';

const main = join(root, 'src', 'cli', 'main.ts');

type StartOptions = {
  readonly input?: string;
  readonly nodeArgs?: readonly string[];
  /** A descriptor for standard output instead of one that `text` gets. */
  readonly stdout?: number;
  /** Through a pipe, as a shell makes it: what node makes is a socket, which takes more at once. */
  readonly piped?: boolean;
};

/** Starts a command against `api`; ends it with the test. */
function start(api: TestApi, args: readonly string[], options: StartOptions = {}) {
  const { input = '', nodeArgs = [], stdout = 'pipe', piped = false } = options;
  const env = { ...process.env, OFFSHOOT_API_URL: api.url, OFFSHOOT_API_KEY: api.apiKey };
  const argv = [process.execPath, ...nodeArgs, main, ...args];
  const [file, ...rest] = piped ? ['bash', '-o', 'pipefail', '-c', '"$@" | cat', 'bash', ...argv] : argv;
  const child = spawn(file!, rest, { env, cwd: '/', stdio: ['pipe', stdout, 'pipe'] });
  const text = { stdout: '', stderr: '' };
  child.stdout?.setEncoding('utf8').on('data', chunk => (text.stdout += chunk));
  child.stderr!.setEncoding('utf8').on('data', chunk => (text.stderr += chunk));
  child.stdin!.on('error', () => {});
  child.stdin!.end(input);
  const closed = once(child, 'close');
  return {
    child: child as ChildProcessWithoutNullStreams,
    text,
    /** Exit code or the signal's name; its output may still stand in the pipe. */
    exited: once(child, 'exit').then(([code, signal]): unknown => code ?? signal),
    /** The same, when its output is read too. */
    ended: async (): Promise<unknown> => {
      const [code, signal] = await closed;
      return code ?? signal;
    },
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL');
      child.stdout?.resume();
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
    async () => {
      await api.store.record(event);
      return follow.child.exitCode ?? undefined;
    },
    { what: 'events --follow ends', deadlineMs: 60_000, intervalMs: 20 },
  );
  assert.deepEqual([follow.child.exitCode, follow.text.stderr], [0, '']);
});

/** Events that make every output of `events` longer than a pipe holds. @returns their messages */
async function longOutput(api: TestApi): Promise<readonly string[]> {
  const messages = Array.from({ length: 500 }, (_, i) => `${i} ${'long'.repeat(250)}`);
  const event = { kind: 'branch', name: 'b', severity: 'info', reason: 'Seen' } as const;
  await Promise.all(messages.map(message => api.store.record({ ...event, message })));
  return messages;
}

test('output into a pipe is whole, however much it is', async () => {
  await using api = await testApi();
  const messages = await longOutput(api);
  const read: Readonly<Record<string, (text: string) => unknown>> = {
    json: text => (JSON.parse(text) as { message: string }[]).map(e => e.message),
    yaml: text => (parse(text) as { message: string }[]).map(e => e.message),
    text: text => [...text.matchAll(/Seen: (.*)/g)].map(([, message]) => message),
  };
  for (const [format, messagesOf] of Object.entries(read)) {
    await using command = start(api, ['events', '--limit', '500', '-o', format], { piped: true });
    assert.equal(await command.ended(), 0, command.text.stderr);
    assert.deepEqual(messagesOf(command.text.stdout), messages, format);
  }
});

test('a reader that does not read is waited for; Ctrl-C ends that', async () => {
  await using api = await testApi();
  await longOutput(api);
  await using command = start(api, ['events', '--limit', '500', '-o', 'json']);
  command.child.stdout.pause();
  await until(() => (command.child.stdout.readableLength > 0 ? true : undefined), {
    what: 'the first bytes are there',
    deadlineMs: 60_000,
  });
  command.child.kill('SIGINT');
  assert.equal(await command.exited, 130);
});

test('output that cannot be written is an error; a lost standard error is not', async () => {
  await using api = await testApi();
  const full = openSync('/dev/full', 'w');
  await using unwritten = start(api, ['branch', 'list'], { stdout: full });
  closeSync(full);
  assert.equal(await unwritten.ended(), 1);
  assert.equal(unwritten.text.stderr, 'error: the output cannot be written: ENOSPC\n');

  await using unheard = start(api, ['branch', 'create', 'b', '--no-wait']);
  unheard.child.stderr.destroy();
  assert.equal(await unheard.ended(), 0);
  assert.equal((await api.client.branches.get('default', 'b')).name, 'b');
});

test('Ctrl-C while it waits: exit 130, and the sandbox goes on', async () => {
  await using api = await testApi();
  await deploy(api.store, deployment('users'));
  const input = JSON.stringify({
    name: 'x',
    spec: {
      cluster: 'local',
      forks: [{ forkOf: { kind: 'Deployment', namespace: 'demo', name: 'users' } }],
    },
  });
  await using command = start(api, ['sandbox', 'apply', '-f', '-'], { input });
  await until(() => (/fork demo\/users|routing key/.test(command.text.stderr) ? true : undefined), {
    what: 'the sandbox is applied',
    deadlineMs: 60_000,
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
    await using command = start(api, args, { nodeArgs: ['--import', hook] });
    assert.equal(await command.ended(), 0);
    const packages = [...command.text.stderr.matchAll(/node_modules\/((?:@[^/]+\/)?[^/]+)/g)].map(m => m[1]!);
    return [...new Set(packages)];
  };
  assert.deepEqual(await loaded('branch', 'list'), ['commander']);
  assert.deepEqual(await loaded('sandbox', 'list'), ['commander']);
  assert.deepEqual(await loaded('down', '--help'), ['commander']);
  assert.deepEqual(await loaded('branch', 'list', '-o', 'yaml'), ['commander', 'yaml']);
});
