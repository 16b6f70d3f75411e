/** Bad input: one clear sentence that says what, where and what to do; exit code not 0; nothing left behind. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import { stringify } from 'yaml';
import type { RunCli } from '../../scripts/demo/cli.ts';
import { http } from '../../scripts/demo/http.ts';
import { until } from '../../src/lib/wait.ts';
import type { SandboxView } from '../../src/model/view.ts';
import { deployBaseline, sandboxDocument } from '../support/baseline.ts';
import { runCli } from '../support/cli.ts';
import { root, testDaemon } from '../support/daemon.ts';

type Case = {
  readonly what: string;
  /** Exit code. */
  readonly code: number;
  /** What stderr must say: the sentence, the place, the advice. */
  readonly says: readonly RegExp[];
  readonly document: string;
};

const fork = { kind: 'Deployment', namespace: 'demo', name: 'users-service' };
const document = (change: object, name = 'bad'): string =>
  stringify(JSON.parse(sandboxDocument(name, change)));
const withResource = (resource: object, outputKey = 'provision.connection-string') =>
  document({
    resources: [{ name: 'usersDb', ...resource }],
    forks: [
      {
        forkOf: fork,
        customizations: {
          env: [{ name: 'DATABASE_URL', valueFrom: { resource: { name: 'usersDb', outputKey } } }],
        },
      },
    ],
  });

/** Refused before anything is kept. */
const refused: readonly Case[] = [
  {
    what: 'an unknown field',
    code: 2,
    says: [/<stdin>:\d+:\d+: spec\.forkz: unknown field "forkz" \(did you mean "forks"\?\)/],
    document: document({ forkz: [] }),
  },
  {
    what: 'a wrong type',
    code: 2,
    says: [/<stdin>:\d+:\d+: spec\.endpoints\[0\]\.port: .*(whole )?number/],
    document: document({ endpoints: [{ name: 'users-api', host: 'users-service.demo.svc', port: [3000] }] }),
  },
  {
    what: 'several problems are told at once',
    code: 2,
    says: [/unknown field "forkz"/, /spec\.ttl\.duration/],
    document: document({ forkz: [], ttl: { duration: 'soon' } }),
  },
  {
    what: 'what is not supported yet',
    code: 2,
    says: [/spec\.local.*not supported yet/],
    document: document({
      local: [{ name: 'mine', from: fork, mappings: [{ port: 3000, toLocal: 'localhost:3000' }] }],
    }),
  },
  {
    what: 'a name that is too long',
    code: 2,
    says: [/<stdin>:1:\d+: name: .*31 characters.*30/],
    document: document({}, 'a'.repeat(31)),
  },
  { what: 'a name with --', code: 2, says: [/name: .*"--"/], document: document({}, 'my--name') },
  {
    what: 'a missing plugin',
    code: 1,
    says: [
      /resource "usersDb" names the plugin "xata-brunch", which is not installed/,
      /did you mean "xata-branch"/,
    ],
    document: withResource({ plugin: 'xata-brunch' }),
  },
  {
    what: 'a missing baseline',
    code: 1,
    says: [
      /spec\.forks\[0\]\.forkOf: Deployment "user-service" does not exist in namespace "demo"/,
      /did you mean "users-service"/,
    ],
    document: document({
      resources: [],
      forks: [{ forkOf: { ...fork, name: 'user-service' } }],
      endpoints: [],
    }),
  },
  {
    what: 'an endpoint of a missing service',
    code: 1,
    says: [/spec\.endpoints\[0\]\.host: Service "user" does not exist/],
    document: document({
      endpoints: [{ name: 'users-api', host: 'user.demo.svc', port: 3000, protocol: 'http' }],
    }),
  },
  {
    what: 'an endpoint with a wrong port',
    code: 1,
    says: [/Service "users-service" in namespace "demo" has no port 3001/, /its ports are: 3000/],
    document: document({
      endpoints: [{ name: 'users-api', host: 'users-service.demo.svc', port: 3001, protocol: 'http' }],
    }),
  },
  {
    what: 'an unknown output key',
    code: 1,
    says: [
      /valueFrom\.resource\.outputKey: the output key "provision\.url" is not an output of plugin "xata-branch@0\.0\.0"/,
      /provision\.connection-string/,
    ],
    document: withResource({ plugin: 'xata-branch' }, 'provision.url'),
  },
  {
    what: 'an unbound template variable',
    code: 2,
    says: [/unexpanded variable: cluster/],
    document: document({ cluster: '@{cluster}' }),
  },
];

