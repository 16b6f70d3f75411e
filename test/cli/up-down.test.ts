/** The daemon's beginning and end, with real processes. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, writeFileSync } from 'node:fs';
import { chmod, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { cliRunner } from '../../scripts/demo/cli.ts';
import { readConfig } from '../../src/config.ts';
import { identify } from '../../src/lib/process.ts';
import { until } from '../../src/lib/wait.ts';
import type { ErrorBody } from '../../src/model/errors.ts';
import type { DaemonView } from '../../src/model/view.ts';
import { root, testDaemon } from '../support/daemon.ts';
import { tempDir } from '../support/temp.ts';

test('up, up again, down, down again', async () => {
  await using daemon = await testDaemon({ start: false });
  const { cli, home } = daemon;

  const before = await cli(['down']);
  assert.deepEqual([before.code, before.stderr], [0, `nothing runs: ${home} holds no data of offshoot\n`]);
  assert.deepEqual(await readdir(home), []);

  const first = await cli(['up', '--detach', '-o', 'json']);
  assert.equal(first.code, 0, first.stderr);
  const { pid } = JSON.parse(first.stdout) as DaemonView;
  assert.equal(pid, daemon.pid);
  assert.equal(first.stderr, `offshoot is up (pid ${pid}); see "offshoot status"\n`);
  assert.match(await readFile(`/proc/${pid}/cmdline`, 'utf8'), /\0--max-semi-space-size=2\0/, 'short pauses');
  assert.match(await readFile(`/proc/${pid}/environ`, 'utf8'), /(^|\0)UV_THREADPOOL_SIZE=32\0/, 'threads');

  const again = await cli(['up', '--detach']);
  assert.deepEqual(
    [again.code, again.stderr],
    [0, `offshoot is up already (pid ${pid}); see "offshoot status"\n`],
  );
  const second = await cli(['up']);
  assert.equal(second.code, 1);
  assert.equal(
    second.stderr,
    `error: another offshoot daemon (pid ${pid}) already uses ${home}\n` +
      'hint: stop it with "offshoot down", or set OFFSHOOT_HOME to another folder\n',
  );

  const asObject = await cli(['up', '-o', 'json']);
  assert.equal((JSON.parse(asObject.stderr) as ErrorBody).code, 'host/already-running');

  // The daemon of the data directory is meant, not the one that other commands talk to.
  const elsewhere = { ...daemon.env, OFFSHOOT_API_URL: 'http://127.0.0.1:1', OFFSHOOT_API_KEY: 'ofs_other' };
  const down = await cliRunner(root, elsewhere)(['down']);
  assert.deepEqual([down.code, down.stderr], [0, 'offshoot is down\n']);
  assert.equal(identify(pid), undefined);
  assert.deepEqual([await daemon.labelled(''), daemon.mounts()], [[], []]);
  const more = await cli(['down']);
  assert.deepEqual(
    [more.code, more.stderr],
    [0, 'no daemon was running; what an earlier one left running is stopped\n'],
  );
  const unreachable = await cli(['status']);
  assert.equal(unreachable.code, 1);
  assert.match(
    unreachable.stderr,
    /^error: no offshoot daemon answers at .*\nhint: start it with "offshoot up"/,
  );
});

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  test(`in the foreground, until ${signal}`, async t => {
    await using daemon = await testDaemon({ start: false, env: { OFFSHOOT_VOLUMES: 'copy' } });
    const child = spawn(join(root, 'offshoot'), ['up'], {
      env: daemon.env,
      cwd: '/',
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    const closed = once(child, 'close');
    t.after(async () => {
      child.kill('SIGKILL');
      await closed;
    });
    let stderr = '';
    child.stderr.setEncoding('utf8').on('data', chunk => (stderr += chunk));
    await until(() => (/offshoot is up/.test(stderr) ? true : undefined), { what: 'up', deadlineMs: 60_000 });
    const { port } = new URL(daemon.client.connection.url);
    assert.equal(
      stderr,
      `offshoot is up: API http://127.0.0.1:${port}, data in ${daemon.home}; Ctrl-C stops it\n`,
    );
    assert.equal((await daemon.cli(['branch', 'wait', 'main'])).code, 0);
    assert.notDeepEqual(await daemon.labelled(''), [], 'a server runs');
    child.kill(signal);
    assert.deepEqual(await closed, [0, null]);
    assert.match(stderr, /\noffshoot is down\n$/);
    assert.deepEqual([await daemon.labelled(''), daemon.mounts()], [[], []]);
  });
}

test('a port that is taken: which one, and the variable that chooses another', async () => {
  const server = createServer();
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await using daemon = await testDaemon({ start: false, env: { OFFSHOOT_VOLUMES: 'copy' } });
  try {
    for (const [variable, what] of [
      ['OFFSHOOT_API_PORT', 'the API'],
      ['OFFSHOOT_HTTP_PORT', 'previews'],
      ['OFFSHOOT_POSTGRES_PORT', 'the Postgres gateway'],
    ] as const) {
      const up = await cliRunner(root, { ...daemon.env, [variable]: String(port) })(['up', '--detach']);
      assert.equal(up.code, 1, variable);
      assert.equal(
        up.stderr,
        `error: cannot listen on 127.0.0.1:${port} for ${what}: the port is taken\n` +
          `hint: stop what listens there, or choose another port with ${variable}\n`,
      );
      assert.deepEqual([await daemon.labelled(''), daemon.mounts()], [[], []], variable);
      assert.deepEqual(await readdir(daemon.home), [], variable);
    }
  } finally {
    server.close();
  }
});

const failing: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  'no pool': { OFFSHOOT_VOLUMES: 'btrfs' },
  'no PostgreSQL': { OFFSHOOT_POSTGRES_BIN: '/nowhere' },
};
for (const [how, env] of Object.entries(failing)) {
  for (const args of [['up'], ['up', '--detach']]) {
    test(`a start that fails, with ${how}, leaves nothing (${args.join(' ')})`, async () => {
      await using daemon = await testDaemon({ start: false });
      const home = join(daemon.home, 'deep', 'home');
      const { code, stderr } = await cliRunner(root, { ...daemon.env, ...env, OFFSHOOT_HOME: home })(args);
      assert.equal(code, 1, stderr);
      assert.match(stderr, /^error: /);
      assert.deepEqual(await readdir(daemon.home), []);
      assert.deepEqual(daemon.mounts(), []);
    });
  }
}

test('a start that fails takes nothing of the data that is there', async () => {
  await using daemon = await testDaemon({ env: { OFFSHOOT_VOLUMES: 'copy' } });
  await daemon.down();
  const before = (await readdir(daemon.home)).toSorted();
  const { code } = await cliRunner(root, { ...daemon.env, OFFSHOOT_POSTGRES_BIN: '/nowhere' })(['up', '-d']);
  assert.equal(code, 1);
  assert.deepEqual((await readdir(daemon.home)).toSorted(), before);
});

test('a start whose proxy does not come says why, and leaves no file, process or socket behind', async () => {
  await using daemon = await testDaemon({ env: { OFFSHOOT_VOLUMES: 'copy' } });
  const { runtimeDir } = readConfig(daemon.env, process.getuid?.() ?? 1);
  await daemon.down();
  const out = join(daemon.home, 'logs/proxy.out');
  await rm(out);
  await mkdir(out);
  const all = async () => (await readdir(daemon.home, { recursive: true })).toSorted();
  const before = await all();
  const up = await daemon.cli(['up', '--detach']);
  assert.equal(up.code, 1, up.stderr);
  assert.match(up.stderr, /^error: no proxy can be started: EISDIR: .*proxy\.out'\nhint: /);
  assert.deepEqual(await all(), before);
  assert.deepEqual([await daemon.labelled(''), daemon.mounts(), await daemon.groups()], [[], [], []]);
  assert.equal(existsSync(runtimeDir), false);

  await rm(out, { recursive: true });
  assert.equal((await daemon.cli(['up', '--detach'])).code, 0);
});

for (const args of [['up'], ['up', '--detach']]) {
  test(`a start that is interrupted leaves nothing (${args.join(' ')})`, async () => {
    await using daemon = await testDaemon({ start: false });
    await using slow = await slowPostgres();
    const home = join(daemon.home, 'home');
    const child = spawn(join(root, 'offshoot'), args, {
      env: { ...daemon.env, OFFSHOOT_HOME: home, OFFSHOOT_POSTGRES_BIN: slow.bin },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let stderr = '';
    child.stderr.setEncoding('utf8').on('data', chunk => (stderr += chunk));
    const closed = once(child, 'close');
    const begun = () => (existsSync(join(home, 'processes')) ? true : undefined);
    await until(begun, { what: 'it has begun', deadlineMs: 60_000, intervalMs: 1 });
    child.kill('SIGINT');
    slow.letGo();
    assert.deepEqual(await closed, [130, null], stderr);
    assert.match(stderr, /interrupted before it was up; nothing was left running\n$/);
    assert.deepEqual(await readdir(daemon.home), []);
    assert.deepEqual(daemon.mounts(), []);
  });
}

/**
 * A program `postgres` that does not tell its version before it is let go, so that no start is over before it is interrupted; and then
 * after so many others that on a busy machine, too, whoever passes the interruption on has done so.
 */
