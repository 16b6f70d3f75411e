import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { it } from 'node:test';
import { family, identify, isAlive, killGroupOf, signal } from '../../src/lib/process.ts';
import { until } from '../../src/lib/wait.ts';

const linux = process.platform === 'linux' ? false : 'only Linux has /proc';

type Group = AsyncDisposable & { readonly child: ChildProcess; readonly pid: number };

/** A process of a group of its own that has said that it runs. */
async function group(code: string, env: NodeJS.ProcessEnv = process.env): Promise<Group> {
  const child = spawn(process.execPath, ['-e', `${code}; setInterval(() => {}, 1e6); console.log('up')`], {
    detached: true,
    env,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exit = once(child, 'exit');
  await once(child.stdout, 'data');
  return {
    child,
    pid: child.pid!,
    async [Symbol.asyncDispose]() {
      if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
      await exit;
    },
  };
}

const gone = (pid: number) =>
  until(() => (identify(pid) === undefined ? true : undefined), {
    what: `${pid} is gone`,
    deadlineMs: 60_000,
  });

it('knows a process by pid and start time, so that a pid that was used again is another one', {
  skip: linux,
}, async () => {
  await using one = await group('');
  await using two = await group('');
  const id = identify(one.pid)!;
  assert.deepEqual(identify(one.pid), id);
  assert.equal(isAlive(id), true);
  assert.equal(isAlive({ pid: two.pid, startTime: `${id.startTime}0` }), false);
  one.child.kill('SIGKILL');
  await gone(one.pid);
  assert.equal(isAlive(id), false);
});

it('reads past a program name with spaces and parentheses', { skip: linux }, async () => {
  await using odd = await group(`process.title = 'a) S (b'`);
  assert.match(identify(odd.pid)?.startTime ?? '', /^[1-9]\d*$/);
});

it('takes a zombie for gone', { skip: linux }, async () => {
  // The shell starts a child and then becomes a program that never waits for it.
  const script = '/bin/true & echo $!; exec sleep 1000';
  const shell = spawn('/bin/sh', ['-c', script], { stdio: ['ignore', 'pipe', 'inherit'] });
  try {
    const [pid] = await once(shell.stdout, 'data');
    await gone(Number(pid));
  } finally {
    shell.kill('SIGKILL');
    await once(shell, 'exit');
  }
});

it('signals a process or its group, and never one that has the pid of another', { skip: linux }, async () => {
  await using one = await group(`process.on('SIGINT', () => process.exit(7))`);
  const id = identify(one.pid)!;
  assert.equal(signal({ ...id, startTime: `${id.startTime}0` }, 'SIGKILL'), false);
  assert.equal(signal(id, 'SIGINT', 'group'), true);
  await until(() => one.child.exitCode ?? undefined, { what: 'exit', deadlineMs: 60_000 });
  assert.equal(one.child.exitCode, 7);
  assert.equal(signal(id, 'SIGKILL'), false);
  assert.equal(killGroupOf(id), false);
});

const withChild = `const { spawn } = require('node:child_process');
  const child = spawn(process.execPath, ['-e', "setInterval(() => {}, 1e6); console.log('up')"], { detached: DETACHED });
  child.stdout.once('data', () => console.log('child ' + child.pid))`;

it('knows what a process has started, also what has left its group', { skip: linux }, async () => {
  await using leader = await group(withChild.replace('DETACHED', 'true'));
  const [said] = await once(leader.child.stdout!, 'data');
  const child = identify(Number(/child (\d+)/.exec(String(said))?.[1]))!;
  try {
    assert.deepEqual(family(identify(leader.pid)!), [identify(leader.pid), child]);
    assert.deepEqual(family({ pid: leader.pid, startTime: '1' }), []);
  } finally {
    signal(child, 'SIGKILL');
  }
});

it('kills what is left of a group when its leader has ended', async () => {
  await using leader = await group(withChild.replace('DETACHED', 'false'));
  const [said] = await once(leader.child.stdout!, 'data');
  const child = Number(/child (\d+)/.exec(String(said))?.[1]);
  const id = identify(leader.pid)!;
  leader.child.kill('SIGKILL');
  await once(leader.child, 'exit');
  assert.ok(identify(child) !== undefined);
  assert.equal(killGroupOf(id), true);
  await gone(child);
});
