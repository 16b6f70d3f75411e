/** Services as a user meets them: of any protocol, by address and by status, with a sandbox in front, and while what is behind them changes. */
import assert from 'node:assert/strict';
import { existsSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { type AddressInfo, connect, createServer } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { http } from '../../scripts/demo/http.ts';
import type { Capability } from '../../src/drivers/contract.ts';
import { until } from '../../src/lib/wait.ts';
import type { SandboxView } from '../../src/model/view.ts';
import { root, type TestDaemon, testDaemon } from '../support/daemon.ts';
import { startLoad } from '../support/load.ts';
import { type ChatWay, openChat, openSocket, startTalkers } from '../support/talkers.ts';
import { tempDir } from '../support/temp.ts';

/** Speaks first when told to, as a mail server does; otherwise it answers, as redis does. */
const raw = `import net from 'node:net';
net.createServer(socket => {
  socket.on('error', () => {});
  if (process.env.GREETING) socket.write(process.env.GREETING);
  socket.on('data', () => socket.write('+PONG\\r\\n'));
}).listen(process.env.PORT, '127.0.0.1');
`;

/** Ends as soon as it is told to, whoever is connected; only a stream gets its last line. */
const web = `import http from 'node:http';
const [streams, life] = [new Set(), crypto.randomUUID()];
http.createServer((request, response) => {
  if (request.url !== '/stream')
    return response.end([process.env.TEXT, process.argv[2], life].join(' '));
  streams.add(response);
  response.write('hello');
}).listen(process.env.PORT, '0.0.0.0');
process.on('SIGTERM', () => {
  for (const stream of streams) stream.end(' and goodbye');
  if (streams.size === 0) process.exit();
  setTimeout(() => process.exit(), 500);
});
`;

/** Tells what a name means to it, and to the C library, and asks a program that speaks as `raw` does. */
const client = `import { execFile } from 'node:child_process';
import { lookup } from 'node:dns/promises';
import http from 'node:http';
import { connect } from 'node:net';
http.createServer((request, response) => {
  const [, what, host, port] = request.url.split('/');
  if (what === 'ask') {
    const socket = connect(Number(port), host).on('error', error => response.end(error.message));
    return void socket.on('data', data => response.end(data) && socket.destroy()).write('PING');
  }
  if (what === 'lookup')
    return void lookup(host, { all: true }).then(
      found => response.end(found.map(one => one.address).sort().join(' ')),
      error => response.end(error.code),
    );
  return void execFile('getent', ['ahostsv4', host], (error, out) =>
    response.end([...new Set(out.split('\\n').flatMap(line => line.split(' ')[0] || []))].sort().join(' ')));
}).listen(process.env.PORT, '0.0.0.0');
`;

const deployment = (name: string, container: object, spec: object = {}) => ({
  apiVersion: 'apps/v1',
  kind: 'Deployment',
  metadata: { name, namespace: 'shop' },
  spec: {
    selector: { matchLabels: { app: name } },
    template: {
      metadata: { labels: { app: name } },
      spec: { containers: [{ name: 'main', ...container }] },
    },
    ...spec,
  },
});

const service = (name: string, spec: object) => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name, namespace: 'shop' },
  spec: { selector: { app: name }, ...spec },
});

const configMap = (name: string, data: Readonly<Record<string, string>>) => ({
  ...{ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, namespace: 'shop' }, data },
});

const list = (items: readonly object[]) => JSON.stringify({ apiVersion: 'v1', kind: 'List', items });

