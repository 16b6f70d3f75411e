/** A service of an image without an entry: deployed, routed to, forked, shown, run beside a step, and gone. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { http } from '../../scripts/demo/http.ts';
import type { SandboxView } from '../../src/model/view.ts';
import { testDaemon } from '../support/daemon.ts';
import { testImage, tryTestEngine } from '../support/engine.ts';
import { noNetworks } from '../support/networks.ts';
import { tempDir } from '../support/temp.ts';

const manifests = {
  apiVersion: 'v1',
  kind: 'List',
  items: [
    {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name: 'web', namespace: 'shop' },
      spec: {
        selector: { matchLabels: { app: 'web' } },
        template: {
          metadata: { labels: { app: 'web' } },
          spec: {
            containers: [
              {
                ...{ name: 'main', image: testImage, ports: [{ containerPort: 3000 }] },
                env: [{ name: 'SAYS', value: 'baseline' }],
              },
            ],
          },
        },
      },
    },
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'web', namespace: 'shop' },
      spec: { selector: { app: 'web' }, ports: [{ port: 80, targetPort: 3000 }] },
    },
  ],
};

const plugin = {
  name: 'word',
  spec: {
    description: 'makes a word',
    runner: { image: testImage },
    create: [
      {
        name: 'make',
        script: '#!/bin/sh\ntest -e /srv/server.pl && printf "of the image" >/outputs/word\n',
        outputs: [{ name: 'word', valueFromPath: '/outputs/word' }],
      },
    ],
  },
};

const sandbox = {
  name: 'other',
  spec: {
    cluster: 'local',
    resources: [{ name: 'word', plugin: 'word' }],
    forks: [
      {
        forkOf: { kind: 'Deployment', namespace: 'shop', name: 'web' },
        customizations: {
          env: [{ name: 'SAYS', valueFrom: { resource: { name: 'word', outputKey: 'make.word' } } }],
        },
      },
    ],
    defaultRouteGroup: { endpoints: [{ name: 'web', target: 'http://web.shop.svc:80' }] },
  },
};

test('a service of an image', async t => {
  const missing = await noNetworks();
  if (missing !== undefined) return t.skip(missing);
  const found = await tryTestEngine();
  if ('why' in found) return t.skip(found.why);
  await using engine = found;
  await using dir = await tempDir();
  await using daemon = await testDaemon({
    env: { OFFSHOOT_VOLUMES: 'copy', OFFSHOOT_ENGINE: engine.socket },
  });
  const ok = async (args: readonly string[], document?: object) => {
    const input = document === undefined ? {} : { input: JSON.stringify(document) };
    const done = await daemon.cli(args, { cwd: dir.path, ...input });
    assert.equal(done.code, 0, `${args.join(' ')}: ${done.stderr}`);
    return done;
  };
  const containers = async () =>
    (await engine.cli('ps', '--all', '--format', '{{.Labels}}')).split('\n').filter(Boolean);

  assert.match(
    (await ok(['status'])).stdout,
    /^engine +(?:Podman|Docker) \S+ at \S+, for images without an entry$/m,
  );
  assert.match(
    (await ok(['doctor'])).stdout,
    /✓ workloads +workload\/engine: images without an entry run in (?:Podman|Docker)/,
  );
  // An empty one: nothing says how the image runs.
  writeFileSync(join(dir.path, 'offshoot.yaml'), '{}');
  const deployed = await ok(['deploy', '-f', '-'], manifests);
  assert.doesNotMatch(deployed.stderr, /nothing says|warning/);
  assert.equal((await containers()).length, 1);

  assert.match(
    (await ok(['resourceplugin', 'apply', '-f', '-'], plugin)).stderr,
    /scripts run in the image localhost\/tool:1 by (?:Podman|Docker)/,
  );
  const key = (await ok(['key', 'create', 'test'])).stdout.trim();
  const made = JSON.parse(
    (await ok(['sandbox', 'apply', '-f', '-', '-o', 'json'], sandbox)).stdout,
  ) as SandboxView;
  const answer = await http(made.endpoints[0]!.url, { headers: { 'signadot-api-key': key } });
  assert.equal(answer.body, 'of the image');
  assert.equal((await containers()).length, 2);
  assert.match((await ok(['logs', 'sandbox/other'])).stdout, /of the image/);
  assert.match((await ok(['logs', 'web'])).stdout, /baseline/);

  await ok(['sandbox', 'delete', 'other']);
  assert.equal((await containers()).length, 1);
  await daemon.kill9();
  await ok(['up', '--detach']);
  assert.match((await ok(['status'])).stdout, /^Deployment +shop +web +Ready/m);
  await daemon.down();
  assert.deepEqual(await containers(), []);
});
