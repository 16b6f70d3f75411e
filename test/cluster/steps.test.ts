/** Steps of plugins as Jobs on a real cluster: what the laptop promises, and every way in which a cluster can refuse. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { type ClusterStepsOptions, openClusterSteps } from '../../src/drivers/cluster/steps.ts';
import type { Ctx, StepCause, StepSpec } from '../../src/drivers/contract.ts';
import type { ClusterClient } from '../../src/kubernetes/client.ts';
import { silentLog } from '../../src/lib/log.ts';
import { Stopping } from '../../src/lib/stopping.ts';
import { until } from '../../src/lib/wait.ts';
import type { OffshootError } from '../../src/model/errors.ts';
import { stepDriverConformance } from '../conformance/step-driver.ts';
import { kubectl, namespace, noImage, ourImage, read } from '../support/cluster.ts';
import { testClient } from '../support/cluster-client.ts';

const ID = 'fix.usersDb.create.provision';

const ctx = (signal = AbortSignal.timeout(300_000)): Ctx => ({ signal, log: silentLog });

const script = (text: string, more: Partial<StepSpec> = {}): StepSpec => ({
  ...{ script: text, inputs: [], outputs: [], env: {}, keep: [] },
  ...more,
});

const output = (valueFromPath: string, name = 'value') => [{ name, valueFromPath }];

async function opened(more: Partial<ClusterStepsOptions> = {}) {
  const stack = new AsyncDisposableStack();
  const ns = stack.use(await namespace());
  const client = await testClient();
  stack.defer(() => client.close());
  const place = { namespace: ns.name, installation: ns.name, image: ourImage, longestMs: 600_000 };
  const options: ClusterStepsOptions = { client, ...place, log: silentLog, ...more };
  const steps = openClusterSteps(options);
  stack.defer(() => steps.close());
  return { steps, ns: ns.name, client, options, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

if (noImage === false)
  stepDriverConformance('job', async () => {
    const o = await opened();
    return {
      ...o,
      said: ['copied'],
      echo: word =>
        script('cat /tmp/word > /tmp/value; echo copied', {
          inputs: [{ name: 'word', value: word, as: { path: '/tmp/word' } }],
          outputs: output('/tmp/value'),
        }),
      silent: () => script('true', { outputs: output('/tmp/value') }),
      failing: () => script('exit 1'),
      endless: () => script('sleep 600'),
    };
  });

describe('steps on a cluster', { skip: noImage, concurrency: 4 }, () => {
  let o: Awaited<ReturnType<typeof opened>>;
  before(async () => {
    o = await opened();
  });
  after(() => o?.[Symbol.asyncDispose]());

  /** Nothing that stays: of these steps, or of all in a namespace. */
  const untilNothing = (ns: string, ...steps: readonly string[]) =>
    until(
      async () => {
        const { items } = await read<Items>('-n', ns, 'get', 'jobs,secrets,pods', '-l', 'offshoot.dev/step');
        const left = items.filter(
          ({ metadata: { name, deletionTimestamp } }) =>
            deletionTimestamp === undefined &&
            (steps.length === 0 || steps.some(step => name.startsWith(`step-fix-${step}-`))),
        );
        return left.length === 0 ? true : undefined;
      },
      { what: 'nothing is left', deadlineMs: 60_000, intervalMs: 100 },
    );
  const failure = (id: string, spec: StepSpec, tell?: (cause: StepCause) => void) =>
    o.steps.run(id, spec, ctx(), tell).then(
      () => assert.fail('the step did not fail'),
      error => error as OffshootError,
    );

  it('hand over inputs by variable and by file, and take outputs as they are, wherever they are and however many', async () => {
    const big = 'ü'.repeat(30_000);
    const names = Array.from({ length: 12 }, (_, i) => `big-${i}`);
    const made = names.map(name => `cp rel /outputs/${name}`).join('\n');
    const { outputs } = await o.steps.run(
      ID,
      script(
        `#!/bin/bash\nset -eu\numask 077\nprintf "%s|%s|%s|" "$PARENT_BRANCH" "$B" "$SIGNADOT_SANDBOX_NAME" >/tmp/all; cat /tmp/in/c d >>/tmp/all; cat /etc/big > rel\n${made}`,
        {
          env: { SIGNADOT_SANDBOX_NAME: 'fix $(PATH)' },
          inputs: [
            { name: 'parent-branch', value: 'main' },
            { name: 'b', value: 'bee', as: { env: 'B', path: '/tmp/in/b' } },
            { name: 'c', value: ' see\n', as: { path: '/tmp/in/c' } },
            { name: 'd', value: 'ü\n', as: { path: 'd' } },
            { name: 'e', value: big, as: { path: '/etc/big' } },
          ],
          outputs: [
            ...output('/tmp/all', 'all'),
            ...output('rel', 'rel'),
            ...names.flatMap(name => output(`/outputs/${name}`, name)),
          ],
        },
      ),
      ctx(),
    );
    assert.equal(outputs.all, 'main|bee|fix $(PATH)| see\nü\n');
    assert.equal(outputs.rel, big);
    assert.ok(names.every(name => outputs[name] === big));
    await untilNothing(o.ns, 'provision');
  });

  it('keep what a script is given and makes out of every object but the Secret, and out of the log', async () => {
    const secret = 'hush-hush-4711';
    const spec = script(
      'printf %s "$PASSWORD" > /tmp/url; while [ -e /tmp/url ] && [ ! -e /tmp/go ]; do sleep 0.1; done',
      {
        inputs: [{ name: 'password', value: secret }],
        outputs: output('/tmp/url', 'password'),
      },
    );
    const id = 'fix.db.create.secret';
    const running = o.steps.run(id, spec, ctx());
    const pod = await untilPod(o.ns, 'secret');
    const seen = await kubectl(['-n', o.ns, 'get', 'jobs,pods,events', '-o', 'yaml']);
    assert.doesNotMatch(seen.stdout, new RegExp(secret));
    await kubectl(['-n', o.ns, 'exec', pod, '-c', 'main', '--', 'touch', '/tmp/go']);
    const logs = kubectl(['-n', o.ns, 'logs', '--all-containers', '-f', pod]);
    assert.deepEqual(await running, { outputs: { password: secret } });
    const { stdout } = await logs.catch(() => ({ stdout: '' }));
    assert.doesNotMatch(
      stdout,
      new RegExp(`${secret}|${Buffer.from(secret).toString('base64').slice(0, 12)}`),
    );
    await untilNothing(o.ns, 'secret');
  });

  it('say with the last lines why a script failed, without its secrets', async () => {
    const failed = await failure(
      'fix.db.create.fail',
      script(
        'printf made-4712-made > /tmp/token; echo "the token is $TOKEN made-4712-made"; no-such-command',
        {
          inputs: [{ name: 'token', value: 'given-4711-given' }],
          outputs: output('/tmp/token', 'token'),
        },
      ),
    );
    assert.equal(failed.code, 'step/command-not-found');
    assert.equal(failed.params.command, 'no-such-command');
    assert.match(failed.output!, /^the token is \*\*\* \*\*\*$/m);
    const without = await failure('fix.db.create.interpreter', script('#!/opt/python9\nprint(1)'));
    assert.deepEqual([without.code, without.params.command], ['step/command-not-found', '/opt/python9']);
    await untilNothing(o.ns, 'fail', 'interpreter');
  });

  it('take up a Job that runs when its controller was killed, and take its outputs also when it had ended by then', async () => {
    const id = 'fix.db.create.resumed';
    const spec = script(
      'echo once >> /tmp/runs; while [ ! -e /tmp/go ]; do sleep 0.1; done; cp /tmp/runs /tmp/value',
      {
        env: { OFFSHOOT_API_KEY: 'of the first' },
        outputs: output('/tmp/value'),
      },
    );
    const next = { ...spec, env: { OFFSHOOT_API_KEY: 'of the second' } };
    for (const ended of [false, true]) {
      const stop = new AbortController();
      const first = openClusterSteps(o.options);
      const running = first.run(id, spec, ctx(stop.signal));
      const pod = await untilPod(o.ns, 'resumed');
      stop.abort(new Stopping());
      await assert.rejects(running, Stopping);
      await first.close();
      const go = () => kubectl(['-n', o.ns, 'exec', pod, '-c', 'main', '--', 'touch', '/tmp/go']);
      if (ended) {
        await go();
        await kubectl([
          '-n',
          o.ns,
          'wait',
          '--for=jsonpath={.status.phase}=Succeeded',
          `pod/${pod}`,
          '--timeout=240s',
        ]);
      }
      const second = openClusterSteps(o.options);
      assert.ok((await second.list(ctx())).includes(id));
      const again = second.run(id, next, ctx());
      if (!ended) await go();
      assert.deepEqual(await again, { outputs: { value: 'once\n' } });
      await second.close();
      await untilNothing(o.ns, 'resumed');
    }
  });

  it('begin anew when the step has become another one meanwhile, and take away what nobody wants any more', async () => {
    const id = 'fix.db.create.other';
    const stop = new AbortController();
    const running = o.steps.run(id, script('sleep 600'), ctx(stop.signal));
    await untilPod(o.ns, 'other');
    stop.abort(new Stopping());
    await assert.rejects(running, Stopping);
    const other = script('echo other > /tmp/value', { outputs: output('/tmp/value') });
    assert.deepEqual(await o.steps.run(id, other, ctx()), { outputs: { value: 'other\n' } });

    const leaving = new AbortController();
    const left = o.steps.run(id, script('sleep 600'), ctx(leaving.signal));
    await untilPod(o.ns, 'other');
    leaving.abort(new Stopping());
    await assert.rejects(left, Stopping);
    const collector = openClusterSteps(o.options);
    assert.ok((await collector.list(ctx())).includes(id));
    await collector.remove(id, ctx());
    assert.ok(!(await collector.list(ctx())).includes(id));
    await collector.close();
    await untilNothing(o.ns, 'other');
  });

  it('run in the image, the namespace and the pod that the plugin wants', async () => {
    await using own = await namespace();
    await kubectl([
      '-n',
      own.name,
      'create',
      'secret',
      'generic',
      'creds',
      '--from-literal=key=of-the-plugin',
    ]);
    await kubectl(['-n', own.name, 'create', 'serviceaccount', 'runner']);
    const podTemplateOverlay = `
      metadata: { labels: { team: data } }
      spec:
        serviceAccountName: runner
        containers:
          - name: main
            env: [{ name: KEY, valueFrom: { secretKeyRef: { name: creds, key: key } } }]
            volumeMounts: [{ name: creds, mountPath: /creds }]
            resources: { requests: { cpu: 10m } }
        volumes: [{ name: creds, secret: { secretName: creds } }]`;
    const spec = script(
      'test -s /var/run/secrets/kubernetes.io/serviceaccount/token; printf "%s %s %s" "$KEY" "$(cat /creds/key)" "$(id -u)" > /tmp/value',
      { outputs: output('/tmp/value'), runner: { image: ourImage, namespace: own.name, podTemplateOverlay } },
    );
    const { outputs } = await o.steps.run('fix.db.create.own', spec, ctx());
    assert.equal(outputs.value, 'of-the-plugin of-the-plugin 1000');
    await untilNothing(own.name);
  });

  const causes: readonly (readonly [string, Partial<StepSpec>, RegExp, RegExp])[] = [
    [
      'an image that does not exist',
      { runner: { image: '127.0.0.1:1/none:1' } },
      /^ImagePullBackOff$/,
      /127\.0\.0\.1:1\/none:1/,
    ],
    [
      'a Secret that is not there',
      {
        runner: {
          podTemplateOverlay:
            'spec: { containers: [{ name: main, env: [{ name: X, valueFrom: { secretKeyRef: { name: absent, key: x } } }] }] }',
        },
      },
      /^CreateContainerConfigError$/,
      /secret "absent" not found/,
    ],
    [
      'a namespace that does not exist',
      { runner: { namespace: 'no-such-namespace' } },
      /^Refused$/,
      /no-such-namespace/,
    ],
  ];
  for (const [i, [name, more, reason, message]] of causes.entries())
    it(`say why they do not begin: ${name}`, async () => {
      const failed = await failure(`fix.db.create.cause${i}`, script('true', more));
      assert.equal(failed.code, 'step/not-started');
      assert.match(String(failed.params.reason), reason);
      assert.match(String(failed.params.why), message);
      await untilNothing(o.ns, `cause${i}`);
    });

  it('tell what they wait for while they wait: room, and a quota; and run when it is there', async () => {
    const told: StepCause[] = [];
    const stop = new AbortController();
    const huge = script('true', {
      runner: {
        podTemplateOverlay:
          'spec: { containers: [{ name: main, resources: { requests: { memory: 900Ti } } }] }',
      },
    });
    const waiting = o.steps.run('fix.db.create.huge', huge, ctx(stop.signal), cause => told.push(cause));
    await until(() => told.find(({ reason }) => reason === 'Unschedulable'), {
      what: 'told',
      deadlineMs: 60_000,
    });
    stop.abort(new Error('the deadline'));
    await assert.rejects(waiting, {
      code: 'step/not-started',
      params: { step: 'huge', ...told.map(asParams).at(-1)! },
    });

    await using own = await namespace();
    await kubectl(['-n', own.name, 'create', 'quota', 'small', '--hard=pods=0']);
    const runner = { namespace: own.name };
    const running = o.steps.run('fix.db.create.quota', script('true', { runner }), ctx(), cause =>
      told.push(cause),
    );
    const quota = await until(() => told.find(({ reason }) => reason === 'QuotaExceeded'), {
      ...{ what: 'the quota is told', deadlineMs: 60_000 },
    });
    assert.match(quota.message, /exceeded quota: small/);
    await kubectl(['-n', own.name, 'delete', 'quota', 'small']);
    assert.deepEqual(await running, { outputs: {} });
  });

  it('say when their pod is lost, and when they take more memory than they may', async () => {
    const lost = failure('fix.db.create.lost', script('sleep 600'));
    const pod = await untilPod(o.ns, 'lost');
    await kubectl(['-n', o.ns, 'delete', 'pod', pod, '--grace-period=1', '--wait=false']);
    const gone = await lost;
    assert.equal(gone.code, 'step/interrupted');
    const greedy = await failure(
      'fix.db.create.greedy',
      script('#!/usr/local/bin/node\nconst all = []; for (;;) all.push(Buffer.alloc(2 ** 24, 1));', {
        runner: {
          podTemplateOverlay:
            'spec: { containers: [{ name: main, resources: { limits: { memory: 128Mi } } }] }',
        },
      }),
    );
    assert.equal(greedy.code, 'step/failed');
    assert.match(greedy.message, /OOMKilled|signal|137/);
    await untilNothing(o.ns, 'lost', 'greedy');
  });

  it('name the verb and the resource that they have no right to', async () => {
    await using own = await namespace();
    await kubectl(['-n', own.name, 'create', 'serviceaccount', 'weak']);
    const { stdout: token } = await kubectl(['-n', own.name, 'create', 'token', 'weak']);
    const { clusterClient } = await import('../../src/kubernetes/client.ts');
    const { kubeconfigAccess } = await import('../../src/kubernetes/access.ts');
    const { certificate: _, ...access } = await kubeconfigAccess(process.env.KUBECONFIG!, {
      env: process.env,
    });
    const tokens = { get: async () => token.trim(), refused() {} };
    const client: ClusterClient = clusterClient({ ...access, tokens });
    const steps = openClusterSteps({ ...o.options, namespace: own.name, client });
    try {
      await assert.rejects(steps.run('fix.db.create.weak', script('true'), ctx()), {
        code: 'step/not-started',
        message: new RegExp(`does not allow "list (jobs.batch|pods|events) in namespace "${own.name}"`),
      });
    } finally {
      await steps.close();
      client.close();
    }
  });
});

// --- internal ------------------------------------------------------------------------------------

type Items = {
  readonly items: readonly {
    readonly kind: string;
    readonly metadata: { readonly name: string; readonly deletionTimestamp?: string };
    readonly status?: {
      readonly containerStatuses?: readonly { readonly name: string; readonly state: object }[];
    };
  }[];
};

const asParams = ({ reason, message }: StepCause) => ({ reason, why: message });

/** Name of the pod whose script runs. */
const untilPod = (namespace: string, step: string): Promise<string> =>
  until(
    async () => {
      const { items } = await read<Items>('-n', namespace, 'get', 'pods', '-l', 'offshoot.dev/step');
      return items.find(
        ({ metadata, status }) =>
          metadata.name.startsWith(`step-fix-${step}-`) &&
          metadata.deletionTimestamp === undefined &&
          status?.containerStatuses?.some(({ name, state }) => name === 'main' && 'running' in state),
      )?.metadata.name;
    },
    { what: `the script of ${step} runs`, deadlineMs: 60_000, intervalMs: 50 },
  );
