import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { readdir, readFile, stat } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { it } from 'node:test';
import type { WorkloadSeen } from '../../../src/drivers/contract.ts';
import { isAlive } from '../../../src/lib/process.ts';
import { until } from '../../../src/lib/wait.ts';
import { workloadDriverConformance } from '../../conformance/workload-driver.ts';
import { labelled, leaderOf } from '../../support/labelled.ts';
import { groupsMissing } from '../../support/processes.ts';
import { tempDir } from '../../support/temp.ts';
import {
  ask,
  ctx,
  openTestRuntime,
  podSpecOf,
  portOf,
  shell,
  specOf,
  testRuntime,
  untilReady,
  untilSeen,
} from '../../support/workload.ts';

workloadDriverConformance('process', async () => ({
  ...(await testRuntime()),
  spec: word => specOf({ command: ['/bin/sh', '-c', `echo ${word}; exec node server.mjs`] }),
  answers: ({ host, port }) =>
    new Promise(resolve => {
      const socket = connect(port, host, () => {
        socket.destroy();
        resolve(true);
      });
      socket.on('error', () => resolve(false));
    }),
}));

it('starts a container as one process group, which the process on record leads', async () => {
  await using r = await testRuntime();
  await r.driver.ensure('web', specOf(), ctx());
  await untilReady(r.driver, 'web');
  const { pid } = await leaderOf(r.home, 'workload/web/0/main');
  assert.ok(process.kill(-pid, 0), 'it leads a group');
});

it('gives a container its UDP ports, which no connection is waited for', async () => {
  await using r = await testRuntime();
  const program = `require('node:dgram').createSocket('udp4').on('message', function (packet, from) {
    this.send('echo ' + packet, from.port, from.address);
  }).bind(Number(process.env.PORT_DNS), '127.0.0.1')`;
  const ports = [{ containerPort: 53, name: 'dns', protocol: 'UDP' }];
  await r.driver.ensure('dns', specOf({ ports, command: ['node', '-e', program] }), ctx());
  const port = portOf(await untilReady(r.driver, 'dns'), 53);
  const client = createSocket('udp4');
  try {
    const answer = once(client, 'message', { signal: AbortSignal.timeout(60_000) });
    // It is ready when it runs; nobody can see whether it listens yet.
    const again = setInterval(() => client.send('hello', port, '127.0.0.1'), 20);
    const [packet] = (await answer.finally(() => clearInterval(again))) as [Buffer];
    assert.equal(String(packet), 'echo hello');
  } finally {
    client.close();
  }
});

it('gives a container its ports, its labels, and nothing else of our environment', async t => {
  process.env.OFFSHOOT_TEST_LEAK = 'leaked';
  t.after(() => delete process.env.OFFSHOOT_TEST_LEAK);
  await using r = await testRuntime();
  const ports = [{ containerPort: 3000, name: 'http-main' }, { containerPort: 9090 }];
  const env = [
    { name: 'PORT', value: '3000' },
    { name: 'SELF', value: 'http://127.0.0.1:$(PORT)/' },
  ];
  const network = { env: { USERS_SERVICE_HOST: '127.0.0.9' } };
  const args = ['--port', '$(PORT_9090)', '$(USERS_SERVICE_HOST)'];
  await r.driver.ensure(
    'web',
    specOf({ ports, env, args, command: ['node', 'server.mjs'] }, { network }),
    ctx(),
  );
  const seen = await untilReady(r.driver, 'web');
  const [main, metrics] = [String(portOf(seen, 3000)), String(portOf(seen, 9090))];
  assert.notEqual(main, metrics);
  const got = await ask<Record<string, string>>(portOf(seen), '/env');
  const { PATH, ...rest } = got;
  assert.equal(PATH, `${join(process.execPath, '..')}:${process.env.PATH}`);
  assert.deepEqual(rest, {
    HOME: '/nonexistent',
    LANG: 'C',
    HOSTNAME: 'web-0',
    USERS_SERVICE_HOST: '127.0.0.9',
    PORT: main,
    PORT_3000: main,
    PORT_HTTP_MAIN: main,
    PORT_9090: metrics,
    SELF: `http://127.0.0.1:${main}/`,
    OFFSHOOT_INSTANCE: r.home,
    OFFSHOOT_PART: 'workload/web/0/main',
  });
  assert.deepEqual(await ask(portOf(seen), '/argv'), ['--port', metrics, '127.0.0.9']);
});

it('keeps secrets in files that only we can read', async () => {
  await using r = await testRuntime();
  const env = [{ name: 'KEY', valueFrom: { secretKeyRef: { name: 'api', key: 'key' } } }];
  await r.driver.ensure(
    'web',
    specOf({ env }, { refs: { secrets: { 'demo/api': { key: 'hush' } } } }),
    ctx(),
  );
  const seen = await untilReady(r.driver, 'web');
  assert.equal((await ask<Record<string, string>>(portOf(seen), '/env')).KEY, 'hush');
  assert.ok(!JSON.stringify(seen).includes('hush'));
  const folder = join(r.home, 'workloads', 'web');
  assert.equal((await stat(folder)).mode & 0o777, 0o700);
  for (const file of ['state.json', 'main.0.log'])
    assert.equal((await stat(join(folder, file))).mode & 0o777, 0o600, file);
});