test('Services', async t => {
  await using daemon = await testDaemon({ env: { OFFSHOOT_VOLUMES: 'copy' } });
  await using dir = await tempDir();
  const programs = { daemon, dir: dir.path };
  writeFileSync(join(dir.path, 'raw.mjs'), raw);
  writeFileSync(join(dir.path, 'web.mjs'), web);
  writeFileSync(join(dir.path, 'client.mjs'), client);
  writeFileSync(
    join(dir.path, 'offshoot.yaml'),
    JSON.stringify({
      images: {
        'acme/raw': { dir: '.', command: ['node', 'raw.mjs'] },
        ...Object.fromEntries(
          ['one', 'two'].map((word, i) => {
            const command = ['node', join(root, 'test', 'support', 'chat.ts'), word];
            return [`acme/chat:${i + 1}`, { dir: '.', command }];
          }),
        ),
        'acme/client': { dir: '.', command: ['node', 'client.mjs'] },
        'acme/web:1': { dir: '.', command: ['node', 'web.mjs', 'one'] },
        'acme/web:2': { dir: '.', command: ['node', 'web.mjs', 'two'] },
      },
    }),
  );
  const name = 'of databases and mail servers pass through, and nobody believes that a fork is asked';
  await t.test(name, () => passingThrough(programs));
  await t.test('and their pods are found by name in every workload', t => names(t, programs));
  await t.test('lose no request while baseline and forks change', () => changing(programs));
  await t.test('lose no conversation either: it ends when it is over, or the grace is', () =>
    talking(programs),
  );
});

type Programs = { readonly daemon: TestDaemon; readonly dir: string };

async function passingThrough({ daemon: { cli }, dir }: Programs): Promise<void> {
  const env = [{ name: 'GREETING', value: '220 hello\r\n' }];
  const input = list([
    ...[deployment('cache', { image: 'acme/raw:1' }), service('cache', { ports: [{ port: 6379 }] })],
    deployment('mail', { image: 'acme/raw:1', env }),
    service('mail', {
      ports: [
        { name: 'smtp', port: 2525 },
        { name: 'other', port: 2526, targetPort: 2525 }, // it says nothing; the server speaks first all the same
      ],
    }),
  ]);
  const deployed = await cli(['deploy', '-f', '-'], { input, cwd: dir });
  assert.equal(deployed.code, 0, deployed.stderr);
  const sandbox = JSON.stringify({
    name: 'mine',
    spec: { cluster: 'local', forks: [{ forkOf: ref('cache') }] },
  });

  const urlOf = async (name: string, ...more: string[]) =>
    (await cli(['service', 'url', name, '-n', 'shop', ...more])).stdout.trim();
  assert.match(await urlOf('mail'), /^tcp:/);
  assert.match(await urlOf('cache'), /^http:/); // nobody has said it, and nobody has spoken
  const unseen = await cli(['sandbox', 'apply', '-f', '-'], { input: sandbox });
  assert.equal(unseen.code, 0, unseen.stderr);
  assert.doesNotMatch(unseen.stderr, /warning/);

  assert.equal(await first(await urlOf('mail'), ''), '220 hello\r\n');
  assert.equal(await first(await urlOf('mail', '--port', '2526'), ''), '220 hello\r\n');
  assert.equal(await first(await urlOf('cache'), 'PING\r\n'), '+PONG\r\n');
  await until(async () => (await urlOf('cache')).startsWith('tcp:') || undefined, {
    ...{ what: 'the status of what is spoken', deadlineMs: 60_000 },
  });
  assert.match(
    (await cli(['status'])).stdout,
    /cache +Ready +.*passes through to the baseline: 6379 \(TCP\)/,
  );
  const routed = await until(
    async () => {
      const { status } = JSON.parse(
        (await cli(['sandbox', 'get', 'mine', '-o', 'json'])).stdout,
      ) as SandboxView;
      return status.conditions.find(c => c.type === 'Routed' && c.status === 'False');
    },
    { what: 'the condition', deadlineMs: 60_000 },
  );
  assert.match(routed.message, /Service shop\/cache:6379 \(TCP\)/);
  const again = await cli(['sandbox', 'apply', '-f', '-'], { input: sandbox });
  assert.match(again.stderr, /warning: no routing key travels through Service shop\/cache:6379 \(TCP\)/);
}

