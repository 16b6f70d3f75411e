/** The first command of the README, as it is typed. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { root } from '../support/daemon.ts';

const env = {
  ...process.env,
  OFFSHOOT_API_PORT: '0',
  OFFSHOOT_HTTP_PORT: '0',
  OFFSHOOT_POSTGRES_PORT: '0',
  OFFSHOOT_POOL_SIZE: '2G',
};

type Printed = {
  readonly ok: boolean;
  readonly steps: readonly {
    readonly name: string;
    readonly ms: number;
    readonly ok: boolean;
    readonly result: string;
  }[];
};

test('npm run demo -- --once --json prints every step with its time', async () => {
  const child = spawn('npm', ['run', '--silent', 'demo', '--', '--once', '--json'], {
    cwd: root,
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', chunk => (stdout += String(chunk)));
  child.stderr.on('data', chunk => (stderr += String(chunk)));
  const [code] = await once(child, 'close');
  assert.equal(code, 0, stderr + stdout);
  const { ok, steps } = JSON.parse(stdout) as Printed;
  assert.equal(ok, true);
  assert.ok(steps.every(s => s.ok && s.ms >= 0 && s.result !== ''));
  const results = Object.fromEntries(steps.map(s => [s.name, s.result]));
  assert.equal(results['six users there, five in main (SQL)'], '6 and 5');
  assert.equal(results['branch list after'], 'main');
  assert.match(results['everything removed']!, /gone/);
});

test('the demo stays up with URLs and key until Ctrl-C, then removes everything', async t => {
  const given = await mkdtemp(join(tmpdir(), 'offshoot-test-'));
  t.after(() => rm(given, { recursive: true }));
  const child = spawn(process.execPath, ['scripts/demo.ts'], {
    cwd: root,
    env: { ...env, OFFSHOOT_HOME: given },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  child.stderr.on('data', chunk => (output += String(chunk)));
  const up = Promise.withResolvers<void>();
  child.stdout.on('data', chunk => {
    output += String(chunk);
    if (/sandbox delete xata-test\n/.test(output)) up.resolve();
  });
  const closed = once(child, 'close');
  await Promise.race([up.promise, closed]);
  assert.match(output, /API key {3}ofs_\w{40}/);
  assert.match(output, /preview {3}http:\/\/users-api--xata-test\.preview\.localhost:\d+/);
  const home = /OFFSHOOT_HOME=(\S+)/.exec(output)![1]!;
  assert.ok(existsSync(home));
  child.kill('SIGINT');
  const [code] = await closed;
  assert.equal(code, 0, output);
  assert.match(output, /✓ branch list after +\d+ ms +main/);
  assert.match(output, /✓ everything removed/);
  assert.equal(home, given);
  assert.deepEqual(await readdir(given), [], 'the folder that it was given stays');
});

test('the demo takes no folder that holds data', async t => {
  const given = await mkdtemp(join(tmpdir(), 'offshoot-test-'));
  t.after(() => rm(given, { recursive: true }));
  await writeFile(join(given, 'precious'), 'data');
  const child = spawn(process.execPath, ['scripts/demo.ts'], {
    cwd: root,
    env: { ...env, OFFSHOOT_HOME: given },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  child.stdout.on('data', chunk => {
    output += String(chunk);
    if (/^Playing/m.test(output)) child.kill('SIGINT');
  });
  await once(child, 'close');
  const [, home = ''] = /^Playing \S+ in (\S+)$/m.exec(output) ?? [];
  assert.match(home, /offshoot-demo-/);
  assert.equal(existsSync(home), false);
  assert.deepEqual(await readdir(given), ['precious']);
});
