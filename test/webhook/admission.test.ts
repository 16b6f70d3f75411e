/** What an API server is answered: pods that asked get a sidecar and nothing else is changed, bad documents are refused. */
import assert from 'node:assert/strict';
import { request as httpsRequest } from 'node:https';
import { suite, type TestContext, test } from 'node:test';
import { openClusterAuthority } from '../../src/kubernetes/authority.ts';
import { clusterClient } from '../../src/kubernetes/client.ts';
import { silentLog } from '../../src/lib/log.ts';
import { until } from '../../src/lib/wait.ts';
import { formatProblem, type Problem } from '../../src/model/document/problem.ts';
import { checkSandbox } from '../../src/model/document/sandbox.ts';
import type { OffshootError } from '../../src/model/errors.ts';
import type { PodSpec } from '../../src/model/kubernetes.ts';
import { openAdmission } from '../../src/webhook/open.ts';
import { fakeApiServer } from '../support/fake-api-server.ts';
import { memoryBaseline } from '../support/memory-baseline.ts';

const soon = (what: string) => ({ what, deadlineMs: 20_000 });

type Response = {
  readonly allowed: boolean;
  readonly status?: { readonly code: number; readonly message: string };
  readonly warnings?: readonly string[];
  readonly patch?: string;
};

type Patched = {
  readonly metadata: { readonly annotations?: Record<string, string> };
  readonly spec: PodSpec;
};

const metadata = (name: string) => ({
  ...{ name, generateName: `${name}-` },
  labels: { app: 'users', 'pod-template-hash': '7f' },
  annotations: { 'sidecar.offshoot.dev/inject': 'true', keep: 'me' } as Record<string, string>,
  ownerReferences: [
    { apiVersion: 'apps/v1', kind: 'ReplicaSet', name: 'users-7f', uid: 'u', controller: true },
  ],
});

const users = {
  metadata: metadata('users-7f'),
  spec: {
    containers: [
      {
        name: 'main',
        image: 'users:1',
        ports: [
          { containerPort: 8080, name: 'http' },
          { containerPort: 5353, protocol: 'UDP' },
        ],
        readinessProbe: { httpGet: { path: '/ready', port: 'http' }, periodSeconds: 3 },
        livenessProbe: { tcpSocket: { port: 9090 } },
        startupProbe: { httpGet: { path: '/', port: 7777 } },
      },
    ],
    initContainers: [{ name: 'migrate', image: 'users:1' }],
    volumes: [{ name: 'own', emptyDir: {} }],
  },
} as const;

