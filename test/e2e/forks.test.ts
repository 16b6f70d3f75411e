/** Forks that know of each other, again and again: addresses are known at different moments. And forks with disks. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { http } from '../../scripts/demo/http.ts';
import { until } from '../../src/lib/wait.ts';
import type { CheckView, SandboxView } from '../../src/model/view.ts';
import { root, testDaemon } from '../support/daemon.ts';
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

/** Each pod writes who it is to its disk. */
const statefulSet = {
  apiVersion: 'apps/v1',
  kind: 'StatefulSet',
  metadata: { name: 'db', namespace: 'shop' },
  spec: {
    serviceName: 'db',
    selector: { matchLabels: { app: 'db' } },
    template: {
      metadata: { labels: { app: 'db' } },
      spec: {
        containers: [
          {
            name: 'main',
            image: 'acme/shell:1',
            args: ['echo $NAME $HOSTNAME >>/data/words; exec sleep 600'],
            env: [{ name: 'NAME', value: 'base' }],
            volumeMounts: [{ name: 'data', mountPath: '/data' }],
          },
        ],
      },
    },
    volumeClaimTemplates: [
      { metadata: { name: 'data' }, spec: { resources: { requests: { storage: '1Gi' } } } },
    ],
  },
};

test('forks', async t => {
  await using daemon = await testDaemon({ env: { OFFSHOOT_VOLUMES: 'copy' } });
  await using dir = await tempDir();
  const { cli } = daemon;
  const images = {
    'acme/web': { dir: '.', command: ['node', 'server.mjs'] },
    'acme/shell': { dir: '.', command: ['/bin/sh', '-c'] },
  };
  writeFileSync(join(dir.path, 'server.mjs'), server);
  writeFileSync(join(dir.path, 'offshoot.yaml'), JSON.stringify({ images }));
  const deploy = async (...items: readonly object[]) => {
    const input = JSON.stringify({ apiVersion: 'v1', kind: 'List', items });
    const deployed = await cli(['deploy', '-f', '-'], { input, cwd: dir.path });
    assert.equal(deployed.code, 0, deployed.stderr);
  };

  /** A program beside a fork has its environment, folder, network and names; its streams, signals and end are ours. */
  const enter = async () => {
    const exec = (...command: string[]) => ['exec', 'sandbox/pair/web', '--', ...command];
    const script = `console.log(process.env.NAME, process.cwd(), process.env.OFFSHOOT_PART);
      fetch('http://127.0.0.1:' + process.env.PORT).then(r => r.text()).then(console.log)`;
    const own = await cli(exec('node', '-e', script));
    assert.equal(own.code, 0, own.stderr);
    assert.equal(own.stdout, `forked-web ${dir.path} undefined\nforked-web forked-back\n`);
    const read = await cli(exec('/bin/sh', '-c', 'cat; echo no >&2; exit 7'), { input: 'from here' });
    assert.deepEqual([read.code, read.stdout, read.stderr], [7, 'from here', 'no\n']);
    assert.equal((await cli(exec('no-such-program'))).code, 127);
    const patient = 'trap "echo bye; exit 9" TERM; echo ready; while :; do sleep 0.1; done';
    const child = spawn(join(root, 'offshoot'), exec('/bin/sh', '-c', patient), { env: daemon.env });
    let said = '';
    child.stdout.on('data', chunk => {
      said += chunk;
    });
    await until(() => said.includes('ready') || undefined, { what: 'it runs', deadlineMs: 60_000 });
    child.kill('SIGTERM');
    await until(() => child.exitCode ?? undefined, { what: 'its end', deadlineMs: 60_000 });
    assert.deepEqual([child.exitCode, said], [9, 'ready\nbye\n']);
    // A shell at a terminal, which script(1) makes.
    const typed = 'test -t 0 && test -t 1 && echo "at a terminal of $NAME"; exit 4\n';
    const shell = spawn(
      'script',
      ['--quiet', '--return', '--command', `${join(root, 'offshoot')} shell sandbox/pair/web`, '/dev/null'],
      { env: { ...daemon.env, SHELL: '/bin/bash' }, stdio: ['pipe', 'pipe', 'inherit'] },
    );
    let shown = '';
    shell.stdout.on('data', chunk => {
      shown += chunk;
    });
    shell.stdin.on('error', () => {});
    shell.stdin.write(typed);
    const [code] = (await once(shell, 'close')) as [number];
    assert.deepEqual([code, /^at a terminal of forked-web\r?$/m.test(shown)], [4, true], shown);
    const two = await cli(['exec', 'sandbox/pair', '--', 'true']);
    assert.equal(two.code, 2);
    assert.match(two.stderr, /is sandbox\/pair\/web, sandbox\/pair\/back: name one of them/);
    const none = await cli(['exec', 'sandbox/pair/web', '-c', 'nix', '--', 'true']);
    assert.equal(none.code, 1);
    assert.match(
      none.stderr,
      /sandbox\/pair\/web cannot be entered: it has no container "nix"; there are: main/,
    );
    const entered = (await daemon.client.events()).filter(({ reason }) => reason === 'Entered');
    assert.equal(entered.length, 5);
    assert.equal(
      entered[0]!.message,
      'the command line of this machine runs "node" in container "main" of sandbox/pair/web',
    );
  };

  await t.test('find other forks of their sandbox', async () => {
    await deploy(...['web', 'back'].flatMap(manifests));
    const key = (await cli(['key', 'create', 'test'])).stdout.trim();
    for (let round = 0; round < 6; round++) {
      const made = await cli(['sandbox', 'apply', '-f', '-', '-o', 'json'], { input: document });
      assert.equal(made.code, 0, `round ${round}: ${made.stderr}`);
      const { url } = (JSON.parse(made.stdout) as SandboxView).endpoints[0]!;
      const answer = await http(url, { headers: { 'signadot-api-key': key } });
      assert.equal(answer.body, 'forked-web forked-back');
      if (round === 0) await enter();
      assert.equal((await cli(['sandbox', 'delete', 'pair'])).code, 0);
    }
  });

  await t.test('of a StatefulSet have disks of their own, and none of its names', async t => {
    const doctor = JSON.parse((await cli(['doctor', '-o', 'json'])).stdout) as readonly CheckView[];
    if (!doctor.some(check => check.name === 'workload/volumes' && check.ok))
      return t.skip('volumes are not mounted here');
    await deploy(statefulSet);
    const words = (folder: string, ...path: readonly string[]) =>
      readFileSync(join(daemon.home, folder, ...path, 'shop', 'data-db-0', 'words'), 'utf8')
        .split('\n')
        .slice(0, -1);
    assert.deepEqual(words('disks'), ['base db-0']);
    const forkOf = { kind: 'StatefulSet', namespace: 'shop', name: 'db' };
    const env = [{ name: 'NAME', value: 'fork' }];
    const sandbox = { name: 'fix', spec: { cluster: 'local', forks: [{ forkOf, customizations: { env } }] } };
    const input = JSON.stringify(sandbox);
    const made = await cli(['sandbox', 'apply', '-f', '-', '-o', 'json'], { input });
    assert.equal(made.code, 0, made.stderr);
    const { disks = {} } = (JSON.parse(made.stdout) as SandboxView).status.forks[0]!;
    assert.deepEqual(Object.keys(disks), ['data-db-0']);
    const began = disks['data-db-0'] === 'copy' ? ['base db-0'] : [];
    const own = words('disks-of-forks', 'sandbox%2Ffix');
    assert.deepEqual(own.slice(0, -1), began);
    assert.match(own.at(-1)!, /^fork fix-dep-db-[0-9a-f]{8}-0$/);
    assert.deepEqual(words('disks'), ['base db-0']);
    const shown = (await cli(['sandbox', 'get', 'fix'])).stdout;
    assert.match(shown, /^disk +data-db-0 of shop\/db: began (empty|as a copy of the baseline's)$/m);
    assert.equal((await cli(['sandbox', 'delete', 'fix'])).code, 0);
    assert.deepEqual(readdirSync(join(daemon.home, 'disks-of-forks')), []);

    const undeploy = ['undeploy', 'statefulset/db', '-n', 'shop'];
    assert.match((await cli(undeploy)).stderr, /^disk shop\/data-db-0 stays, see "offshoot disk list"$/m);
    await deploy(statefulSet);
    assert.deepEqual(words('disks'), ['base db-0', 'base db-0']);
    assert.match((await cli(['disk', 'list'])).stdout, /^shop +data-db-0 +\d+ KiB +StatefulSet\/db$/m);
    assert.match((await cli([...undeploy, '--disks', '--yes'])).stderr, /^disk shop\/data-db-0 is gone$/m);
    assert.ok(!existsSync(join(daemon.home, 'disks/shop/data-db-0')));
  });
});