const stepPlugin = (name: string, script: string) =>
  stringify({
    name,
    spec: {
      create: [
        { name: 'provision', script, outputs: [{ name: 'connection-string', valueFromPath: '/tmp/url' }] },
      ],
      delete: [
        {
          name: 'deprovision',
          script: '#!/bin/sh\ntouch "$HOME/never"; exit 0\n'.replace('touch "$HOME/never"; ', ''),
        },
      ],
    },
  });

/** Accepted, and fails while it is made. */
const failing: readonly (Omit<Case, 'document'> & { readonly plugin?: string; readonly resource: object })[] =
  [
    {
      what: 'a step that exits 1',
      code: 1,
      plugin: stepPlugin('exits', '#!/bin/sh\necho "no such tenant" >&2\nexit 1\n'),
      resource: { plugin: 'exits' },
      says: [
        /resource "usersDb" of sandbox "bad" failed in step "provision": .*exit code 1/,
        /\| no such tenant/,
        /hint: .*mend the cause and apply again/,
      ],
    },
    {
      what: 'a step that never writes its output',
      code: 1,
      plugin: stepPlugin('silent', '#!/bin/sh\nexit 0\n'),
      resource: { plugin: 'silent' },
      says: [/failed in step "provision": .*output "connection-string".*\/tmp\/url/],
    },
    {
      what: 'a step whose command is not found',
      code: 1,
      plugin: stepPlugin('lost', '#!/bin/sh\nset -e\nfrobnicate --now\n'),
      resource: { plugin: 'lost' },
      says: [/failed in step "provision": .*frobnicate.*not found/],
    },
    {
      what: 'a parent-branch that does not exist',
      code: 1,
      resource: { plugin: 'xata-branch', params: { 'parent-branch': 'mane' } },
      says: [/failed in step "provision": parent branch "mane" does not exist in project "default"/],
    },
  ];

/** A pod in a workload that ends, or does not. */
const workloadOf =
  (kind: 'Deployment' | 'Job', pod: object, container: object = {}) =>
  (namespace: string) => {
    const main = { name: 'main', image: 'sh', args: ['-c', 'sleep 600'], ...container };
    const labels = { app: 'bad' };
    return {
      ...{ apiVersion: kind === 'Job' ? 'batch/v1' : 'apps/v1', kind, metadata: { name: 'bad', namespace } },
      spec: {
        ...(kind === 'Deployment' && { selector: { matchLabels: labels } }),
        template: {
          metadata: { labels },
          spec: { ...(kind === 'Job' && { restartPolicy: 'Never' }), containers: [main], ...pod },
        },
      },
    };
  };
const init = (container: object) => ({ initContainers: [{ name: 'migrate', image: 'sh', ...container }] });
const settings = { volumes: [{ name: 'v', configMap: { name: 'settings' } }] };

