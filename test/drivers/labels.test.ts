import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { it } from 'node:test';
import { findLabelled, findLeader, killPart, labels, pathId, pathName } from '../../src/drivers/labels.ts';
import { identify, isAlive } from '../../src/lib/process.ts';
import { tempDir } from '../support/temp.ts';

const start = (instance: string, part: string, detached: boolean) => {
  const child = spawn('sleep', ['600'], { env: { ...process.env, ...labels(instance, part) }, detached });
  child.on('error', () => {});
  return { id: identify(child.pid!)!, ended: once(child, 'exit') };
};

it('finds and kills the processes of a part and below, and no others', async () => {
  await using dir = await tempDir(); // a name that is nobody else's
  const follower = start(dir.path, 'workload/a/main/0', false);
  const leader = start(dir.path, 'workload/a/main/0', true);
  const namesake = start(dir.path, 'workload/ab/main/0', true);
  const stranger = start(`${dir.path}-2`, 'workload/a/main/0', true);
  const all = await findLabelled(dir.path);
  assert.deepEqual(
    all.map(p => [p.pid, p.part]).toSorted(),
    [
      [follower.id.pid, 'workload/a/main/0'],
      [leader.id.pid, 'workload/a/main/0'],
      [namesake.id.pid, 'workload/ab/main/0'],
    ].toSorted(),
  );
  assert.deepEqual(findLeader(all, 'workload/a/main/0'), leader.id);
  assert.equal(findLeader(all, 'workload/a/main/1'), undefined);
  await killPart(dir.path, 'workload/a');
  await Promise.all([follower.ended, leader.ended]);
  assert.ok(isAlive(namesake.id) && isAlive(stranger.id));
  await killPart(dir.path, 'workload');
  await killPart(`${dir.path}-2`, 'workload');
  await Promise.all([namesake.ended, stranger.ended]);
});

it('makes one path segment of any id, and back', () => {
  for (const id of ['base.demo.users-service', '..', '.', '../up', 'a/b', 'ü %']) {
    const name = pathName(id);
    assert.ok(!name.includes('/') && !name.startsWith('.'), name);
    assert.equal(pathId(name), id);
  }
  assert.equal(pathName('base.demo.users-service'), 'base.demo.users-service');
});