async function slowPostgres() {
  const dir = await tempDir();
  // By way of its own folder, which may be mounted elsewhere for the user that runs it.
  const script = `#!/bin/sh
until test -e "\${0%/*}/../go"; do sleep 0.02; done
for i in $(seq 100); do /bin/true; done
echo 'postgres (PostgreSQL) 18.4'
`;
  const bin = join(dir.path, 'bin');
  await mkdir(bin);
  await writeFile(join(bin, 'postgres'), script);
  await writeFile(join(bin, 'initdb'), `#!/bin/sh\necho "share_path=${dir.path}"\n`);
  for (const path of [dir.path, bin, join(bin, 'postgres'), join(bin, 'initdb')]) await chmod(path, 0o755);
  return {
    bin,
    letGo: () => writeFileSync(join(dir.path, 'go'), ''),
    [Symbol.asyncDispose]: () => dir[Symbol.asyncDispose](),
  };
}

test('a configuration that is not valid', async () => {
  await using daemon = await testDaemon({ start: false, env: { OFFSHOOT_VOLUMES: 'copy' } });
  const refused = async (variable: string, value: string, args: readonly string[]) => {
    const { code, stdout, stderr } = await cliRunner(root, { ...daemon.env, [variable]: value })(args);
    assert.deepEqual([code, stdout], [2, ''], stderr);
    return stderr;
  };
  const hint = 'hint: see "offshoot up --help" for all variables\n';
  for (const args of [['up'], ['up', '--detach']]) {
    assert.equal(
      await refused('OFFSHOOT_API_PORT', 'x', args),
      `error: OFFSHOOT_API_PORT=x is not valid: it must be a port number, 0 to 65535\n${hint}`,
    );
    assert.equal(
      await refused('OFFSHOOT_HOME', '/dev/null', args),
      `error: OFFSHOOT_HOME=/dev/null is not valid: the folder cannot be made (ENOTDIR)\n${hint}`,
    );
  }
  assert.match(
    await refused('OFFSHOOT_HOST', '192.0.2.1', ['up', '--detach']),
    /^error: listening on 192\.0\.2\.1 would let API keys and data pass over the network in clear text\n/,
  );
  assert.equal(
    await refused('OFFSHOOT_HOST', '192.0.2.1', ['up', '--detach', '--allow-cleartext']),
    `error: OFFSHOOT_HOST=192.0.2.1 is not valid: this machine has no such address\n${hint}`,
  );
});

test('doctor without a daemon probes the machine and leaves nothing', async () => {
  await using daemon = await testDaemon({ start: false });
  const temp = join(daemon.home, 'tmp');
  await mkdir(temp);
  const cli = cliRunner(root, { ...daemon.env, TMPDIR: temp });
  const { code, stdout } = await cli(['doctor']);
  assert.equal(code, 0);
  assert.match(stdout, /^✓ node +version: v\d+/m);
  assert.match(stdout, /^✗ daemon +running: no daemon answers; start it with "offshoot up"$/m);
  assert.match(stdout, /^[✓✗] volumes +volume\//m);
  assert.match(stdout, /^✓ postgres +postgres: PostgreSQL 18/m);
  assert.deepEqual(await readdir(temp), []);
  await rm(temp, { recursive: true });
  assert.deepEqual(await readdir(daemon.home), []);
});
