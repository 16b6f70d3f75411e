/** Sidecars in a cluster: keys lead to forks through the Service of the baseline, whatever restarts, and nothing else changes. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { ExecError } from '../../src/lib/exec.ts';
import { until } from '../../src/lib/wait.ts';
import { apply, kubectl, noImage, ourImage, read, testLabels } from '../support/cluster.ts';
import { type Installation, installation } from '../support/installation.ts';

const soon = (what: string) => ({ what, deadlineMs: 90_000, intervalMs: 200 });

type Condition = {
  readonly type: string;
  readonly status: string;
  readonly reason: string;
  readonly message: string;
};
type Sandbox = {
  readonly metadata: { readonly annotations: Readonly<Record<string, string>> };
  readonly status?: { readonly conditions?: readonly Condition[] };
};
type Pods = {
  readonly items: readonly {
    readonly metadata: {
      readonly name: string;
      readonly deletionTimestamp?: string;
      readonly annotations?: Readonly<Record<string, string>>;
    };
    readonly spec: { readonly initContainers?: readonly { readonly name: string }[] };
  }[];
};

describe('sidecars in a cluster', { skip: noImage }, () => {
  let c: Installation;
  let key: string;

  before(async () => {
    c = await installation();
    await apply([program(c.baseline), service(c.baseline), client(c.baseline)]);
    await kubectl(['-n', c.baseline, 'wait', 'pod/client', '--for=condition=Ready', '--timeout=60s']);
    await rolledOut();
  });
  after(() => c?.[Symbol.asyncDispose]());

  const rolledOut = () =>
    kubectl(['-n', c.baseline, 'rollout', 'status', 'deployment/users', '--timeout=90s'], {
      deadlineMs: 100_000,
    });
  const podsOf = async (selector: string) =>
    (await read<Pods>('-n', c.baseline, 'get', 'pods', '-l', selector)).items.filter(
      ({ metadata }) => metadata.deletionTimestamp === undefined,
    );
  const sandbox = (name = 'fix') => read<Sandbox>('-n', c.namespace, 'get', 'sandbox', name);
  const keyOf = async (name: string): Promise<string> => {
    const secret = (await sandbox(name)).metadata.annotations['offshoot.dev/secret']!;
    const { data } = await read<{ data: Record<string, string> }>('-n', c.namespace, 'get', 'secret', secret);
    return JSON.parse(Buffer.from(data['offshoot.json']!, 'base64').toString()).routingKey;
  };
  const ready = async () =>
    (await sandbox()).status?.conditions?.find(({ type }) => type === 'Ready') ?? ({} as Partial<Condition>);
  const inClient = async <T>(script: string, ...args: readonly string[]): Promise<T> => {
    const at = ['-n', c.baseline, 'exec', 'client', '--', 'node', '-e', script, ...args];
    return JSON.parse((await kubectl(at)).stdout) as T;
  };

  it('come into pods that ask, and a sandbox of a baseline without says so', async () => {
    const annotate = (value: string) =>
      kubectl([
        ...['-n', c.baseline, 'patch', 'deployment', 'users', '--type=merge', '-p'],
        `{"spec":{"template":{"metadata":{"annotations":{"sidecar.offshoot.dev/inject":"${value}"}}}}}`,
      ]);
    await annotate('false');
    await rolledOut();
    await apply([fork(c)]);
    const said = await until(async () => {
      const condition = await ready();
      return condition.reason === 'NoSidecar' ? condition : undefined;
    }, soon('the sandbox says it'));
    assert.equal(said.status, 'False');
    assert.match(
      said.message!,
      /the baseline has no sidecar .*annotate its pod template with sidecar\.offshoot\.dev\/inject: "true"/,
    );

    await annotate('true');
    await rolledOut();
    const [pod] = await podsOf('app=users');
    assert.deepEqual(
      pod!.spec.initContainers?.map(({ name }) => name),
      ['offshoot-redirect', 'offshoot-sidecar'],
    );
    assert.equal(pod!.metadata.annotations!['sidecar.offshoot.dev/status'], 'injected');
    await c.kubectl('wait', 'sandbox/fix', '--for=condition=Ready', '--timeout=90s');
    key = await keyOf('fix');
  });

  it('lead HTTP/1.1, WebSocket and HTTP/2 by key, and pass on what is not HTTP', async () => {
    assert.deepEqual(await inClient(everyProtocol, `users.${c.baseline}.svc`, key), {
      http: { without: 'baseline', with: 'fork' },
      upgraded: { without: 'baseline', with: 'fork' },
      http2: { without: 'baseline', with: 'fork' },
      tcp: 'hello of baseline',
    });
  });

  it('never lead a key to the baseline nor others to the fork: pods come and go, and the controller is killed', async () => {
    const asking = inClient<Record<string, Record<string, number>>>(churn, `users.${c.baseline}.svc`, key);
    await kubectl(['-n', c.baseline, 'rollout', 'restart', 'deployment/users']);
    await rolledOut();
    const killed = ['-l', 'app.kubernetes.io/component=controller', '--grace-period=0', '--force'];
    await c.kubectl('delete', 'pods', ...killed);
    // A pod that starts while nobody adds a sidecar has none; those that run go on.
    await c.kubectl('rollout', 'status', 'deployment/offshoot-controller', '--timeout=60s');
    await kubectl(['-n', c.baseline, 'rollout', 'restart', 'deployment/users']);
    await rolledOut();
    await kubectl(['-n', c.baseline, 'exec', 'client', '--', 'touch', '/tmp/enough']);
    const seen = await asking;
    const about = JSON.stringify(seen);
    assert.equal(seen.with!['200 baseline'], undefined, about);
    assert.equal(seen.without!['200 fork'], undefined, about);
    assert.ok(seen.with!['200 fork']! > 0 && seen.without!['200 baseline']! > 0, about);
  });

  it('lead to forks of an Argo Rollout, by its definition alone', async () => {
    await using stack = new AsyncDisposableStack();
    stack.defer(async () => void (await kubectl(['delete', 'crd', 'rollouts.argoproj.io', '--timeout=60s'])));
    await apply([rolloutDefinition]);
    await kubectl(['wait', 'crd/rollouts.argoproj.io', '--for=condition=Established', '--timeout=60s']);
    const [first, second] = rollout(c.baseline);
    await apply([first]);
    const { metadata } = await read<Owner>('-n', c.baseline, 'get', 'rollout', 'rolled');
    await apply([second(metadata.uid), { ...service(c.baseline), ...rolledService(c.baseline) }]);
    const wanted = { kind: 'Rollout', namespace: c.baseline, name: 'rolled' };
    const customizations = { env: [{ name: 'WHO', value: 'fork' }] };
    const spec = { cluster: 'local', forks: [{ forkOf: wanted, customizations }] };
    await apply([{ ...fork(c), metadata: { name: 'rolled', namespace: c.namespace }, spec }]);
    // The controller looks for a definition that was not there every half minute.
    await c.kubectl('wait', 'sandbox/rolled', '--for=condition=Ready', '--timeout=120s');
    const its = await keyOf('rolled');
    assert.deepEqual((await inClient<{ http: object }>(onlyHttp, `rolled.${c.baseline}.svc`, its)).http, {
      ...{ without: 'baseline', with: 'fork' },
    });
    await c.kubectl('delete', 'sandbox', 'rolled', '--timeout=60s');
  });

  it('are missed without harm: no controller, and pods start as they are', async () => {
    const scale = (replicas: number) =>
      c.kubectl('scale', 'deployment/offshoot-controller', `--replicas=${replicas}`);
    await c.kubectl('rollout', 'status', 'deployment/offshoot-controller', '--timeout=60s');
    await scale(0);
    await c.kubectl(
      'wait',
      'pods',
      '-l',
      'app.kubernetes.io/component=controller',
      '--for=delete',
      '--timeout=60s',
    );
    // Those that run go on by what they know.
    assert.deepEqual((await inClient<{ http: object }>(everyProtocol, `users.${c.baseline}.svc`, key)).http, {
      ...{ without: 'baseline', with: 'fork' },
    });
    await kubectl(['-n', c.baseline, 'delete', 'pods', '-l', 'app=users', '--wait=false']);
    await rolledOut();
    const pods = await podsOf('app=users');
    assert.ok(
      pods.some(({ spec }) => spec.initContainers === undefined),
      JSON.stringify(pods.map(({ spec }) => spec.initContainers)),
    );
    await scale(1);
    await c.kubectl('rollout', 'status', 'deployment/offshoot-controller', '--timeout=60s');
    await until(
      async () => ((await ready()).reason === 'NoSidecar' ? true : undefined),
      soon('it is said again'),
    );
  });

  it('have a neighbour that refuses bad documents with the sentences of the command line', async () => {
    const bad = {
      ...fork(c),
      spec: { ...fork(c).spec, endpoints: [{ name: 'a', host: 'nowhere', port: 80, protocol: 'http' }] },
    };
    // The one who refuses has just come back.
    const refusal = await until(async () => {
      try {
        return void (await apply([bad], '--dry-run=server'));
      } catch (error) {
        return (error as ExecError).stderr;
      }
    }, soon('it is refused'));
    assert.match(refusal, /admission webhook "documents\.offshoot\.dev" denied the request: .*endpoints/s);
  });
});

// --- internal ------------------------------------------------------------------------------------

const container = (script: string) => ({
  ...{ name: 'main', image: ourImage, imagePullPolicy: 'IfNotPresent' },
  command: ['node', '-e', script],
});

/** Answers with what it is, over HTTP/1.1 and after an upgrade (8080), HTTP/2 (8081), and as the first to speak (8082). */
const program = (namespace: string) => ({
  apiVersion: 'apps/v1',
  kind: 'Deployment',
  metadata: { name: 'users', namespace },
  spec: {
    replicas: 2,
    selector: { matchLabels: { app: 'users' } },
    template: {
      metadata: { labels: { app: 'users' }, annotations: { 'sidecar.offshoot.dev/inject': 'true' } },
      spec: {
        terminationGracePeriodSeconds: 3,
        containers: [
          {
            ...container(serving),
            env: [{ name: 'WHO', value: 'baseline' }],
            ports: [{ containerPort: 8080, name: 'http' }, { containerPort: 8081 }, { containerPort: 8082 }],
            readinessProbe: { httpGet: { path: '/', port: 'http' }, periodSeconds: 1 },
          },
        ],
      },
    },
  },
});