/** Deployed, and never ready. */
const hopeless: readonly (Omit<Case, 'document'> & {
  readonly object: (namespace: string) => object;
  /** That somebody waits. */
  readonly seconds?: number;
})[] = [
  {
    what: 'a mounted ConfigMap that is missing',
    code: 1,
    says: [
      /Deployment "bad" in namespace "\S+" cannot become ready: volume "v" lacks the ConfigMap "\S+\/settings"/,
      /hint: deploy what it lacks, or mark the reference as optional/,
    ],
    object: workloadOf('Deployment', settings, { volumeMounts: [{ name: 'v', mountPath: '/etc/settings' }] }),
  },
  {
    what: 'an init container that fails',
    code: 1,
    says: [/cannot become ready: init container "migrate" ended: exit code 3/, /\| no database\n/],
    object: workloadOf('Deployment', init({ args: ['-c', 'echo no database >&2; exit 3'] })),
  },
  {
    what: 'an init container without its command',
    code: 1,
    says: [
      /cannot become ready: the command "frobnicate" of container "migrate" was not found/,
      /hint: install it here, or say in the image's entry of offshoot\.yaml what runs in its place: programs:/,
    ],
    object: workloadOf('Deployment', init({ command: ['frobnicate'] })),
  },
  {
    what: 'a Job that never ends',
    code: 5,
    seconds: 2,
    says: [
      /timed out after 2\.0 s .*; last seen: Job\/\S+\/bad: it runs \(until its end; --no-wait does not wait for it\)/,
    ],
    object: workloadOf('Job', {}),
  },
  {
    what: 'a Job that may not take longer',
    code: 1,
    says: [/Job "bad" in namespace "\S+" cannot become ready: DeadlineExceeded: it did not end within 1 s/],
    object: namespace => {
      const job = workloadOf('Job', {})(namespace);
      return { ...job, spec: { ...job.spec, activeDeadlineSeconds: 1 } };
    },
  },
];