async function names(t: TestContext, { daemon: { cli }, dir }: Programs): Promise<void> {
  const doctor = JSON.parse((await cli(['doctor', '-o', 'json'])).stdout) as Capability[];
  const can = (name: string) => doctor.some(one => one.name === name && one.ok);
  if (!can('workload/names')) return t.skip('files cannot be mounted for one process here');
  const deploy = async (...items: object[]) => {
    const deployed = await cli(['deploy', '-f', '-'], { input: list(items), cwd: dir });
    assert.equal(deployed.code, 0, deployed.stderr);
  };
  const set = {
    ...deployment('db', { image: 'acme/raw:1' }, { replicas: 2, serviceName: 'db' }),
    kind: 'StatefulSet',
  };
  await deploy(
    ...[set, service('db', { clusterIP: 'None', ports: [{ name: 'tcp', port: 80, targetPort: 5432 }] })],
    ...[deployment('client', { image: 'acme/client:1' }), service('client', { ports: [{ port: 80 }] })],
  );
  const url = (await cli(['service', 'url', 'client', '-n', 'shop'])).stdout.trim();
  const ask = async (path: string) => (await http(`${url}/${path}`)).body;
  const pods = can('network/pods') ? 2 : 1;
  const found = await ask('lookup/db');
  assert.equal(found.split(' ').length, pods, found);
  const ways = existsSync('/usr/bin/getent') ? ['lookup', 'getent'] : ['lookup'];
  for (const way of ways) {
    for (const form of ['db', 'db.shop', 'db.shop.svc', 'db.shop.svc.cluster.local'])
      assert.equal(await ask(`${way}/${form}`), found, form);
    const each = [await ask(`${way}/db-0.db`), await ask(`${way}/db-1.db.shop.svc.cluster.local`)];
    assert.equal([...new Set(each)].sort().join(' '), found);
  }
  // In a cluster one asks pods at their own port; that leads there by the Service too.
  for (const host of ['db', 'db-0.db', 'db-1.db.shop.svc'])
    assert.equal(await ask(`ask/${host}/5432`), '+PONG\r\n', host);
  // What selects nothing leads where it is said to, out of the pods' networks.
  await using legacy = await listening('+OLD');
  const subsets = [{ addresses: [{ ip: '127.0.0.1' }], ports: [{ name: 'tcp', port: legacy.port }] }];
  const { metadata } = service('legacy', {});
  await deploy(service('legacy', { selector: undefined, ports: [{ name: 'tcp', port: 5432 }] }), {
    apiVersion: 'v1',
    kind: 'Endpoints',
    metadata,
    subsets,
  });
  await until(async () => (await ask('ask/legacy/5432')) === '+OLD' || undefined, {
    ...{ what: 'an answer from elsewhere', deadlineMs: 60_000 },
  });
  assert.match(await ask('lookup/late'), /^E/); // nobody knows it, or nobody can be asked
  await deploy(service('late', { selector: { app: 'client' }, ports: [{ port: 80 }] }));
  await until(async () => !(await ask('lookup/late')).startsWith('E') || undefined, {
    ...{ what: 'a name that came later', deadlineMs: 60_000 },
  });
}