/** A webhook as the API server asks it. */
async function webhook(t: TestContext) {
  const api = await fakeApiServer();
  t.after(() => api[Symbol.asyncDispose]());
  api.put('namespaces', { metadata: { name: 'shop' } });
  api.put('namespaces', {
    metadata: { name: 'all', annotations: { 'sidecar.signadot.com/inject': 'true' } },
  });
  api.put('namespaces', {
    metadata: { name: 'strict', labels: { 'pod-security.kubernetes.io/enforce': 'restricted' } },
  });
  for (const kind of ['mutating', 'validating'])
    api.put(`${kind}webhookconfigurations.admissionregistration.k8s.io`, {
      metadata: { name: 'offshoot' },
      webhooks: [
        { name: 'a.offshoot.dev', clientConfig: { service: { name: 'x' } } },
        { name: 'b.offshoot.dev', clientConfig: {} },
      ],
    });
  const client = clusterClient(api.access);
  const authority = await openClusterAuthority({
    ...{ client, namespace: 'offshoot', name: 'authority', serverNames: ['localhost'], log: silentLog },
  });
  const { baseline } = memoryBaseline({
    ...{ apiVersion: 'v1', kind: 'Service', metadata: { name: 'users', namespace: 'shop' } },
    spec: {
      selector: { app: 'users' },
      ports: [
        { port: 80, targetPort: 'http' },
        { port: 81, targetPort: 9090 },
      ],
    },
  });
  const admission = await openAdmission({
    ...{ client, baseline, at: { host: '127.0.0.1', port: 0 }, name: 'offshoot', log: silentLog },
    signal: t.signal,
    certificate: {
      current() {
        const { certificate: cert, key } = authority.server();
        return { cert, key };
      },
      onChange: authority.onChange,
    },
    settings: {
      ...{
        image: 'offshoot:1',
        imagePullPolicy: 'IfNotPresent',
        controller: 'offshoot-controller.offshoot.svc:7490',
      },
      ...{ authorities: authority.certificates, headers: ['x-key'], logLevel: 'info' },
      resources: { requests: { cpu: '10m' } },
    },
  });
  t.after(async () => {
    await admission.close();
    await authority.close();
    client.close();
  });
  const post = (path: string, body: string | Buffer) =>
    new Promise<{ status: number; text: string }>((resolve, reject) => {
      const options = {
        host: 'localhost',
        port: admission.port,
        path,
        method: 'POST',
        ca: authority.certificates(),
      };
      const request = httpsRequest({ ...options, agent: false }, response => {
        let text = '';
        response.on('data', chunk => {
          text += chunk;
        });
        response.on('end', () => resolve({ status: response.statusCode!, text }));
        response.on('error', reject);
      });
      request.on('error', reject);
      request.end(body);
    });
  const review = async (path: string, kind: string, object: object, more: object = {}): Promise<Response> => {
    const request = {
      uid: 'u1',
      kind: { group: '', version: 'v1', kind },
      operation: 'CREATE',
      object,
      ...more,
    };
    const { status, text } = await post(path, JSON.stringify({ request }));
    assert.equal(status, 200, text);
    const { response } = JSON.parse(text) as { response: Response & { uid: string } };
    assert.equal(response.uid, 'u1');
    return response;
  };
  /** The pod as it then is. */
  const pod = async (object: object, namespace = 'shop'): Promise<Patched> => {
    const { allowed, patch } = await review('/inject', 'Pod', object, { namespace });
    assert.equal(allowed, true);
    return patched(object, patch);
  };
  return { ...{ api, authority, post, review, pod } };
}

/** Only `add` of members: all that we use of RFC 6902. */
function patched(object: object, patch: string | undefined): Patched {
  const next = structuredClone(object) as Patched;
  const operations = patch === undefined ? [] : JSON.parse(Buffer.from(patch, 'base64').toString());
  for (const { op, path, value } of operations as { op: string; path: string; value: unknown }[]) {
    assert.equal(op, 'add');
    const [, part, member] = path.split('/') as [string, 'metadata' | 'spec', string];
    (next[part] as Record<string, unknown>)[member] = value;
  }
  return next;
}