it('runs each replica on ports of its own, and ends what is too many', async () => {
  await using r = await testRuntime();
  await r.driver.ensure('web', specOf({}, { replicas: 2 }), ctx());
  const two = await untilReady(r.driver, 'web');
  const [a, b] = two.ports[3000]!;
  assert.notEqual(a!.port, b!.port);
  const parts = [];
  for (const { port } of [a!, b!])
    parts.push((await ask<Record<string, string>>(port, '/env')).OFFSHOOT_PART);
  assert.deepEqual(parts, ['workload/web/0/main', 'workload/web/1/main']);
  const says = (seen: WorkloadSeen) => seen.log.some(line => line.startsWith('[web-1 main] listening'));
  await untilSeen(r.driver, 'web', 'the second one says so', says);
  const gone = await leaderOf(r.home, 'workload/web/1/main');
  const kept = await ask(a!.port, '/life');
  await r.driver.ensure('web', specOf({}, { replicas: 1 }), ctx());
  await until(() => !isAlive(gone) || undefined, { what: 'the second replica ends', deadlineMs: 60_000 });
  assert.equal(await ask(a!.port, '/life'), kept);
});

it('is ready without processes when scaled to zero', async () => {
  await using r = await testRuntime();
  const seen = await r.driver.ensure('web', specOf({}, { replicas: 0 }), ctx());
  assert.deepEqual([seen.ready, seen.reason], [true, 'ScaledToZero']);
});

it('replaces a process for a changed spec, a moved service or a restart, but not for a new service', async () => {
  await using r = await testRuntime();
  const withNetwork = (env: Record<string, string>, extra = {}) => specOf(extra, { network: { env } });
  const lifeAfter = async (spec: ReturnType<typeof specOf>) => {
    await r.driver.ensure('web', spec, ctx());
    const seen = await untilReady(r.driver, 'web');
    return { life: await ask(portOf(seen), '/life'), port: portOf(seen) };
  };
  const first = await lifeAfter(withNetwork({ A_SERVICE_HOST: '127.0.0.2' }));
  const more = await lifeAfter(withNetwork({ A_SERVICE_HOST: '127.0.0.2', B_SERVICE_HOST: '127.0.0.3' }));
  assert.deepEqual(more, first);
  const moved = await lifeAfter(withNetwork({ A_SERVICE_HOST: '127.0.0.4' }));
  assert.notEqual(moved.life, first.life);
  const changed = await lifeAfter(withNetwork({ A_SERVICE_HOST: '127.0.0.4' }, { args: ['changed'] }));
  assert.notEqual(changed.life, moved.life);
  const again = { ...withNetwork({ A_SERVICE_HOST: '127.0.0.4' }, { args: ['changed'] }), restart: '1' };
  const restarted = await lifeAfter(again);
  assert.notEqual(restarted.life, changed.life);
  assert.deepEqual(await lifeAfter(again), restarted);
});

it('says what offshoot.yaml lacks when an image is unknown', async () => {
  await using r = await testRuntime();
  const spec = specOf({ image: 'ghcr.io/acme/users-service:7' }, { images: {} });
  const seen = await r.driver.ensure('web', spec, ctx());
  assert.equal(seen.ready, false);
  assert.equal(seen.reason, 'ImageUnknown');
  assert.equal(
    seen.message,
    'container "main": offshoot.yaml does not say how the image "ghcr.io/acme/users-service:7" runs here; ' +
      'add  images: {"users-service": {dir: FOLDER, command: [PROGRAM, ARGUMENT]}}; ' +
      'or start a container engine: this test has none',
  );
});

it('names a folder or a command that is missing', async () => {
  await using r = await testRuntime();
  const images = {
    nowhere: { dir: '/nonexistent/app', command: ['node', 'app.ts'] },
    nothing: { dir: '/', command: ['no-such-program'] },
  };
  await r.driver.ensure('a', specOf({ image: 'nowhere' }, { images }), ctx());
  const folder = await untilSeen(r.driver, 'a', 'a fails', seen => seen.reason !== 'Starting');
  assert.equal(folder.reason, 'ConfigError');
  assert.match(folder.message, /^the folder \/nonexistent\/app of container "main" does not exist/);
  await r.driver.ensure('b', specOf({ image: 'nothing' }, { images }), ctx());
  const command = await untilSeen(r.driver, 'b', 'b fails', seen => seen.reason !== 'Starting');
  assert.equal(command.reason, 'CommandNotFound');
  assert.match(command.message, /^the command "no-such-program" of container "main" was not found/);
  assert.equal(command.restarts, 0);
});

