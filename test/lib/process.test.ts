import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { it } from 'node:test';
import { endGroup, findByEnv, identify, isAlive, killGroup } from '../../src/lib/process.ts';
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
    deadlineMs: 10_000,
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

it('finds processes by a whole variable of their environment, whatever letters it has', {
  skip: linux,
}, async () => {
  const value = `wächter-${crypto.randomUUID()}`;
  await using one = await group('', { OFFSHOOT_TEST: value });
  await using _longer = await group('', { OFFSHOOT_TEST: `${value}x`, MY_OFFSHOOT_TEST: value });
  assert.deepEqual(await findByEnv('OFFSHOOT_TEST', value), [identify(one.pid)]);
});

it('ends a group gently where that works, and with force where it does not', async () => {
  await using gentle = await group(`process.on('SIGINT', () => process.exit(7))`);
  await endGroup(identify(gentle.pid)!, { first: 'SIGINT', graceMs: 10_000 });
  await until(() => gentle.child.exitCode ?? undefined, { what: 'exit', deadlineMs: 10_000 });
  assert.equal(gentle.child.exitCode, 7);

  await using deaf = await group(`process.on('SIGTERM', () => {})`);
  await endGroup(identify(deaf.pid)!, { graceMs: 20 });
  await until(() => deaf.child.signalCode ?? undefined, { what: 'exit', deadlineMs: 10_000 });
  assert.equal(deaf.child.signalCode, 'SIGKILL');
});

it('ends what the leader started with it', async () => {
  await using leader = await group(
    `const { spawn } = require('node:child_process');
     console.error = () => {};
     const child = spawn(process.execPath, ['-e', "process.on('SIGTERM', () => {}); setInterval(() => {}, 1e6); console.log('up')"]);
     child.stdout.once('data', () => console.log('child ' + child.pid))`,
  );
  const [said] = await once(leader.child.stdout!, 'data');
  const child = Number(/child (\d+)/.exec(String(said))?.[1]);
  await endGroup(identify(leader.pid)!, { graceMs: 10_000 });
  await gone(child);
});

it('has nothing to do for a group that is gone', async () => {
  await using one = await group('');
  const id = identify(one.pid)!;
  one.child.kill('SIGKILL');
  await gone(one.pid);
  await endGroup(id, { graceMs: 10_000 });
  killGroup(one.pid, 'SIGTERM');
});