test('bad input', async t => {
  await using daemon = await testDaemon();
  const env = { OFFSHOOT_HOME: daemon.home, PATH: process.env.PATH };
  // In this process: a hundred commands, of which what they say is looked at.
  const cli: RunCli = async (args, { input, cwd = root } = {}) => ({
    ...(await runCli(args, { env, cwd, ...(input !== undefined && { input }) })),
    ms: 0,
  });
  const { key } = await deployBaseline(cli);
  const before = await daemon.labelled('');
  const json = async <T>(args: readonly string[]) =>
    JSON.parse((await cli([...args, '-o', 'json'])).stdout) as T;
  const nothingLeft = async () => {
    assert.deepEqual(
      (await json<{ name: string }[]>(['branch', 'list'])).map(b => b.name),
      ['main'],
    );
    // A branch in the trash is gone for everybody before its server has ended.
    const isLeft = async () => !isDeepStrictEqual(await daemon.labelled(''), before);
    await until(async () => !(await isLeft()) || undefined, {
      what: 'the end of all that is not to be left',
      deadlineMs: 60_000,
    });
  };
  const says = (stderr: string, expected: readonly RegExp[]) => {
    for (const pattern of expected) assert.match(stderr, pattern);
    assert.doesNotMatch(stderr, /\n\s+at |undefined|\[object/, 'sentences, no stack traces');
  };

  for (const { what, code, says: expected, document: text } of refused) {
    await t.test(what, async () => {
      const result = await cli(['sandbox', 'apply', '-f', '-'], { input: text });
      says(result.stderr, expected);
      assert.equal(result.code, code);
      assert.equal(result.stdout, '');
      assert.deepEqual(await json<SandboxView[]>(['sandbox', 'list']), []);
      await nothingLeft();
    });
  }

  for (const { what, code, says: expected, plugin, resource } of failing) {
    await t.test(what, async () => {
      if (plugin !== undefined)
        assert.equal((await cli(['resourceplugin', 'apply', '-f', '-'], { input: plugin })).code, 0);
      const result = await cli(['sandbox', 'apply', '-f', '-'], { input: withResource(resource) });
      says(result.stderr, expected);
      assert.equal(result.code, code);
      await nothingLeft();
      const { status } = await json<SandboxView>(['sandbox', 'get', 'bad']);
      assert.equal(status.reason, 'ResourceFailed');
      // The reason is kept, and the sandbox goes without force.
      assert.equal((await cli(['sandbox', 'delete', 'bad'])).code, 0);
      await nothingLeft();
    });
  }

  await t.test('a failed sandbox becomes ready when it is applied mended', async () => {
    assert.equal(
      (await cli(['sandbox', 'apply', '-f', '-'], { input: withResource({ plugin: 'exits' }) })).code,
      1,
    );
    const mended = await cli(['sandbox', 'apply', '-f', '-'], {
      input: withResource({ plugin: 'xata-branch' }),
    });
    assert.equal(mended.code, 0, mended.stderr);
    assert.equal((await cli(['sandbox', 'delete', 'bad'])).code, 0);
    await nothingLeft();
  });

  await t.test(
    'a failed sandbox is tried again when the same document is applied and the world was mended',
    async () => {
      const input = withResource({ plugin: 'xata-branch', params: { 'parent-branch': 'later' } });
      assert.equal((await cli(['sandbox', 'apply', '-f', '-'], { input })).code, 1);
      assert.equal((await cli(['branch', 'create', 'later'])).code, 0);
      const again = await cli(['sandbox', 'apply', '-f', '-'], { input });
      assert.equal(again.code, 0, again.stderr);
      assert.equal((await cli(['sandbox', 'delete', 'bad'])).code, 0);
      assert.equal((await cli(['branch', 'delete', 'later'])).code, 0);
      await nothingLeft();
    },
  );

  await t.test('an update is ready when the new forks are', async () => {
    const withEnv = (value: string) =>
      document(
        {
          resources: [],
          forks: [{ forkOf: fork, customizations: { env: [{ name: 'MARK', value }] } }],
          endpoints: [{ name: 'users-api', host: 'users-service.demo.svc', port: 3000, protocol: 'http' }],
        },
        'update',
      );
    assert.equal((await cli(['sandbox', 'apply', '-f', '-'], { input: withEnv('one') })).code, 0);
    const first = await daemon.labelled('sb-update.');
    const second = await cli(['sandbox', 'apply', '-f', '-', '-o', 'json'], { input: withEnv('two') });
    assert.equal(second.code, 0, second.stderr);
    const { status } = JSON.parse(second.stdout) as SandboxView;
    assert.equal(status.observedGeneration, 2);
    assert.ok(status.forks.every(f => f.ready));
    assert.notDeepEqual(await daemon.labelled('sb-update.'), first);
    assert.equal((await cli(['sandbox', 'delete', 'update'])).code, 0);
  });

  await t.test('cyclic steps', async () => {
    const step = (name: string, from: string) => ({
      name,
      script: '#!/bin/sh\n',
      inputs: [{ name: 'x', valueFromStep: { name: from, output: 'y' } }],
      outputs: [{ name: 'y', valueFromPath: 'y' }],
    });
    const input = stringify({ name: 'circle', spec: { create: [step('a', 'b'), step('b', 'a')] } });
    const result = await cli(['resourceplugin', 'apply', '-f', '-'], { input });
    assert.equal(result.code, 2);
    says(result.stderr, [/<stdin>:\d+:\d+: .*a.*b.*a/]);
    assert.equal((await cli(['resourceplugin', 'get', 'circle'])).code, 3);
  });

  await t.test('deleting twice, or what never was, says so with different words', async () => {
    const never = await cli(['sandbox', 'delete', 'never-was']);
    assert.equal(never.code, 3);
    says(never.stderr, [/sandbox "never-was" does not exist/]);
    const slow = stringify({
      name: 'slow',
      spec: { create: [{ name: 'make', script: 'true' }], delete: [{ name: 'unmake', script: 'sleep 1' }] },
    });
    assert.equal((await cli(['resourceplugin', 'apply', '-f', '-'], { input: slow })).code, 0);
    const text = document({ resources: [{ name: 'r', plugin: 'slow' }], forks: [], endpoints: [] }, 'twice');
    assert.equal((await cli(['sandbox', 'apply', '-f', '-'], { input: text })).code, 0);
    const [first, second] = await Promise.all([
      cli(['sandbox', 'delete', 'twice']),
      cli(['sandbox', 'delete', 'twice', '--no-wait']).then(async r =>
        r.stderr.includes('already') ? r : cli(['sandbox', 'delete', 'twice']),
      ),
    ]);
    assert.equal(first.code, 0, first.stderr);
    assert.match(first.stderr + second.stderr, /sandbox "twice" is being deleted already/);
    const again = await cli(['sandbox', 'delete', 'twice']);
    assert.equal(again.code, 3);
    says(again.stderr, [/sandbox "twice" is gone already: it was deleted at \d{4}-/]);
  });

  await t.test('a wrong or missing API key', async () => {
    const applied = await cli(['sandbox', 'apply', '-f', '-', '-o', 'json'], {
      input: sandboxDocument('keys'),
    });
    const url = `${(JSON.parse(applied.stdout) as SandboxView).endpoints[0]!.url}/users`;
    const missing = await http(url);
    assert.equal(missing.status, 401);
    assert.match(missing.body, /none was sent/);
    const wrong = await http(url, { headers: { 'signadot-api-key': `ofs_${'x'.repeat(40)}` } });
    assert.equal(wrong.status, 401);
    assert.equal((await http(url, { headers: { 'signadot-api-key': key } })).status, 200);
    assert.equal((await cli(['sandbox', 'delete', 'keys'])).code, 0);
  });

  await t.test('baselines that cannot become ready', async () => {
    await Promise.all(
      hopeless.map(async ({ what, code, says: expected, object, seconds = 60 }) => {
        const namespace = what.toLowerCase().replaceAll(' ', '-');
        const input = JSON.stringify(object(namespace));
        const config = ['--config', 'test/support/fixtures/offshoot.yaml'];
        const deploy = [
          'deploy',
          '-f',
          '-',
          '--folder',
          `/${namespace}`,
          '--wait-timeout',
          `${seconds}s`,
          ...config,
        ];
        const result = await cli(deploy, { input });
        says(result.stderr, expected);
        assert.equal(result.code, code, result.stderr);
        const gone = await cli(['undeploy', '-n', namespace, '--yes']);
        assert.equal(gone.code, 0, gone.stderr);
      }),
    );
    await nothingLeft();
  });

  await t.test('a command of the baseline that is not found', async () => {
    const deployment = {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name: 'lost', namespace: 'demo' },
      spec: {
        selector: { matchLabels: { app: 'lost' } },
        template: {
          metadata: { labels: { app: 'lost' } },
          spec: { containers: [{ name: 'lost', image: 'users-service', command: ['frobnicate'] }] },
        },
      },
    };
    const input = stringify(deployment);
    const result = await cli(['deploy', '-f', '-', '--config', 'examples/users-service/offshoot.yaml'], {
      input,
    });
    assert.equal(result.code, 1);
    says(result.stderr, [/Deployment "lost" in namespace "demo" cannot become ready: .*frobnicate/]);
    assert.equal((await cli(['undeploy', '-f', '-'], { input })).code, 0);
    await nothingLeft();
  });
});