const service = (namespace: string) => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name: 'users', namespace },
  spec: {
    selector: { app: 'users' },
    ports: [
      { name: 'web', port: 80, targetPort: 'http' },
      { name: 'h2', port: 81, targetPort: 8081 },
      { name: 'other', port: 82, targetPort: 8082 },
    ],
  },
});

const client = (namespace: string) => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: 'client', namespace },
  spec: { containers: [container('setInterval(() => {}, 1000)')], terminationGracePeriodSeconds: 0 },
});

const fork = ({ namespace, baseline }: Installation) => ({
  apiVersion: 'offshoot.dev/v1alpha1',
  kind: 'Sandbox',
  metadata: { name: 'fix', namespace },
  spec: {
    cluster: 'local',
    forks: [
      {
        forkOf: { kind: 'Deployment', namespace: baseline, name: 'users' },
        customizations: { env: [{ name: 'WHO', value: 'fork' }] },
      },
    ],
  },
});

/** As far as we read it; what controls them cannot be had here. */
const rolloutDefinition = {
  ...{ apiVersion: 'apiextensions.k8s.io/v1', kind: 'CustomResourceDefinition' },
  metadata: { name: 'rollouts.argoproj.io', labels: testLabels },
  spec: {
    ...{ group: 'argoproj.io', scope: 'Namespaced' },
    names: {
      kind: 'Rollout',
      listKind: 'RolloutList',
      plural: 'rollouts',
      singular: 'rollout',
      shortNames: ['ro'],
    },
    versions: [
      {
        ...{ name: 'v1alpha1', served: true, storage: true, subresources: { status: {} } },
        schema: { openAPIV3Schema: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true } },
      },
    ],
  },
};

