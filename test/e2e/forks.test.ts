/** A fork that is told where another fork answers, again and again: addresses are known at different moments. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { http } from '../../scripts/demo/http.ts';
import type { SandboxView } from '../../src/model/view.ts';
import { testDaemon } from '../support/daemon.ts';
import { tempDir } from '../support/temp.ts';

const server = `import http from 'node:http';
http.createServer(async (request, response) => {
  const peer = process.env.PEER_URL;
  response.end(process.env.NAME + (peer ? ' ' + (await (await fetch(peer)).text()) : ''));
}).listen(process.env.PORT, '127.0.0.1');
`;

const manifests = (name: string) => [
  {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name, namespace: 'shop' },
    spec: {
      selector: { matchLabels: { app: name } },
      template: {
        metadata: { labels: { app: name } },
        spec: {
          containers: [
            {
              name: 'main',
              image: 'acme/web:1',
              // Information only: the Service of the other one says where it listens.
              ...(name === 'web' && { ports: [{ containerPort: 8080 }] }),
              env: [{ name: 'NAME', value: name }],
            },
          ],
        },
      },
    },
  },
  {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, namespace: 'shop' },
    spec: { selector: { app: name }, ports: [{ port: 80, targetPort: 8080 }] },
  },
];

const forkOf = (name: string) => ({ kind: 'Deployment', namespace: 'shop', name });
const expression = 'http://{{.Service.Host}}:{{.Service.Port}}';
const document = JSON.stringify({
  name: 'pair',
  spec: {
    cluster: 'local',
    forks: [
      {
        forkOf: forkOf('web'),
        customizations: {
          env: [
            { name: 'PEER_URL', valueFrom: { fork: { forkOf: forkOf('back'), expression } } },
            { name: 'NAME', value: 'forked-web' },
          ],
        },
      },
      { forkOf: forkOf('back'), customizations: { env: [{ name: 'NAME', value: 'forked-back' }] } },
    ],
    defaultRouteGroup: { endpoints: [{ name: 'web', target: 'http://web.shop.svc:80' }] },
  },
});

test('a fork finds another fork of its sandbox', async () => {
  await using daemon = await testDaemon({ env: { OFFSHOOT_VOLUMES: 'copy' } });
  await using dir = await tempDir();
  const { cli } = daemon;
  const images = { images: { 'acme/web': { dir: '.', command: ['node', 'server.mjs'] } } };
  writeFileSync(join(dir.path, 'server.mjs'), server);
  writeFileSync(join(dir.path, 'offshoot.yaml'), JSON.stringify(images));
  const input = JSON.stringify({ apiVersion: 'v1', kind: 'List', items: ['web', 'back'].flatMap(manifests) });
  const deployed = await cli(['deploy', '-f', '-'], { input, cwd: dir.path });
  assert.equal(deployed.code, 0, deployed.stderr);
  const key = (await cli(['key', 'create', 'test'])).stdout.trim();
  for (let round = 0; round < 6; round++) {
    const made = await cli(['sandbox', 'apply', '-f', '-', '-o', 'json'], { input: document });
    assert.equal(made.code, 0, `round ${round}: ${made.stderr}`);
    const { url } = (JSON.parse(made.stdout) as SandboxView).endpoints[0]!;
    const answer = await http(url, { headers: { 'signadot-api-key': key } });
    assert.equal(answer.body, 'forked-web forked-back');
    assert.equal((await cli(['sandbox', 'delete', 'pair'])).code, 0);
  }
});
