/** Images without an entry, as workloads and as steps, in Podman or Docker where one is installed. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import type { StepSpec, WorkloadDriver, WorkloadSeen, WorkloadSpec } from '../../../src/drivers/contract.ts';
import { openStepRunner } from '../../../src/drivers/step/script-runner.ts';
import { logRotation } from '../../../src/lib/log-rotation.ts';
import { until } from '../../../src/lib/wait.ts';
import type { Container } from '../../../src/model/kubernetes.ts';
import { stepDriverConformance } from '../../conformance/step-driver.ts';
import { workloadDriverConformance } from '../../conformance/workload-driver.ts';
import { type TestEngine, testImage, tryTestEngine } from '../../support/engine.ts';
import { getFrom, noNetworks, openTestNetworks } from '../../support/networks.ts';
import { tempDir } from '../../support/temp.ts';
import { ctx, killedAt, openTestRuntime, podSpecOf, specOf, testBaseEnv } from '../../support/workload.ts';

const noNetwork = await noNetworks();
const found = noNetwork === undefined ? await tryTestEngine() : { why: noNetwork };
const missing = 'why' in found ? found.why : false;
const engine = found as TestEngine;
after(async () => {
  if (missing === false) await engine[Symbol.asyncDispose]();
});

const imageSpec = (word: string): WorkloadSpec =>
  specOf({ image: testImage, env: [{ name: 'SAYS', value: word }] }, { images: {} });

/** Each start is three programs and more, on a machine that others load. */
const LONG_MS = 170_000;

/** A container of the image, that must not do anything at a port. */
const one = (name: string, more: Partial<Container>): Container => ({ name, image: testImage, ...more });

const ASK_NEIGHBOUR = `process.stdout.write(require('fs').readFileSync('/shared/word'));
  const ask = () => require('http').get('http://127.0.0.1:3000/', answer => answer.on('end', () => console.log())
    .pipe(process.stdout)).on('error', () => setTimeout(ask, 20)); ask()`.replaceAll('\n', ' ');

/** What its containers have said, each line after the name of its container. */
async function saidBy(driver: WorkloadDriver, id: string): Promise<string[]> {
  const lines: string[] = [];
  for await (const { container, text } of driver.logs(id, { lines: 50, follow: false }, ctx()))
    lines.push(`${container} ${text}`);
  return lines;
}

const untilSeen = (
  driver: WorkloadDriver,
  id: string,
  what: string,
  wanted: (seen: WorkloadSeen) => boolean,
) =>
  until(
    async () => {
      const seen = await driver.observe(id, ctx());
      return seen !== undefined && wanted(seen) ? seen : undefined;
    },
    { what, deadlineMs: LONG_MS },
  );

const untilReady = (driver: WorkloadDriver, id: string) =>
  untilSeen(driver, id, `${id} is ready`, seen => seen.ready);

const untilSaid = (driver: WorkloadDriver, id: string, count: number): Promise<string[]> =>
  until(
    async () => {
      const lines = (await saidBy(driver, id)).map(line => line.slice(line.indexOf(' ') + 1));
      return new Set(lines).size >= count ? [...new Set(lines)] : undefined;
    },
    { what: `${id} has said ${count} things`, deadlineMs: LONG_MS },
  );