async function changing({ daemon: { cli, client }, dir }: Programs): Promise<void> {
  const text = (name: string) => [{ name: 'TEXT', valueFrom: { configMapKeyRef: { name, key: 'text' } } }];
  const port = { ports: [{ name: 'http', port: 80, targetPort: 8080 }] };
  // The one by one more, the other by one less: its only fork must not be the one that goes first.
  const noSurge = { strategy: { rollingUpdate: { maxSurge: 0, maxUnavailable: 1 } } };
  const deploy = async (tag: 1 | 2, words: string) => {
    const image = `acme/web:${tag}`;
    const items = [
      ...[configMap('words', { text: words }), configMap('others', { text: 'quiet' })],
      ...[deployment('web', { image, env: text('words') }), service('web', port)],
      deployment('pair', { image: 'acme/web:1', env: text('words') }, { replicas: 2, ...noSurge }),
      ...[service('pair', port), deployment('quiet', { image: 'acme/web:1', env: text('others') })],
      service('quiet', port),
    ];
    const deployed = await cli(['deploy', '-f', '-'], { input: list(items), cwd: dir });
    assert.equal(deployed.code, 0, deployed.stderr);
  };
  const apply = async (words: string): Promise<SandboxView> => {
    const forks = ['web', 'pair', 'quiet'].map(name => ({
      forkOf: ref(name),
      customizations: { env: [{ name: 'FORKED', value: name === 'quiet' ? 'always' : words }] },
    }));
    const endpoints = ['web', 'pair', 'quiet'].map(name => ({ name, target: `http://${name}.shop.svc:80` }));
    const spec = { cluster: 'local', forks, defaultRouteGroup: { endpoints } };
    const input = JSON.stringify({ name: 'rolling', spec });
    const applied = await cli(['sandbox', 'apply', '-f', '-', '-o', 'json'], { input });
    assert.equal(applied.code, 0, applied.stderr);
    return JSON.parse(applied.stdout) as SandboxView;
  };

  await deploy(1, 'a');
  const { endpoints } = await apply('a');
  const key = (await cli(['key', 'create', 'load'])).stdout.trim();
  const headers = { 'signadot-api-key': key };
  const names = ['web', 'pair', 'quiet'];
  const baselines = (await client.manifests.list())
    .filter(({ kind, name }) => kind === 'Service' && names.includes(name))
    .map(({ name, addresses }) => ({ name, url: `http://${addresses![80]!.host}:${addresses![80]!.port}` }));
  const previews = endpoints.map(({ name, url }) => ({ name: `fork of ${name}`, url, headers }));
  const load = startLoad([...baselines, ...previews]);
  const stream = openStream(`${baselines.find(({ name }) => name === 'web')!.url}/stream`);
  /** Each process that answers with these words was seen. */
  const sawAll = (words: string, counts: Readonly<Record<string, number>>) =>
    until(
      () => Object.entries(counts).every(([way, count]) => processes(way, words) === count) || undefined,
      { what: `the processes that say "${words}"`, deadlineMs: 60_000 },
    );
  const processes = (way: string, words: string) =>
    load.seen[way]!.filter(body => body.startsWith(words)).length;
  try {
    await sawAll('a one', { web: 1, pair: 2, 'fork of web': 1, 'fork of pair': 1 });
    await deploy(1, 'b');
    await sawAll('b one', { web: 1, pair: 2, 'fork of web': 1, 'fork of pair': 1 });
    await apply('b');
    await sawAll('b one', { web: 1, pair: 2, 'fork of web': 2, 'fork of pair': 2 });
    await deploy(2, 'c');
    await sawAll('c two', { web: 1, 'fork of web': 1 });
    await sawAll('c one', { pair: 2, 'fork of pair': 1 });
    const restarted = await cli(['restart', 'pair', 'sandbox/rolling/web', '-n', 'shop']);
    assert.equal(restarted.code, 0, restarted.stderr);
    await sawAll('c one', { pair: 4, 'fork of pair': 1 });
    await sawAll('c two', { web: 1, 'fork of web': 2 });
  } finally {
    await load.stop();
  }
  assert.deepEqual(load.failures, {});
  assert.ok(load.answered() > 500, `${load.answered()} answers`);
  // What uses nothing of what has changed is the process that it was.
  assert.deepEqual([processes('quiet', ''), processes('fork of quiet', '')], [1, 1]);
  assert.deepEqual([processes('web', ''), processes('fork of web', '')], [3, 5]);
  assert.equal(await stream, 'hello and goodbye');
}