type Owner = { readonly metadata: { readonly uid: string } };

/** A Rollout of the same program, and the ReplicaSet that its controller would make of it. */
function rollout(namespace: string): readonly [object, (uid: string) => object] {
  const { spec } = program(namespace);
  const { template } = spec;
  const of = { app: 'rolled', 'rollouts-pod-template-hash': '7d9f8c6b5' };
  const podsOf = (labels: object) => ({ ...template, metadata: { ...template.metadata, labels } });
  const own = { replicas: 1, selector: { matchLabels: { app: 'rolled' } } };
  const strategy = { canary: { steps: [{ setWeight: 20 }, { pause: {} }] } };
  const ofRollout = (uid: string) => [
    { apiVersion: 'argoproj.io/v1alpha1', kind: 'Rollout', name: 'rolled', uid, controller: true },
  ];
  return [
    {
      ...{ apiVersion: 'argoproj.io/v1alpha1', kind: 'Rollout', metadata: { name: 'rolled', namespace } },
      spec: { ...own, strategy, template: podsOf({ app: 'rolled' }) },
    },
    uid => ({
      ...{ apiVersion: 'apps/v1', kind: 'ReplicaSet' },
      metadata: { name: 'rolled-7d9f8c6b5', namespace, ownerReferences: ofRollout(uid) },
      spec: { replicas: 1, selector: { matchLabels: of }, template: podsOf(of) },
    }),
  ];
}

