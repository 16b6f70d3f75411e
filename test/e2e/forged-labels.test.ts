/** Processes of others that carry our labels change nothing: they decide nothing, and are never signalled. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { readConfig } from '../../src/config.ts';
import { identify, isAlive } from '../../src/lib/process.ts';
import { deployBaseline, sandboxDocument } from '../support/baseline.ts';
import { testDaemon } from '../support/daemon.ts';

/** Every name that a part of ours can have, and such as are none: broken encodings, other kinds, nothing. */
const parts = [
  'workload/base.demo.users-service/users-service/0',
  'workload/sb-xata-test.demo.users-service/users-service/0',
  'step/xata-test.usersDb.create.provision',
  'step/%zz',
  'step/%E0%A4%A',
  'step/..%2F..%2Fetc',
  'workload/%zz/main/0',
  'workload/%E0%A4%A/main/0',
  'workload',
  'postgres/main',
  'postgres/%',
  'initdb',
  'initdb/%zz',
  'proxy',
  '%',
  '',
];

test('processes of others with our labels', async t => {
  const uid = process.getuid?.();
  // As root: of somebody who may read nothing of ours; and of our own user, whose processes we could signal.
  const users = uid === 0 ? [{ uid: 65_534, gid: 65_534 }, {}] : [{}];
  await using daemon = await testDaemon({ start: false });
  const { instance } = readConfig(daemon.env, uid ?? 1);
  const strangers = users.flatMap(user =>
    parts.map(part =>
      spawn('/bin/sleep', ['600'], {
        ...user,
        cwd: '/',
        env: { OFFSHOOT_INSTANCE: instance, OFFSHOOT_PART: part },
        detached: true,
        stdio: 'ignore',
      }),
    ),
  );
  const ids = strangers.map(({ pid }) => identify(pid!)!);
  try {
    const run = async (args: readonly string[], input?: string) => {
      const { code, stderr } = await daemon.cli(args, input === undefined ? {} : { input });
      assert.equal(code, 0, `offshoot ${args.join(' ')}: ${stderr}`);
      assert.deepEqual(
        ids.filter(id => !isAlive(id)),
        [],
        `all strangers live after ${args.join(' ')}`,
      );
    };
    await run(['up', '--detach']);
    await deployBaseline(daemon.cli);
    await run(['sandbox', 'apply', '-f', '-'], sandboxDocument('xata-test'));
    const branches = await daemon.client.branches.list('default');
    const forged = branches.map(({ id }) =>
      spawn('/bin/sleep', ['600'], {
        cwd: '/',
        env: { OFFSHOOT_INSTANCE: instance, OFFSHOOT_PART: `postgres/${id}` },
        detached: true,
        stdio: 'ignore',
      }),
    );
    strangers.push(...forged);
    ids.push(...forged.map(({ pid }) => identify(pid!)!));

    await daemon.kill9();
    await run(['up', '--detach']);
    await run(['branch', 'create', 'twig']);
    await run(['branch', 'delete', 'twig']);
    await run(['sandbox', 'delete', 'xata-test']);
    await run(['sandbox', 'apply', '-f', '-'], sandboxDocument('xata-test'));
    await run(['doctor']);
    await run(['down']);
  } finally {
    const exits = strangers.map(stranger => once(stranger, 'exit'));
    for (const stranger of strangers) stranger.kill('SIGKILL');
    await Promise.all(exits);
  }
  t.diagnostic(`${ids.length} strangers`);
});
