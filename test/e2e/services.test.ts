/** Services of any protocol, as a user meets them: by address, by status, and with a sandbox in front. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { until } from '../../src/lib/wait.ts';
import type { SandboxView } from '../../src/model/view.ts';
import { testDaemon } from '../support/daemon.ts';
import { tempDir } from '../support/temp.ts';

/** Speaks first when told to, as a mail server does; otherwise it answers, as redis does. */
const server = `import net from 'node:net';
net.createServer(socket => {
  socket.on('error', () => {});
  if (process.env.GREETING) socket.write(process.env.GREETING);
  socket.on('data', () => socket.write('+PONG\\r\\n'));
}).listen(process.env.PORT, '127.0.0.1');
`;

const manifests = (name: string, ports: readonly object[], env: readonly object[] = []) => [
  {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name, namespace: 'shop' },
    spec: {
      selector: { matchLabels: { app: name } },
      template: {
        metadata: { labels: { app: name } },
        spec: { containers: [{ name: 'main', image: 'acme/raw:1', env }] },
      },
    },
  },
  {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, namespace: 'shop' },
    spec: { selector: { app: name }, ports },
  },
];

const sandbox = JSON.stringify({
  name: 'mine',
  spec: {
    cluster: 'local',
    forks: [{ forkOf: { kind: 'Deployment', namespace: 'shop', name: 'cache' } }],
  },
});

/** What comes back first. */
async function first(url: string, text: string): Promise<string> {
  const { hostname, port } = new URL(url.trim());
  const socket = connect(Number(port), hostname);
  let received = '';
  socket.on('error', () => {});
  socket.on('data', data => (received += data));
  socket.write(text);
  try {
    await until(() => received || undefined, { what: `an answer of ${url}`, deadlineMs: 10_000 });
  } finally {
    socket.destroy();
  }
  return received;
}

test('Services of databases and mail servers pass through, and nobody believes that a fork is asked', async () => {
  await using daemon = await testDaemon({ env: { OFFSHOOT_VOLUMES: 'copy' } });
  await using dir = await tempDir();
  const { cli } = daemon;
  writeFileSync(join(dir.path, 'server.mjs'), server);
  writeFileSync(
    join(dir.path, 'offshoot.yaml'),
    JSON.stringify({ images: { 'acme/raw': { dir: '.', command: ['node', 'server.mjs'] } } }),
  );
  const items = [
    ...manifests('cache', [{ port: 6379 }]),
    ...manifests('mail', [{ name: 'smtp', port: 2525 }], [{ name: 'GREETING', value: '220 hello\r\n' }]),
  ];
  const input = JSON.stringify({ apiVersion: 'v1', kind: 'List', items });
  const deployed = await cli(['deploy', '-f', '-'], { input, cwd: dir.path });
  assert.equal(deployed.code, 0, deployed.stderr);

  const urlOf = async (name: string) => (await cli(['service', 'url', name, '-n', 'shop'])).stdout.trim();
  assert.match(await urlOf('mail'), /^tcp:/);
  assert.match(await urlOf('cache'), /^http:/); // nobody has said it, and nobody has spoken
  const unseen = await cli(['sandbox', 'apply', '-f', '-'], { input: sandbox });
  assert.equal(unseen.code, 0, unseen.stderr);
  assert.doesNotMatch(unseen.stderr, /warning/);

  assert.equal(await first(await urlOf('mail'), ''), '220 hello\r\n');
  assert.equal(await first(await urlOf('cache'), 'PING\r\n'), '+PONG\r\n');
  await until(async () => (await urlOf('cache')).startsWith('tcp:') || undefined, {
    ...{ what: 'the status of what is spoken', deadlineMs: 10_000 },
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
    { what: 'the condition', deadlineMs: 10_000 },
  );
  assert.match(routed.message, /Service shop\/cache:6379 \(TCP\)/);
  const again = await cli(['sandbox', 'apply', '-f', '-'], { input: sandbox });
  assert.match(again.stderr, /warning: no routing key travels through Service shop\/cache:6379 \(TCP\)/);
});