const rolledService = (namespace: string) => ({
  metadata: { name: 'rolled', namespace },
  spec: { selector: { app: 'rolled' }, ports: [{ name: 'web', port: 80, targetPort: 'http' }] },
});

const onlyHttp = `
  const [host, key] = process.argv.slice(1);
  const ask = headers => fetch('http://' + host, { headers }).then(answer => answer.text());
  (async () => console.log(JSON.stringify({
    http: { without: await ask({}), with: await ask({ baggage: 'sd-routing-key=' + key }) },
  })))();
`;

const serving = `
  const { WHO } = process.env;
  const web = require('node:http').createServer((_, answer) => answer.end(WHO));
  web.on('upgrade', (_, socket) => {
    socket.on('error', () => {});
    socket.write('HTTP/1.1 101 Switching Protocols\\r\\nConnection: upgrade\\r\\nUpgrade: websocket\\r\\n\\r\\n');
    socket.on('data', () => socket.end(WHO));
  });
  web.listen(8080);
  require('node:http2').createServer((_, answer) => answer.end(WHO)).listen(8081);
  require('node:net').createServer(socket => socket.on('error', () => {}).end('hello of ' + WHO)).listen(8082);
  process.on('SIGTERM', () => setTimeout(() => process.exit(), 1000));
`;

const everyProtocol = `
  const [host, key] = process.argv.slice(1);
  const http = require('node:http'), http2 = require('node:http2'), net = require('node:net');
  const baggage = { baggage: 'sd-routing-key=' + key };
  const text = stream => new Promise((resolve, reject) => {
    let all = '';
    stream.on('data', chunk => { all += chunk; }).on('end', () => resolve(all)).on('error', reject);
  });
  const plain = headers => fetch('http://' + host, { headers }).then(answer => answer.text());
  const upgraded = headers => new Promise((resolve, reject) => {
    const request = http.request({ host, headers: { ...headers, connection: 'upgrade', upgrade: 'websocket' } });
    request.on('upgrade', (_, socket) => { socket.write('who?'); text(socket).then(resolve, reject); });
    request.on('error', reject);
    request.end();
  });
  const overHttp2 = headers => {
    const session = http2.connect('http://' + host + ':81');
    const stream = session.request(headers);
    return text(stream).finally(() => session.close());
  };
  const both = async ask => ({ without: await ask({}), with: await ask(baggage) });
  (async () => console.log(JSON.stringify({
    http: await both(plain),
    upgraded: await both(upgraded),
    http2: await both(overHttp2),
    tcp: await text(net.connect({ host, port: 82 })),
  })))();
`;

/** Asks until a file is there; each time on a new connection. Counts what it is answered, with and without a key. */
const churn = `
  const [host, key] = process.argv.slice(1);
  const http = require('node:http');
  const seen = { with: {}, without: {} };
  const ask = headers => new Promise(resolve => {
    const request = http.get({ host, headers, agent: false, timeout: 5000 }, answer => {
      let text = '';
      answer.on('data', chunk => { text += chunk; });
      answer.on('close', () => resolve(answer.statusCode + (answer.statusCode === 200 ? ' ' + text : '')));
      answer.on('error', () => {});
    });
    request.on('timeout', () => request.destroy());
    request.on('error', error => resolve(error.code ?? 'error'));
  });
  const count = (where, what) => { where[what] = (where[what] ?? 0) + 1; };
  (async () => {
    while (!require('node:fs').existsSync('/tmp/enough')) {
      count(seen.with, await ask({ baggage: 'sd-routing-key=' + key }));
      count(seen.without, await ask({}));
    }
    console.log(JSON.stringify(seen));
  })();
`;