it('waits for what the environment refers to, and goes on by itself when it is there', async () => {
  await using r = await testRuntime();
  const env = [{ name: 'URL', valueFrom: { configMapKeyRef: { name: 'settings', key: 'url' } } }];
  const seen = await r.driver.ensure('web', specOf({ env }), ctx());
  assert.equal(seen.reason, 'ConfigError');
  assert.match(seen.message, /^container "main": its environment lacks .*"demo\/settings".*URL/);
  const refs = { configMaps: { 'demo/settings': { url: 'here' } } };
  await r.driver.ensure('web', specOf({ env }, { refs }), ctx());
  const ready = await untilReady(r.driver, 'web');
  assert.equal((await ask<Record<string, string>>(portOf(ready), '/env')).URL, 'here');
});

it('ends everything a process has started, also what left its group, and removes its folder', async () => {
  await using r = await testRuntime();
  await r.driver.ensure('web', specOf(), ctx());
  const port = portOf(await untilReady(r.driver, 'web'));
  await ask(port, '/spawn');
  const processes = (await labelled(r.home)).filter(({ part }) => part === 'workload/web/0/main');
  assert.ok(processes.length >= 3);
  await r.driver.remove('web', ctx());
  assert.deepEqual(processes.filter(isAlive), []);
  assert.deepEqual(await readdir(join(r.home, 'workloads')), []);
});

it('lets processes find services by name, in a view of /etc/hosts of their own that follows changes', async t => {
  await using r = await testRuntime();
  const names = (await r.driver.capabilities()).find(c => c.name === 'workload/names')!;
  if (!names.ok) return t.skip(names.detail);
  const withHosts = (ip: string) =>
    podSpecOf(
      { hostname: 'front', hostAliases: [{ ip: '192.0.2.7', hostnames: ['old.example', 'older.example'] }] },
      { network: { hosts: [{ ip, names: ['users.demo.svc', 'users.demo'] }] } },
    );
  await r.driver.ensure('web', withHosts('127.0.0.7'), ctx());
  const port = portOf(await untilReady(r.driver, 'web'));
  const life = await ask(port, '/life');
  assert.equal(await ask(port, '/lookup?name=users.demo'), '127.0.0.7');
  assert.equal(await ask(port, '/lookup?name=localhost'), '127.0.0.1');
  assert.equal(await ask(port, '/lookup?name=older.example'), '192.0.2.7');
  assert.equal((await ask<Record<string, string>>(port, '/env')).HOSTNAME, 'front');
  assert.equal(await ask(port, '/lookup?name=front'), '127.0.0.1');
  await r.driver.ensure('web', withHosts('127.0.0.88'), ctx());
  assert.equal(await ask(port, '/lookup?name=users.demo.svc'), '127.0.0.88');
  assert.equal(await ask(port, '/life'), life);
});

it('stops all on close, and starts them again only when asked', async () => {
  await using home = await tempDir();
  const first = await openTestRuntime(home.path);
  await first.ensure('web', specOf(), ctx());
  const before = await untilReady(first, 'web');
  const process_ = await leaderOf(home.path, 'workload/web/0/main');
  await first.close();
  assert.ok(!isAlive(process_));
  const second = await openTestRuntime(home.path);
  try {
    assert.deepEqual(await second.list(ctx()), ['web']);
    assert.equal((await second.observe('web', ctx()))!.reason, 'Stopped');
    await second.ensure('web', specOf(), ctx());
    assert.equal(portOf(await untilReady(second, 'web')), portOf(before));
  } finally {
    await second.close();
  }
});

it('keeps the limits of a container, and says so when it needed more memory', async t => {
  await using r = await testRuntime();
  if (r.processes.keeps.length < 2) return t.skip('this machine keeps no limits');
  const hungry = (limit: string) =>
    specOf({
      ...shell('echo eats; exec tail /dev/zero'), // it keeps a line without an end in its memory
      resources: { limits: { memory: limit, cpu: '250m' } },
    });
  await r.driver.ensure('web', hungry('32Mi'), ctx());
  const seen = await untilSeen(r.driver, 'web', 'it is killed', s => s.reason === 'OOMKilled');
  assert.match(seen.message, /^container "main" was killed: it needed more memory than its limit of 32Mi/);
  assert.deepEqual([seen.ready, seen.log], [false, ['eats']]);
  assert.ok(seen.restarts > 0);
  const enough = specOf({ resources: { limits: { memory: '1Gi', cpu: '2' } } });
  await r.driver.ensure('web', enough, ctx());
  await untilReady(r.driver, 'web');
});

it('runs exec probes as members of their container', async t => {
  await using r = await testRuntime();
  const missing = groupsMissing(r.processes);
  if (missing !== undefined) return t.skip(missing);
  const out = join(r.home, 'probe');
  const readinessProbe = { exec: { command: ['/bin/sh', '-c', `cat /proc/self/cgroup >${out}`] } };
  await r.driver.ensure('web', specOf({ readinessProbe }), ctx());
  await untilReady(r.driver, 'web');
  const { pid } = r.processes.find('workload/web/0/main')!.leader;
  assert.equal(await readFile(out, 'utf8'), await readFile(`/proc/${pid}/cgroup`, 'utf8'));
});