async function runtime() {
  await using stack = new AsyncDisposableStack();
  const home = stack.use(await tempDir()).path;
  const networks = await openTestNetworks(home);
  stack.defer(() => networks.close());
  const driver = await openTestRuntime(home, networks, [engine.socket]);
  stack.defer(() => driver.close());
  const owned = stack.move();
  return { driver, networks, home, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

describe('in a container engine', { skip: missing }, () => {
  workloadDriverConformance('container engine', async () => ({
    ...(await runtime()),
    spec: imageSpec,
    answers: ({ host, port }) =>
      new Promise(resolve => {
        const socket = connect({ port, host, timeout: 1_000 }, () => {
          socket.destroy();
          resolve(true);
        });
        socket.on('error', () => resolve(false));
        socket.on('timeout', () => {
          socket.destroy();
          resolve(false);
        });
      }),
  }));

  stepDriverConformance('container engine', async () => {
    const r = await runtime();
    const { home, driver } = r;
    const { processes, engine } = driver;
    const mounts = { why: 'no script of this test is a process' };
    const node = { baseEnv: testBaseEnv, nodePath: process.execPath };
    const options = { home, instance: home, processes, engine, spaces: undefined, mounts, ...node };
    const rotation = logRotation(2 ** 26, () => {});
    const steps = await openStepRunner({ ...options, rotation });
    const script = (text: string, more: Partial<StepSpec> = {}): StepSpec => ({
      ...{ script: text, inputs: [], outputs: [], env: {}, keep: [], runner: { image: testImage } },
      ...more,
    });
    // That of e2e/images.test.ts is in /outputs.
    const outputs = [{ name: 'value', valueFromPath: '/tmp/deep/value' }];
    const word = (value: string) => [
      { name: 'word', value, as: { path: '/etc/given/word' } },
      { name: 'its-name', value: 'a variable' },
    ];
    return {
      steps,
      said: ['copied'],
      echo: value =>
        script(
          '#!/bin/sh\ntest "$ITS_NAME" = "a variable" && cat /etc/given/word >/tmp/deep/value && echo copied',
          {
            ...{ inputs: word(value), outputs },
          },
        ),
      silent: () => script('true', { outputs }),
      failing: () => script('test -e /srv/server.pl && exit 1'),
      endless: () => script('exec sleep 600'),
      async [Symbol.asyncDispose]() {
        await rotation.stop();
        await r[Symbol.asyncDispose]();
      },
    };
  });
});

describe('containers of an engine', { skip: missing, concurrency: 2 }, () => {
  it('puts image and manifest together as Kubernetes does', async () => {
    await using r = await runtime();
    const show = ['sh', '-c', 'echo "$0|$PWD|$SAYS|$(id -u):$(id -g)|$1"'];
    const containers = [
      one('plain', { command: show }),
      one('own', {
        command: [...show, 'zero', '$(WHO)'],
        env: [
          { name: 'WHO', value: 'me' },
          { name: 'SAYS', value: 'pod' },
        ],
        workingDir: '/tmp',
        securityContext: { runAsUser: 1234, runAsGroup: 55 },
      }),
      // Behind the image's entry point, `perl server.pl`.
      one('args', { args: ['ignored'] }),
    ];
    await r.driver.ensure('web', { ...podSpecOf({ containers }, { images: {} }) }, ctx());
    const lines = await untilSaid(r.driver, 'web', 3);
    assert.deepEqual(lines.sort(), ['image', 'sh|/srv|image|0:0|', 'zero|/tmp|pod|1234:55|me']);
  });

  it('lets programs and containers of one pod share network, names and volumes', async () => {
    await using r = await runtime();
    const mount = { name: 'shared', mountPath: '/shared' };
    const spec = podSpecOf(
      {
        hostname: 'both',
        volumes: [
          { name: 'shared', emptyDir: {} },
          { name: 'settings', configMap: { name: 'settings' } },
        ],
        initContainers: [
          one('init', {
            command: ['sh', '-c', 'cat /settings/word > /shared/word'],
            volumeMounts: [mount, { name: 'settings', mountPath: '/settings' }],
          }),
        ],
        containers: [
          {
            ...one('server', { env: [{ name: 'SAYS', value: 'from the image' }] }),
            ports: [{ containerPort: 3000 }],
          },
          {
            ...{ name: 'program', image: 'shell', volumeMounts: [mount] },
            args: [`node -e "${ASK_NEIGHBOUR}"; exec sleep 1000`],
          },
          one('names', {
            command: ['sh', '-c', 'cat /shared/word /etc/hosts; hostname; exec sleep 1000'],
            volumeMounts: [mount],
          }),
        ],
      },
      {
        refs: { configMaps: { 'demo/settings': { word: 'hello from a file\n' } } },
        network: { hosts: [{ ip: '10.1.2.3', names: ['users.demo.svc'] }] },
      },
    );
    await r.driver.ensure('web', spec, ctx());
    const seen = await untilReady(r.driver, 'web');
    assert.equal(await getFrom(r.networks, `http://${seen.ports[3000]![0]!.host}:3000/`), 'from the image');
    const said = await until(
      async () => {
        const lines = await saidBy(r.driver, 'web');
        return lines.includes('program from the image') && lines.includes('names both') ? lines : undefined;
      },
      { what: 'all have spoken', deadlineMs: LONG_MS },
    );
    assert.ok(said.includes('program hello from a file'), said.join('\n'));
    assert.ok(said.includes('program from the image'), said.join('\n'));
    assert.ok(said.includes('names hello from a file'));
    assert.ok(said.includes('names 10.1.2.3 users.demo.svc'));
  });

  it('asks probes and hooks by command inside of the container', async () => {
    await using r = await runtime();
    const exec = (...command: string[]) => ({ exec: { command } });
    const spec = podSpecOf(
      {
        containers: [
          one('main', {
            command: ['sleep', '1000'],
            lifecycle: { postStart: exec('sh', '-c', 'echo started > /tmp/hook') },
            readinessProbe: {
              ...exec('sh', '-c', 'read word < /tmp/hook && test $word = started'),
              periodSeconds: 1,
            },
            livenessProbe: exec('cat', '/tmp/nothing'),
          }),
        ],
      },
      { images: {} },
    );
    await r.driver.ensure('web', spec, ctx());
    await untilReady(r.driver, 'web');
    // 10 s and three failures would be a long test: that the command is asked, and how it ends, is seen above.
  });

  it('counts restarts, and says exit code, lack of memory and a command that is not there', async () => {
    await using r = await runtime();
    const end = (id: string, container: object) =>
      r.driver.ensure(id, podSpecOf({ containers: [one('main', container)] }, { images: {} }), ctx());
    await end('code', { command: ['sh', '-c', 'echo last words; exit 7'] });
    await end('memory', {
      command: ['perl', '-e', '$x = "a" x (64 << 20); sleep 1000'],
      resources: { limits: { memory: '24Mi' } },
    });
    await end('missing', { command: ['no-such-program'] });
    const code = await untilSeen(r.driver, 'code', 'it has ended twice', seen => seen.restarts >= 2);
    assert.equal(code.reason, 'CrashLoopBackOff');
    assert.match(code.message, /container "main" ended: exit code 7/);
    assert.ok(code.log.includes('last words'));
    const memory = await untilSeen(r.driver, 'memory', 'it is killed', seen => seen.reason === 'OOMKilled');
    assert.match(memory.message, /more memory than its limit of 24Mi/);
    const without = await untilSeen(
      r.driver,
      'missing',
      'it is not there',
      s => s.reason === 'CommandNotFound',
    );
    assert.match(without.message, /container "main": .*no-such-program/);
  });

  it('says in the words of the engine why an image cannot be had', async () => {
    await using r = await runtime();
    const image = 'localhost:1/nobody/none:1';
    const ask = (id: string, more: object) =>
      r.driver.ensure(
        id,
        podSpecOf({ containers: [{ name: 'main', image, ...more }] }, { images: {} }),
        ctx(),
      );
    await ask('pulled', {});
    await ask('never', { imagePullPolicy: 'Never' });
    const pulled = await untilSeen(r.driver, 'pulled', 'it fails', seen => seen.reason === 'ErrImagePull');
    assert.match(pulled.message, /the image "localhost:1\/nobody\/none:1" cannot be pulled: .*refused/);
    await untilSeen(r.driver, 'never', 'it is not tried', seen => seen.reason === 'ErrImageNeverPull');
  });
});

describe('with a container engine that comes and goes', { skip: missing }, () => {
  it('goes on without the engine, says so, and does what is asked for when that is back', async () => {
    await using r = await runtime();
    await r.driver.ensure('old', imageSpec('old'), ctx());
    const before = await untilReady(r.driver, 'old');
    await engine.stop();
    try {
      const alone = await untilSeen(r.driver, 'old', 'it is told', s => s.message.includes('engine is away'));
      assert.equal(alone.ready, true);
      assert.equal(await getFrom(r.networks, `http://${before.ports[3000]![0]!.host}:3000/`), 'old');
      await r.driver.ensure('new', imageSpec('new'), ctx());
      await untilSeen(r.driver, 'new', 'it waits', seen => seen.reason === 'EngineUnavailable');
      assert.equal((await r.driver.capabilities()).find(({ name }) => name === 'workload/engine')?.ok, false);
      await r.driver.remove('old', ctx());
    } finally {
      await engine.start();
    }
    await untilReady(r.driver, 'new');
    const left = () => engine.cli('ps', '--all', '--format', '{{.Labels}}');
    await until(async () => ((await left()).includes('workload/old') ? undefined : true), {
      what: 'what was removed meanwhile is gone',
      deadlineMs: LONG_MS,
    });
  });

  it('runs what nothing ran before as soon as there is an engine', async () => {
    await engine.stop();
    await using r = await runtime();
    try {
      const { reason, message } = await r.driver.ensure('web', imageSpec('late'), ctx());
      assert.equal(reason, 'ImageUnknown');
      assert.match(message, /or start a container engine: there is nothing at|does not answer/);
    } finally {
      await engine.start();
    }
    await untilReady(r.driver, 'web');
  });

  it('is taken over by the next daemon, with what was said without one and how it ended', async () => {
    await using home = await tempDir();
    const shown = (script: string) =>
      podSpecOf({ containers: [one('main', { command: ['sh', '-c', script] })] }, { images: {} });
    const go = join(home.path, 'go');
    const volumes = [{ name: 'home', hostPath: { path: home.path } }];
    const spec = shown(
      'echo begun; while ! test -e /home/go; do sleep 0.1; done; echo later; exec sleep 1000',
    );
    const { containers } = spec.workload.spec.template.spec;
    const mounted = containers.map(c => ({ ...c, volumeMounts: [{ name: 'home', mountPath: '/home' }] }));
    const all = podSpecOf({ containers: mounted, volumes }, { images: {} });
    await killedAt(home.path, all, 'Running', engine.socket);
    await writeFile(go, '');
    await until(async () => ((await engine.cli('ps', '--quiet')).trim() === '' ? undefined : true), {
      what: 'the container goes on',
      deadlineMs: LONG_MS,
    });
    const stray = ['create', '--label', `offshoot.instance=${home.path}`, testImage];
    const { length } = (await engine.cli(...stray)).trim();
    assert.ok(length > 0);
    const next = await openTestRuntime(home.path, undefined, [engine.socket]);
    try {
      await next.ensure('web', all, ctx());
      const seen = await untilReady(next, 'web');
      assert.equal(seen.restarts, 0);
      const lines = await until(
        async () => {
          const said = await saidBy(next, 'web');
          return said.includes('main later') ? said : undefined;
        },
        { what: 'it is told', deadlineMs: LONG_MS },
      );
      assert.deepEqual(lines, ['main begun', 'main later']);
      const present = async () => (await engine.cli('ps', '--all', '--quiet')).trim().split('\n');
      await until(async () => ((await present()).length === 1 ? true : undefined), {
        what: 'what is on no record goes',
        deadlineMs: LONG_MS,
      });
    } finally {
      await next.close();
    }
  });

  it('leaves no container behind', async () => {
    assert.equal((await engine.cli('ps', '--all', '--quiet')).trim(), '');
  });
});
