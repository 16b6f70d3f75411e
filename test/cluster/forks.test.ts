/** Forks as a real cluster runs them: from the first pod to the last trace, and every way to fail that users meet. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { openClusterForks } from '../../src/drivers/cluster/forks.ts';
import type { Ctx, WorkloadDriver, WorkloadSeen, WorkloadSpec } from '../../src/drivers/contract.ts';
import { kubeconfigAccess } from '../../src/kubernetes/access.ts';
import { type ClusterClient, clusterClient } from '../../src/kubernetes/client.ts';
import { silentLog } from '../../src/lib/log.ts';
import { until } from '../../src/lib/wait.ts';
import { deriveFork } from '../../src/model/derive.ts';
import type { Container, Workload } from '../../src/model/kubernetes.ts';
import { contextName, kubectl, namespace, noImage, ourImage, read } from '../support/cluster.ts';

const ctx = (): Ctx => ({ signal: AbortSignal.timeout(60_000), log: silentLog });

describe('forks on a cluster', { skip: noImage }, () => {
  let ns: Awaited<ReturnType<typeof namespace>>;
  let client: ClusterClient;
  let forks: WorkloadDriver;

  before(async () => {
    ns = await namespace();
    const access = await kubeconfigAccess(process.env.KUBECONFIG!, {
      ...(contextName !== undefined && { context: contextName }),
      env: process.env,
    });
    client = clusterClient(access);
    // Each run is an installation of its own.
    forks = await openClusterForks({ client, installation: ns.name, log: silentLog });
  });
  after(async () => {
    await forks.close();
    client.close();
    await ns[Symbol.asyncDispose]();
  });

  const untilSeen = (id: string, what: string, is: (seen: WorkloadSeen) => boolean) =>
    until(
      async () => {
        const seen = await forks.observe(id, ctx());
        return seen !== undefined && is(seen) ? seen : undefined;
      },
      { what, deadlineMs: 60_000 },
    );

  it('run beside their baseline, follow a change without a gap, and leave nothing', async () => {
    const id = 'sb-fix.x.web';
    const of = (word: string, sandbox = 'fix') => specOf(ns.name, sandbox, server(word));
    await forks.ensure(id, of('one'), ctx());
    const first = await untilSeen(id, 'the first is ready', seen => seen.ready);
    const [address] = first.ports[8080]!;
    assert.equal(await ask(ns.name, address!), 'one');

    await forks.ensure(id, of('two'), ctx());
    const second = await untilSeen(
      id,
      'the second is ready',
      seen => seen.ready && seen.specHash !== first.specHash,
    );
    assert.deepEqual(second.ports, first.ports, 'its address stays');
    assert.equal(await ask(ns.name, address!), 'two');
    const said = forks.logs(id, { lines: 10 }, ctx());
    assert.deepEqual(
      (await Array.fromAsync(said)).map(({ text }) => text),
      ['two listens'],
    );

    await forks.remove(id, ctx());
    const { items } = await read<{ items: object[] }>(
      '-n',
      ns.name,
      'get',
      'deployments,replicasets,pods,services,secrets',
      '-l',
      'offshoot.dev/fork',
    );
    assert.deepEqual(items, []);
  });

  const failures: readonly (readonly [string, Partial<Container>, string, RegExp, RegExp?])[] = [
    [
      'an image that does not exist',
      { image: '127.0.0.1:1/none:1', imagePullPolicy: 'IfNotPresent' },
      'ErrImagePull|ImagePullBackOff',
      /127\.0\.0\.1:1\/none:1/,
    ],
    [
      'a program that ends',
      { command: ['node', '-e', "console.log('no DATABASE_URL'); process.exit(3)"] },
      'CrashLoopBackOff',
      /container "main" ended with exit code 3/,
      /no DATABASE_URL/,
    ],
    [
      'no node with that much memory',
      { resources: { requests: { memory: '900Ti' } } },
      'Unschedulable',
      /Insufficient memory/,
    ],
    [
      'a Secret that is not there',
      { env: [{ name: 'X', valueFrom: { secretKeyRef: { name: 'absent', key: 'x' } } }] },
      'CreateContainerConfigError',
      /secret "absent" not found/,
    ],
    [
      'a command that is not there',
      { command: ['no-such-program'] },
      'RunContainerError|CrashLoopBackOff',
      /no-such-program/,
    ],
  ];
  for (const [name, container, reason, message, log] of failures)
    it(`say why they do not run: ${name}`, async () => {
      const sandbox = `f${failures.findIndex(([other]) => other === name)}`;
      const id = `sb-${sandbox}.x.web`;
      await forks.ensure(id, specOf(ns.name, sandbox, container), ctx());
      const seen = await untilSeen(
        id,
        `the cause of "${name}"`,
        one => new RegExp(`^(${reason})$`).test(one.reason) && (log === undefined || one.log.length > 0),
      );
      assert.match(seen.message, message);
      if (log !== undefined) assert.match(seen.log.join('\n'), log);
      assert.deepEqual([seen.ready, seen.serving], [false, false]);
      await forks.remove(id, ctx());
    });

  it('say why they do not run: a quota', async () => {
    await using own = await namespace();
    await kubectl(['-n', own.name, 'create', 'quota', 'small', '--hard=pods=0']);
    const id = 'sb-quota.x.web';
    await forks.ensure(id, specOf(own.name, 'quota', server('x')), ctx());
    const seen = await untilSeen(id, 'the cause', one => one.reason === 'QuotaExceeded');
    assert.match(seen.message, /exceeded quota: small/);
    await forks.remove(id, ctx());
  });
});

// --- internal ------------------------------------------------------------------------------------

const server = (word: string): Partial<Container> => ({
  command: [
    'node',
    '-e',
    `require('node:http').createServer((_, answer) => answer.end('${word}')).listen(8080, () => console.log('${word} listens'));
     process.on('SIGTERM', () => process.exit());`,
  ],
  readinessProbe: { tcpSocket: { port: 8080 }, periodSeconds: 1 },
});

function specOf(namespace: string, sandboxName: string, container: Partial<Container>): WorkloadSpec {
  const baseline: Workload = {
    ...{ apiVersion: 'apps/v1', kind: 'Deployment' },
    metadata: { name: 'web', namespace, labels: { app: 'web' } },
    spec: {
      replicas: 2,
      selector: { matchLabels: { app: 'web' } },
      template: {
        metadata: { labels: { app: 'web' } },
        spec: {
          terminationGracePeriodSeconds: 2,
          containers: [
            {
              name: 'main',
              image: ourImage,
              imagePullPolicy: 'IfNotPresent',
              ports: [{ containerPort: 8080 }],
              ...container,
            },
          ],
        },
      },
    },
  };
  const workload = deriveFork({
    ...{ baseline, fork: { forkOf: { kind: 'Deployment', namespace, name: 'web' } }, sandboxName },
    ...{ routingKey: 'k', resourceOutputs: {}, forkServices: () => undefined },
  });
  return {
    ...{ owner: `sandbox/${sandboxName}`, workload, images: {}, network: { env: {}, hosts: [], ports: [] } },
    refs: { configMaps: {}, secrets: {}, binary: { configMaps: {}, secrets: {} } },
  };
}

/** From the fork's own pod: this machine may have no way to the cluster's addresses. */
async function ask(
  namespace: string,
  { host, port }: { readonly host: string; readonly port: number },
): Promise<string> {
  const script = `fetch('http://${host}:${port}/').then(answer => answer.text()).then(console.log)`;
  const [pod] = (await read<Pods>('-n', namespace, 'get', 'pods', '-l', 'offshoot.dev/fork')).items.filter(
    ({ metadata }) => metadata.deletionTimestamp === undefined,
  );
  const { stdout } = await kubectl(['-n', namespace, 'exec', pod!.metadata.name, '--', 'node', '-e', script]);
  return stdout.trim();
}

type Pods = {
  readonly items: readonly {
    readonly metadata: { readonly name: string; readonly deletionTimestamp?: string };
  }[];
};