test('no disk space', async () => {
  await using daemon = await testDaemon({
    env: { OFFSHOOT_POOL_SIZE: '1G', OFFSHOOT_MIN_FREE: '1000G' },
    start: false,
  });
  const { cli } = daemon;
  const up = await cli(['up', '--detach']);
  // The daemon starts (a person must be able to look and to delete), but nothing new is made.
  assert.equal(up.code, 0, up.stderr);
  const wait = await cli(['branch', 'wait', 'main', '--wait-timeout', '20s']);
  assert.equal(wait.code, 1);
  assert.match(wait.stderr, /free/);
  assert.match(wait.stderr, /hint: /);
});

test('a port that is taken', async () => {
  await using first = await testDaemon();
  const { port } = new URL(first.client.connection.url);
  for (const name of ['OFFSHOOT_API_PORT', 'OFFSHOOT_HTTP_PORT', 'OFFSHOOT_POSTGRES_PORT']) {
    await using second = await testDaemon({ env: { [name]: port }, start: false });
    const up = await second.cli(['up', '--detach']);
    assert.equal(up.code, 1);
    assert.match(up.stderr, new RegExp(`cannot listen on 127\\.0\\.0\\.1:${port} for .*the port is taken`));
    assert.match(up.stderr, new RegExp(`hint: .*${name}`));
    assert.deepEqual(await second.labelled(''), []);
    assert.deepEqual(second.mounts(), []);
  }
});

test('a second daemon on one data directory is refused', async () => {
  await using daemon = await testDaemon();
  const second = await daemon.cli(['up']);
  assert.equal(second.code, 1);
  assert.match(
    second.stderr,
    new RegExp(`another offshoot daemon \\(pid ${daemon.pid}\\) already uses ${daemon.home}`),
  );
  assert.equal((await daemon.cli(['status'])).code, 0, 'the first one goes on');
});
