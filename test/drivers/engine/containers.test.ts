/** What needs no container engine: choice, requests, words of a container, and a life against a stand-in of Docker's API. */
import assert from 'node:assert/strict';
import { appendFile, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { it } from 'node:test';
import { openEngine } from '../../../src/drivers/engine/containers.ts';
import { type ContainerWish, EngineProblem, type News } from '../../../src/drivers/engine/contract.ts';
import { createBody } from '../../../src/drivers/engine/create-body.ts';
import { doorImage } from '../../../src/drivers/engine/door-image.ts';
import { copyLog, saidIn } from '../../../src/drivers/engine/log-copy.ts';
import { runnerOf } from '../../../src/drivers/runner-of.ts';
import { planWorkload } from '../../../src/drivers/workload/plan.ts';
import { exec } from '../../../src/lib/exec.ts';
import { silentLog } from '../../../src/lib/log.ts';
import { until } from '../../../src/lib/wait.ts';
import { fakeEngine } from '../../support/fake-engine.ts';
import { tempDir } from '../../support/temp.ts';
import { ctx, openTestRuntime, specOf, testImages, testNode, untilSeen } from '../../support/workload.ts';

const podman = { title: 'Podman 4.3.1', socket: '/p.sock', joinsNetworks: true };
const docker = { title: 'Docker 28.0.0', socket: '/d.sock', joinsNetworks: false };
const none = { why: 'there is none' };

it('chooses by the entry first, then by what there is', () => {
  assert.deepEqual(runnerOf(testImages, 'server:1', podman), { entry: testImages.server });
  assert.deepEqual(runnerOf(testImages, 'redis:7', podman), { engine: podman });
  assert.deepEqual(runnerOf(testImages, 'redis:7', none), none);
});

it('plans a pod of an image in a network of its own where the engine can enter one, else by $PORT', () => {
  const plan = (engine: typeof podman) => {
    const spec = specOf({ image: 'redis:7', command: ['run', '$(HOSTNAME)'] }, { images: {} });
    return planWorkload(spec, { node: testNode, networks: true, engine }).pod!;
  };
  assert.equal(plan(podman).hostNetwork, false);
  assert.equal(plan(podman).containers[0]!.env.PORT, undefined);
  assert.equal(plan(docker).hostNetwork, true);
  assert.ok(plan(docker).containers[0]!.env.PORT);
  const { name, pull, command } = plan(podman).containers[0]!.image!;
  assert.deepEqual([name, pull, command?.[0]], ['redis:7', 'IfNotPresent', 'run']);
});

const wish: ContainerWish = {
  ...{ image: 'tool:1', pull: 'IfNotPresent', env: { A: '1' }, logFile: '/log' },
  mounts: [{ source: '/a:b', target: '/t', readOnly: true }],
};

it('asks for a container as Docker has it', () => {
  const args = ['-v'];
  assert.deepEqual(createBody('me', 'workload/x', { ...wish, args }).Cmd, args);
  const body = createBody('me', 'workload/x', {
    ...{ ...wish, command: ['sh'], args, network: '/proc/1/fd/2', hostname: 'h', user: '5' },
    limits: { memoryBytes: 2 ** 20, cpus: 0.5 },
  });
  assert.deepEqual(
    [body.Entrypoint, body.Cmd, body.Hostname, body.User, body.Env],
    [['sh'], args, 'h', '5', ['A=1']],
  );
  assert.deepEqual(body.Labels, { 'offshoot.instance': 'me', 'offshoot.part': 'workload/x' });
  const host = body.HostConfig as Record<string, unknown>;
  assert.equal(host.NetworkMode, 'ns:/proc/1/fd/2');
  assert.deepEqual([host.Memory, host.MemorySwap, host.NanoCpus], [2 ** 20, 2 ** 20, 5e8]);
  assert.deepEqual((host.Mounts as object[])[0], {
    ...{ Type: 'bind', Source: '/a:b', Target: '/t', ReadOnly: true },
    BindOptions: { Propagation: 'rprivate' },
  });
});

it('reads what both engines write, and goes on where it was', async () => {
  const bytes = (line: string) => saidIn(Buffer.from(line).toString('latin1')).toString();
  assert.equal(bytes('2026-01-01T00:00:00.1Z stdout F grüße'), 'grüße\n');
  assert.equal(bytes('2026-01-01T00:00:00.1Z stderr P no end'), 'no end');
  assert.equal(bytes('2026-01-01T00:00:00.1Z stdout F '), '\n');
  assert.equal(bytes('{"log":"grüße\\n","stream":"stdout"}'), 'grüße\n');
  await using dir = await tempDir();
  const [source, target] = [join(dir.path, 'source'), join(dir.path, 'target')];
  await writeFile(source, '{"log":"one\\n"}\n{"log":"two\\n"}\n');
  await writeFile(target, 'one\n');
  const copy = copyLog(source, target, 4, assert.ifError);
  await appendFile(source, 'T stdout F three\n');
  await copy.drain();
  copy.stop();
  assert.equal(await readFile(target, 'utf8'), 'one\ntwo\nthree\n');
});

it('pulls what is not there, tells how far it is, starts, finds again and removes', async () => {
  await using dir = await tempDir();
  const socket = join(dir.path, 's');
  const progress = { status: 'Downloading', id: 'a', progressDetail: { current: 4e6, total: 9e6 } };
  await using fake = await fakeEngine(socket, [], [progress, { status: 'Pull complete', id: 'a' }]);
  const open = () => openEngine({ home: dir.path, instance: 'me', sockets: [socket], log: silentLog });
  const engine = await open();
  assert.equal(engine.current()?.title, 'Docker 28.0.0');
  assert.match(
    engine.capabilities()[0]!.detail,
    /Docker 28.0.0 at .*must listen at the port that \$PORT says/,
  );
  const told: News[] = [];
  const logFile = join(dir.path, 'log');
  const { leader } = await engine.start('workload/a', { ...wish, logFile }, ctx().signal, news =>
    told.push(news),
  );
  assert.ok(
    told.some(({ reason, message }) => reason === 'Pulling' && /Downloading, 4 of 9 MB/.test(message)),
  );
  assert.equal((fake.created[0]!.HostConfig as Record<string, unknown>).NetworkMode, 'host');
  engine.leave();
  const next = await open();
  assert.deepEqual(next.find('workload/a')?.leader, leader);
  assert.deepEqual(next.list('workload'), ['workload/a']);
  const { ended } = next.find('workload/a')!;
  await next.end('workload/a', [['SIGTERM', 10_000]]);
  assert.equal((await ended).code, 143);
  assert.equal(fake.containers.size, 0);
  assert.deepEqual(next.list('workload'), []);
  await next.close();
});

it('leads a container of Docker into the network of its pod by a door, and leaves none', async () => {
  await using dir = await tempDir();
  const socket = join(dir.path, 's');
  await using fake = await fakeEngine(socket, ['tool:1', 'offshoot.local/door:1']);
  const engine = await openEngine({ home: dir.path, instance: 'me', sockets: [socket], log: silentLog });
  assert.deepEqual([engine.current()?.joinsNetworks, engine.current()?.byDoors], [true, true]);
  assert.equal(fake.containers.size, 0);
  const network = `/proc/${process.pid}/ns/net`;
  const logFile = join(dir.path, 'log');
  await engine.start('workload/a', { ...wish, logFile, network, hostname: 'web-0' }, ctx().signal);
  const [, door, container] = fake.created as Record<string, Record<string, unknown>>[];
  assert.deepEqual([door!.Hostname, container!.Hostname], ['web-0', undefined]);
  assert.equal((door!.HostConfig!.Mounts as { Source: string }[])[0]!.Source, network);
  assert.match(String(container!.HostConfig!.NetworkMode), /^container:offshoot-door-[0-9a-f]{8}$/);
  assert.equal(fake.containers.size, 1);
  await engine.close();
  assert.equal(fake.containers.size, 0);
});

it('has a door whose program Linux runs', {
  skip: process.platform !== 'linux' || process.arch !== 'x64',
}, async () => {
  await using dir = await tempDir();
  await writeFile(join(dir.path, 'door.tar'), doorImage());
  await exec('tar', ['-C', dir.path, '-xf', join(dir.path, 'door.tar')]);
  // There is no /net.
  await assert.rejects(exec(join(dir.path, 'door'), []), { exitCode: 1 });
});

it('says what the registry says', async () => {
  await using dir = await tempDir();
  const socket = join(dir.path, 's');
  await using _ = await fakeEngine(socket, [], [{ error: 'manifest unknown\n' }]);
  const engine = await openEngine({ home: dir.path, instance: 'me', sockets: [socket], log: silentLog });
  const failed = engine.start('workload/a', wish, ctx().signal);
  await assert.rejects(failed, (error: EngineProblem) => {
    assert.ok(error instanceof EngineProblem);
    assert.deepEqual(
      [error.reason, error.message],
      ['ErrImagePull', 'the image "tool:1" cannot be pulled: manifest unknown'],
    );
    return true;
  });
  await engine.close();
});

it('makes a workload wait for an engine that was there, and run what waited for one that comes', async () => {
  await using dir = await tempDir();
  const [home, socket] = [dir.path, join(dir.path, 's')];
  const spec = specOf({ image: 'tool:1', ports: [] }, { images: {} });
  {
    const driver = await openTestRuntime(home, undefined, [socket]);
    const { reason, message } = await driver.ensure('web', spec, ctx());
    assert.equal(reason, 'ImageUnknown');
    assert.ok(message.endsWith(`or start a container engine: there is nothing at ${socket}`), message);
    await using fake = await fakeEngine(socket, ['tool:1']);
    await untilSeen(driver, 'web', 'it runs', seen => seen.ready);
    await driver.close();
    assert.equal(fake.containers.size, 0);
  }
  const driver = await openTestRuntime(home, undefined, [socket]);
  await driver.ensure('web', spec, ctx());
  await untilSeen(driver, 'web', 'it waits', seen => seen.reason === 'EngineUnavailable');
  await using fake = await fakeEngine(socket, ['tool:1']);
  await untilSeen(driver, 'web', 'it runs again', seen => seen.ready);
  await driver.remove('web', ctx());
  await until(() => (fake.containers.size === 0 ? true : undefined), {
    what: 'it is gone',
    deadlineMs: 60_000,
  });
  await driver.close();
});