suite('pods', () => {
  test('that asked get a sidecar before their program, and probes that pass it by; all else stays', async t => {
    const { pod } = await webhook(t);
    const { metadata, spec } = await pod(users);
    const [redirect, sidecar, ...others] = spec.initContainers!;
    assert.deepEqual(others, users.spec.initContainers);
    assert.deepEqual(redirect!.args, [
      ...['redirect', '--port', '17401:8080', '--port', '17402:9090'],
      ...['--direct', '17451:8080', '--direct', '17452:9090'],
    ]);
    assert.deepEqual((redirect!.securityContext as { capabilities: object }).capabilities, {
      ...{ drop: ['ALL'], add: ['NET_ADMIN'] },
    });
    assert.equal(sidecar!.restartPolicy, 'Always');
    assert.deepEqual((sidecar!.securityContext as { capabilities: object }).capabilities, { drop: ['ALL'] });
    const args = (sidecar!.args as readonly string[]).join(' ');
    assert.match(
      args,
      /^sidecar --workload shop\/users --controller offshoot-controller\.offshoot\.svc:7490 /,
    );
    assert.match(args, / --port 17401:8080 --port 17402:9090 --header x-key$/);
    assert.deepEqual(sidecar!.startupProbe, {
      tcpSocket: { port: 17400 },
      periodSeconds: 1,
      failureThreshold: 120,
    });
    const [main] = spec.containers;
    assert.deepEqual(main, {
      ...users.spec.containers[0],
      readinessProbe: { httpGet: { path: '/ready', port: 17451 }, periodSeconds: 3 },
      livenessProbe: { tcpSocket: { port: 17452 } },
    });
    assert.deepEqual(
      spec.volumes!.map(({ name }) => name),
      ['own', 'offshoot-table', 'offshoot-token'],
    );
    assert.deepEqual(metadata.annotations, {
      ...users.metadata.annotations,
      'sidecar.offshoot.dev/status': 'injected',
    });
    assert.deepEqual(await pod({ metadata, spec }), { metadata, spec }, 'once is enough');
  });

  test('that did not ask, or said no, are not changed at all', async t => {
    const { review, pod } = await webhook(t);
    const as = (annotations: object | undefined) => ({
      ...users,
      metadata: { ...users.metadata, annotations },
    });
    for (const annotations of [
      undefined,
      {},
      { 'sidecar.offshoot.dev/inject': 'false' },
      { 'sidecar.signadot.com/inject': 'no' },
    ]) {
      const { patch } = await review('/inject', 'Pod', as(annotations), { namespace: 'shop' });
      assert.equal(patch, undefined);
    }
    const has = ({ spec }: Patched) => spec.initContainers!.length > 1;
    assert.equal(has(await pod(as({ 'sidecar.signadot.com/inject': 'true' }))), true);
    assert.equal(has(await pod(as(undefined), 'all')), true, 'the namespace has asked for all of its pods');
    assert.equal(has(await pod(as({ 'sidecar.offshoot.dev/inject': 'false' }), 'all')), false);
    assert.equal(
      has(await pod(as({ 'sidecar.offshoot.dev/inject': 'false', 'sidecar.signadot.com/inject': 'true' }))),
      false,
    );
    const { patch } = await review('/inject', 'Pod', users, { namespace: 'shop', operation: 'UPDATE' });
    assert.equal(patch, undefined);
  });

  test('that can have none say why, and start as they are', async t => {
    const { pod } = await webhook(t);
    const why = async (object: object, namespace?: string) => {
      const { metadata, spec } = await pod(object, namespace);
      assert.deepEqual(spec, (object as Patched).spec);
      return metadata.annotations!['sidecar.offshoot.dev/status'];
    };
    assert.match(
      (await why({ ...users, spec: { ...users.spec, hostNetwork: true } }))!,
      /network of its node/,
    );
    assert.match(
      (await why({ ...users, metadata: { ...users.metadata, ownerReferences: [] } }))!,
      /not of Jobs, nor bare ones/,
    );
    assert.match((await why(users, 'strict'))!, /Pod Security level "restricted"/);
    const [main] = users.spec.containers;
    const many = Array.from({ length: 41 }, (_, i) => ({ containerPort: 1000 + i }));
    const with_ = (ports: readonly object[]) => ({
      metadata: { ...users.metadata, labels: { 'pod-template-hash': '7f' } },
      spec: { ...users.spec, containers: [{ ...main, ports }] },
    });
    assert.match((await why(with_([])))!, /declares no port, and no Service leads to one/);
    assert.match((await why(with_(many)))!, /more than 40 ports/);
    const said = (ports: string) => ({
      ...users,
      metadata: {
        ...users.metadata,
        annotations: { ...users.metadata.annotations, 'sidecar.offshoot.dev/ports': ports },
      },
    });
    assert.match((await why(said('8080;1')))!, /is no list of ports/);
    const chosen = await pod(said('8080, 1234'));
    assert.match(
      (chosen.spec.initContainers![0]!.args as string[]).join(' '),
      /--port 17401:1234 --port 17402:8080/,
    );
  });

  test('whose own ports are those that we would take get others', async t => {
    const { pod } = await webhook(t);
    const [main] = users.spec.containers;
    const ports = [17_400, 17_401, 17_451].map(containerPort => ({ containerPort }));
    const { spec } = await pod({
      metadata: { ...users.metadata, labels: { 'pod-template-hash': '7f' } },
      spec: { containers: [{ ...main, ports }] },
    });
    const args = (spec.initContainers![0]!.args as string[]).join(' ');
    assert.match(args, /--port 17403:17400 --port 17404:17401 --port 17405:17451 --direct 17452:17400/);
    assert.deepEqual((spec.initContainers![1]!.startupProbe as { tcpSocket: object }).tcpSocket, {
      port: 17_402,
    });
  });
});

