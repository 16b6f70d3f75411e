/** What an ordinary user has, and what he is told that he has not. */
import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { networkInterfaces } from 'node:os';
import { basename, join } from 'node:path';
import { test } from 'node:test';
import { until } from '../../src/lib/wait.ts';
import { testDaemon } from '../support/daemon.ts';
import { noNetworks } from '../support/networks.ts';
import { ordinaryUser, testAs } from '../support/ordinary-user.ts';
import { tempDir } from '../support/temp.ts';

/** Listens at a fixed port, and tells what it sees. */
const users = `require('node:http').createServer((request, response) =>
  response.end([process.getuid(), require('node:fs').readFileSync('/shop-settings/app.txt', 'utf8'), request.headers.host].join(' ')),
).listen(80);
const echo = require('node:dgram').createSocket('udp4').bind(5300);
echo.on('message', (packet, from) => echo.send('echo ' + packet, from.port, from.address));`;

/** Asks for what stands behind its address. */
const front = `require('node:http').createServer((request, response) => {
  const [, what, host] = request.url.split('/');
  const { readdirSync, readFileSync } = require('node:fs');
  const read = pid => {
    try { return readFileSync('/proc/' + pid + '/environ', 'latin1'); } catch { return ''; }
  };
  if (what === 'processes') {
    const pids = readdirSync('/proc').filter(name => /^\\d+$/.test(name));
    const words = pids.flatMap(pid => /WORD=([a-z]*)/.exec(read(pid))?.slice(1) ?? []);
    return response.end(pids.length + ' ' + [...new Set(words)]);
  }
  if (what !== 'udp')
    return fetch('http://' + what).then(
      async answer => response.end(await answer.text()),
      error => response.end('error: ' + error.cause?.code),
    );
  const socket = require('node:dgram').createSocket('udp4');
  socket.on('message', packet => response.end(packet) && socket.close());
  socket.send('hello', 5300, host);
}).listen(80)`;

const workload = (name: string, script: string, pod: object = {}, container: object = {}) => ({
  apiVersion: 'apps/v1',
  kind: 'Deployment',
  metadata: { name, namespace: 'shop' },
  spec: {
    replicas: 2,
    selector: { matchLabels: { app: name } },
    template: {
      metadata: { labels: { app: name } },
      spec: {
        containers: [
          {
            name: 'main',
            image: 'any',
            command: ['node', '-e', script],
            ports: [{ containerPort: 80 }],
            ...container,
          },
        ],
        ...pod,
      },
    },
  },
});

const service = (name: string, ...more: object[]) => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name, namespace: 'shop' },
  spec: { selector: { app: name }, ports: [{ name: 'http', port: 80 }, ...more] },
});

const manifests = [
  {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: 'settings', namespace: 'shop' },
    data: { 'app.txt': 'from a file' },
  },
  workload(
    'users',
    users,
    {
      volumes: [
        { name: 'settings', configMap: { name: 'settings' } },
        { name: 'cache', emptyDir: { medium: 'Memory' } },
      ],
    },
    {
      env: [{ name: 'WORD', value: 'theirs' }],
      volumeMounts: [{ name: 'settings', mountPath: '/shop-settings' }],
    },
  ),
  service('users', { name: 'echo', port: 5300, protocol: 'UDP' }),
  workload('front', front, {}, { env: [{ name: 'WORD', value: 'mine' }] }),
  service('front'),
];