/** WebSockets and gRPC: what is open stays where it is, what is new goes to who is new, and nothing is refused. */
async function talking({ daemon: { cli, client }, dir }: Programs): Promise<void> {
  const ports = [{ containerPort: 8080 }, { containerPort: 9090 }];
  const spec = {
    ports: [
      { name: 'http', port: 80, targetPort: 8080 },
      { name: 'grpc', port: 9090 },
    ],
  };
  /** The one is patient, the other is not. */
  const graces = { chat: 60, brief: 1 } as const;
  const deploy = async (tag: 1 | 2) => {
    const items = Object.entries(graces).flatMap(([name, terminationGracePeriodSeconds]) => {
      const one = deployment(name, {
        image: `acme/chat:${tag}`,
        ports,
        env: [{ name: 'TEXT', value: 'baseline' }],
      });
      Object.assign(one.spec.template.spec, { terminationGracePeriodSeconds });
      return [one, service(name, spec)];
    });
    const deployed = await cli(['deploy', '-f', '-'], { input: list(items), cwd: dir });
    assert.equal(deployed.code, 0, deployed.stderr);
  };
  await deploy(1);
  const env = [{ name: 'TEXT', value: 'fork' }];
  const forks = [{ forkOf: ref('chat'), customizations: { env } }];
  const input = JSON.stringify({ name: 'chatting', spec: { cluster: 'local', forks } });
  const applied = await cli(['sandbox', 'apply', '-f', '-', '-o', 'json'], { input });
  assert.equal(applied.code, 0, applied.stderr);
  const { routingKey: key } = JSON.parse(applied.stdout) as SandboxView;
  const services = (await client.manifests.list()).filter(({ kind }) => kind === 'Service');
  const wayTo = (name: string): ChatWay => {
    const { addresses } = services.find(one => one.name === name)!;
    return { name, web: addresses![80]!, grpc: addresses![9090]! };
  };
  const ways = [wayTo('chat'), { ...wayTo('chat'), name: 'fork', key }];

  const talks = await Promise.all(ways.flatMap(way => [openSocket(way), openChat(way)]));
  const brief = await openSocket(wayTo('brief'));
  const answers = () => Promise.all(talks.map(talk => talk.ask()));
  const before = await answers();
  assert.deepEqual(
    before.map(who => who.split(' ').slice(0, 2).join(' ')),
    ['baseline one', 'baseline one', 'fork one', 'fork one'],
  );
  await brief.ask();
  const talkers = startTalkers(ways);
  /** Whatever asks was answered by such. */
  const sawAll = (words: string) =>
    until(
      () =>
        ways.every(({ name }) => {
          const all = Object.entries(talkers.seen).filter(([what]) => what.startsWith(`${name}: `));
          const who = `${name === 'fork' ? name : 'baseline'} ${words}`;
          return all.length === 4 && all.every(([, seen]) => seen.some(one => one.startsWith(who)));
        }) || undefined,
      { what: `answers of "${words}"`, deadlineMs: 60_000 },
    );
  try {
    await sawAll('one');
    await deploy(2);
    await sawAll('two');
    assert.deepEqual(await answers(), before);
    // Its program waits for it, too, but not for ever; by now the others have been asked to end.
    assert.notEqual(await brief.ended, 1000);
    assert.deepEqual(await answers(), before);
    assert.deepEqual(await Promise.all(talks.map(talk => talk.end())), [1000, 0, 1000, 0]);
  } finally {
    await talkers.stop();
    await Promise.all(talks.map(talk => talk.end()));
  }
  assert.deepEqual(talkers.failures, []);
}

const ref = (name: string) => ({ kind: 'Deployment', namespace: 'shop', name });

/** A program of this machine that says one word to everybody. */
async function listening(word: string): Promise<{ readonly port: number } & AsyncDisposable> {
  const server = createServer(
    socket =>
      void socket
        .on('error', () => {})
        .resume()
        .end(word),
  );
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as AddressInfo).port,
    [Symbol.asyncDispose]: () => new Promise(resolve => server.close(() => resolve())),
  };
}

/** All of it. @throws when it is cut */
function openStream(url: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let received = '';
    const asked = request(url, { agent: false, signal: AbortSignal.timeout(60_000) }, response => {
      response.on('data', chunk => (received += chunk));
      response.on('error', reject).on('end', () => resolve(received));
    });
    asked.on('error', reject).end();
  });
}

/** What comes back first. */
async function first(url: string, text: string): Promise<string> {
  const { hostname, port } = new URL(url.trim());
  const socket = connect(Number(port), hostname);
  let received = '';
  socket.on('error', () => {});
  socket.on('data', data => (received += data));
  socket.write(text);
  try {
    await until(() => received || undefined, { what: `an answer of ${url}`, deadlineMs: 60_000 });
  } finally {
    socket.destroy();
  }
  return received;
}