suite('documents', () => {
  const sandbox = (spec: object) => ({ metadata: { name: 'fix' }, spec });
  const bad = {
    cluster: 'local',
    forks: [{ forkOf: { kind: 'Deployment', namespace: 'shop', name: 'users' } }],
    endpoints: [{ name: 'a', host: 'nowhere', port: 80, protocol: 'http' }],
  };

  test('that are bad are refused with the sentences of the command line, good ones taken', async t => {
    const { review } = await webhook(t);
    const { allowed, status } = await review('/validate', 'Sandbox', sandbox(bad));
    assert.equal(allowed, false);
    let expected = '';
    try {
      checkSandbox({ name: 'fix', spec: bad });
    } catch (error) {
      const { problems, message } = error as OffshootError;
      expected = [...(problems as readonly Problem[]).map(formatProblem), message].join('\n');
    }
    assert.match(expected, /endpoints/);
    assert.equal(status!.message, expected);
    const { endpoints: _, ...good } = bad;
    const early = await review('/validate', 'Sandbox', sandbox(good));
    assert.deepEqual(
      [early.allowed, early.warnings],
      [true, ['spec.forks[0].forkOf: Deployment "users" does not exist in namespace "shop"']],
    );
    const nothing = sandbox({ cluster: 'local' });
    assert.deepEqual(await review('/validate', 'Sandbox', nothing), { uid: 'u1', allowed: true });
    const endpoint = { name: 'a', target: 'http://users.shop.svc:82' };
    const port = await review(
      '/validate',
      'Sandbox',
      sandbox({ cluster: 'local', defaultRouteGroup: { endpoints: [endpoint] } }),
    );
    assert.match(port.warnings!.join(), /82/);
    const told = await review(
      '/validate',
      'Sandbox',
      sandbox({ ...good, disableSandboxTrafficManager: true }),
    );
    assert.deepEqual([told.allowed, told.warnings?.length], [true, 2]);
    const plugin = { metadata: { name: 'db.1.2.0' }, spec: { create: [{ name: 'a', uses: 'branch/none' }] } };
    const refused = await review('/validate', 'ResourcePlugin', plugin);
    assert.deepEqual([refused.allowed, /branch\/none|uses/.test(refused.status!.message)], [false, true]);
  });

  test('that were taken before can have their status, and go', async t => {
    const { review } = await webhook(t);
    const update = { operation: 'UPDATE', oldObject: sandbox(bad) };
    const withStatus = { ...sandbox(bad), status: { ready: true } };
    assert.equal((await review('/validate', 'Sandbox', withStatus, update)).allowed, true);
    const changed = sandbox({ ...bad, description: 'x' });
    assert.equal((await review('/validate', 'Sandbox', changed, update)).allowed, false);
    const leaves = { ...changed, metadata: { name: 'fix', deletionTimestamp: '2030-01-01T00:00:00Z' } };
    assert.equal((await review('/validate', 'Sandbox', leaves, update)).allowed, true);
  });
});

suite('the server', () => {
  test('tells the API server whom it asks, again when somebody has put back what was there', async t => {
    const { api, authority } = await webhook(t);
    const caBundle = Buffer.from(authority.certificates()).toString('base64');
    const bundles = (kind: string) => {
      const resource = `${kind}webhookconfigurations.admissionregistration.k8s.io`;
      const { webhooks } = api.get(resource, '/offshoot') as unknown as {
        webhooks: { clientConfig: { caBundle?: string } }[];
      };
      return webhooks.map(({ clientConfig }) => clientConfig.caBundle);
    };
    for (const kind of ['mutating', 'validating'])
      await until(() => bundles(kind).every(one => one === caBundle) || undefined, soon(kind));
  });

  test('answers nothing but reviews, of a length that can be', async t => {
    const { post } = await webhook(t);
    assert.equal((await post('/elsewhere', '{}')).status, 404);
    assert.equal((await post('/toString', '{}')).status, 404);
    assert.equal((await post('/inject', 'no JSON')).status, 400);
    assert.equal((await post('/inject', '{"request":{"uid":1}}')).status, 400);
    const long = await post('/inject', Buffer.alloc(9 * 1024 * 1024, 0x20)).catch(() => ({ status: 413 }));
    assert.equal(long.status, 413);
    const odd = { request: { uid: 'u', kind: { kind: 'Pod' }, operation: 'CREATE', object: { spec: 7 } } };
    assert.equal((await post('/inject', JSON.stringify(odd))).status, 200);
  });
});