test('an ordinary user', async t => {
  if (process.getuid?.() === 0) {
    const user = await ordinaryUser(t);
    if (user === undefined) return;
    const said = await testAs(user, import.meta.dirname, [basename(import.meta.filename)]);
    const [, skipped] = /﹣ .* # (.*)/.exec(said) ?? [];
    if (skipped !== undefined) t.skip(skipped);
    return;
  }
  const missing = await noNetworks();
  if (missing !== undefined) return t.skip(missing);
  const own = createServer((_, response) => response.end('of this machine'));
  await new Promise<void>(resolve => own.listen(0, resolve));
  const { port } = own.address() as AddressInfo;
  await using stack = new AsyncDisposableStack();
  stack.defer(() => void own.close());
  const daemon = stack.use(await testDaemon({ env: { OFFSHOOT_HOST_PORTS: String(port) } }));
  const { path: dir } = stack.use(await tempDir());
  mkdirSync(join(dir, 'k8s'));
  writeFileSync(join(dir, 'offshoot.yaml'), 'images: { any: { dir: ., command: [node] } }\n');
  writeFileSync(
    join(dir, 'k8s/all.yaml'),
    JSON.stringify({ apiVersion: 'v1', kind: 'List', items: manifests }),
  );
  const deployed = await daemon.cli(['deploy', '-f', 'k8s', '--wait'], { cwd: dir });
  assert.equal(deployed.code, 0, deployed.stderr);
  assert.match(deployed.stderr, /emptyDir\.medium: it is on the disk here, without a limit/);
  assert.doesNotMatch(deployed.stderr, /PORT|volumes are not mounted/);

  const checks = new Map((await daemon.client.doctor()).map(({ name, ok }) => [name, ok]));
  for (const name of ['network/pods', 'workload/volumes', 'workload/names', 'workload/processes'])
    assert.equal(checks.get(name), true);
  for (const name of ['network/out', 'workload/memory-volumes']) assert.equal(checks.get(name), false);

  const services = await daemon.client.manifests.list();
  const urlOf = (name: string) => {
    const { host, port } = services.find(one => one.kind === 'Service' && one.name === name)!.addresses![80]!;
    return `http://${host}:${port}`;
  };
  const get = async (url: string) => await (await fetch(url)).text();
  const seen = `${process.getuid!()} from a file`;
  assert.equal(await get(`${urlOf('users')}/`), `${seen} ${new URL(urlOf('users')).host}`);
  // Process 1, and itself.
  assert.equal(await get(`${urlOf('front')}/processes`), '2 mine');
  // By name, at the port of the manifest; and at the one that this machine has for it.
  assert.equal(await get(`${urlOf('front')}/users.shop.svc/`), `${seen} users.shop.svc`);
  assert.equal(await get(`${urlOf('front')}/users:8080/`), `${seen} users:8080`);
  assert.equal(await get(`${urlOf('front')}/127.0.0.1:${port}/`), 'of this machine');
  assert.match(await get(`${urlOf('front')}/127.77.255.254:80/`), /^error: /);
  assert.equal(await get(`${urlOf('front')}/udp/users.shop`), 'echo hello');
  const outer = Object.values(networkInterfaces())
    .flat()
    .find(one => one?.family === 'IPv4' && !one.internal);
  if (outer !== undefined)
    assert.equal(await get(`${urlOf('front')}/${outer.address}:${port}/`), 'of this machine');

  // Beside a program: as oneself, in its network and among its processes.
  const look = ['/bin/sh', '-c', 'id -u; ls -d /proc/[0-9]* | wc -l; grep -c users.shop.svc /etc/hosts'];
  const entered = await daemon.cli(['exec', 'front', '--', ...look]);
  assert.equal(entered.code, 0, entered.stderr);
  const [uid, count, names] = entered.stdout.split('\n').map(Number);
  assert.equal(uid, process.getuid!());
  assert.ok(count! < 10, `${count} processes are seen`);
  assert.ok(names! > 0);
  const fetchOwn = "fetch('http://users.shop.svc/').then(r => r.text()).then(console.log)";
  const asked = await daemon.cli(['exec', 'front', '--', 'node', '-e', fetchOwn]);
  assert.equal(asked.stdout, `${seen} users.shop.svc\n`, asked.stderr);

  const running = async () => [
    ...(await daemon.labelled('workload/')),
    ...(await daemon.labelled('network')),
  ];
  const before = await running();
  await daemon.kill9();
  assert.equal(await get(`${urlOf('front')}/users.shop.svc/`), `${seen} users.shop.svc`);
  assert.equal((await daemon.cli(['up', '--detach'])).code, 0);
  assert.equal(await get(`${urlOf('front')}/users.shop.svc/`), `${seen} users.shop.svc`);
  assert.deepEqual(await running(), before, 'none was started again');

  // With the outpost nobody is left who holds the networks: pods start anew in other ones.
  await daemon.kill9();
  for (const outpost of await daemon.labelled('network'))
    process.kill(Number.parseInt(outpost, 10), 'SIGKILL');
  assert.equal((await daemon.cli(['up', '--detach'])).code, 0);
  const answered = () => get(`${urlOf('front')}/users.shop.svc/`).catch(() => undefined);
  await until(async () => (await answered()) === `${seen} users.shop.svc` || undefined, {
    ...{ what: 'an answer from pod to pod', deadlineMs: 60_000 },
  });
  const after = await running();
  assert.equal(after.length, before.length);
  assert.deepEqual(
    after.filter(one => before.includes(one)),
    [],
  );
  await daemon.down();
  assert.deepEqual(await daemon.labelled(''), []);
});
