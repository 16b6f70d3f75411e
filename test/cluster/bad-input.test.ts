/**
 * What people get wrong, and what clusters do not allow: each is a condition that names the cause, and an event on the object,
 * which `kubectl describe` shows. All of it with the rights that the chart gives.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { ExecError } from '../../src/lib/exec.ts';
import { until } from '../../src/lib/wait.ts';
import { apply, helm, kubectl, namespace, noImage, ourImage, read } from '../support/cluster.ts';
import {
  applyUsers,
  chart,
  type Installation,
  imageValues,
  installation,
  removeObjects,
  sandboxOfUsers,
} from '../support/installation.ts';

describe('bad input in a cluster', { skip: noImage }, () => {
  let c: Installation;
  const closing = new AsyncDisposableStack();
  /** A namespace of the baseline, too, in which no pod may be. */
  let full: Awaited<ReturnType<typeof namespace>>;

  before(async () => {
    full = closing.use(await namespace());
    await kubectl(['-n', full.name, 'create', 'quota', 'small', '--hard=pods=0']);
    c = closing.use(
      await installation(
        ...['--set', 'controller.replicas=1', '--set', 'gateway.replicas=1'],
        ...['--set', `baselineNamespaces[1]=${full.name}`],
      ),
    );
    const workloads = [
      workload(c.baseline, 'plain', {}),
      workload(c.baseline, longName, { 'sidecar.offshoot.dev/inject': 'true' }),
      workload(full.name, 'none', {}, 0),
    ];
    await Promise.all([applyUsers(c.baseline), apply(workloads)]);
  });
  after(() => closing.disposeAsync());

  const fork = (name: string, namespace = c.baseline, customizations: object = {}) => ({
    forks: [{ forkOf: { kind: 'Deployment', namespace, name }, customizations }],
  });
  const sandbox = (name: string, spec: object) => ({
    ...{ apiVersion: 'offshoot.dev/v1alpha1', kind: 'Sandbox', metadata: { name, namespace: c.namespace } },
    spec: { cluster: 'local', ...spec },
  });

  const cases: readonly {
    readonly name: string;
    readonly spec: () => object;
    readonly reason: RegExp;
    readonly message: () => RegExp;
  }[] = [
    {
      name: 'no-such-deployment',
      spec: () => fork('user'),
      reason: /^SandboxBaselineMissing$/,
      message: () => new RegExp(`Deployment "user" does not exist in namespace "${c.baseline}"`),
    },
    {
      name: 'a-namespace-not-read',
      spec: () => fork('users', 'default'),
      reason: /^SandboxBaselineUnread$/,
      message: () => /namespace "default" is none of those that this installation may fork/,
    },
    {
      name: 'no-sidecar',
      spec: () => fork('plain'),
      reason: /^NoSidecar$/,
      message: () => /the baseline has no sidecar .*kubectl rollout restart/,
    },
    {
      name: 'no-such-image',
      spec: () => fork('users', c.baseline, { images: [{ image: '127.0.0.1:1/none:1' }] }),
      reason: /^(ErrImagePull|ImagePullBackOff)$/,
      message: () => /127\.0\.0\.1:1\/none:1/,
    },
    {
      name: 'a-quota',
      spec: () => fork('none', full.name),
      reason: /^QuotaExceeded$/,
      message: () => /exceeded quota: small/,
    },
  ];
  for (const { name, spec, reason, message } of cases)
    it(`is a condition and an event: ${name}`, async () => {
      await apply([sandbox(name, spec())]);
      await said(c, name, reason, message());
      await c.kubectl('delete', 'sandbox', name, '--timeout=60s');
    });

  it('names verb and resource of a right that is missing, and goes on when it is there', async () => {
    const [role] = await rolesOf(c.baseline);
    const without = role!.rules.map(rule => ({
      ...rule,
      verbs: rule.verbs.filter(verb => verb !== 'create'),
    }));
    const put = (rules: object) =>
      kubectl([
        ...['-n', c.baseline, 'patch', 'role', role!.metadata.name, '--type=merge'],
        ...['-p', JSON.stringify({ rules })],
      ]);
    await put(without);
    await apply([sandboxOfUsers(c, 'no-right')]);
    await said(
      c,
      'no-right',
      /^KubernetesForbidden$/,
      // Both are asked for at once.
      new RegExp(`does not allow "create (deployments\\.apps|services) "[^"]+" in namespace "${c.baseline}"`),
    );
    await put(role!.rules);
    await c.kubectl('wait', 'sandbox/no-right', '--for=condition=Ready', '--timeout=120s');
    await c.kubectl('delete', 'sandbox', 'no-right', '--timeout=60s');
  });

  it('is a namespace that may not be read any more: a controller that starts goes on with the others, and names the right', async () => {
    const [binding] = (await read<Named>('-n', full.name, 'get', 'rolebindings')).items;
    await kubectl(['-n', full.name, 'delete', 'rolebinding', binding!.metadata.name]);
    await c.kubectl('rollout', 'restart', 'deployment/offshoot-controller');
    await c.kubectl('rollout', 'status', 'deployment/offshoot-controller', '--timeout=120s');
    await apply([sandboxOfUsers(c, 'readable'), sandbox('unreadable', fork('none', full.name))]);
    await c.kubectl('wait', 'sandbox/readable', '--for=condition=Ready', '--timeout=120s');
    await said(
      c,
      'unreadable',
      /^SandboxBaselineUnread$/,
      new RegExp(`does not allow "(list|watch) [a-z.]+ in namespace "${full.name}"`),
    );
    const { metadata, roleRef, subjects } = binding!;
    const { name, namespace } = metadata;
    await apply([
      {
        ...{ apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'RoleBinding', metadata: { name, namespace } },
        ...{ roleRef, subjects },
      },
    ]);
    await said(c, 'unreadable', /^QuotaExceeded$/, /exceeded quota: small/);
    await c.kubectl('delete', 'sandbox', 'readable', 'unreadable', '--timeout=60s');
  });

  it('is none where only a name is too long for a label; one that is too long for a sandbox is refused', async () => {
    await apply([sandbox('long', fork(longName))]);
    await c.kubectl('wait', 'sandbox/long', '--for=condition=Ready', '--timeout=120s');
    const { items } = await read<Objects>(
      '-n',
      c.baseline,
      'get',
      'deployments',
      '-l',
      'offshoot.dev/sandbox=long',
    );
    const values = items.flatMap(({ metadata }) => Object.values(metadata.labels ?? {}));
    assert.ok(
      values.every(value => value.length <= 63),
      values.join(' '),
    );
    await c.kubectl('delete', 'sandbox', 'long', '--timeout=60s');
    await assert.rejects(
      apply([sandbox('s'.repeat(31), fork('users'))]),
      error => error instanceof ExecError && /it has more than 30 characters/.test(error.stderr),
    );
  });

  it('is a second installation: in the same namespace it waits, and for the same baseline sandboxes say whose sidecars there are', async () => {
    await using other = await namespace();
    const second = (name: string, at: string, ...values: string[]) =>
      helm([
        ...['install', name, chart, '-n', at, '--skip-crds', '--set', 'controller.replicas=1'],
        ...['--set', 'gateway.replicas=0', '--set-json', `baselineNamespaces=["${c.baseline}"]`],
        ...[...imageValues(), ...values],
      ]);
    // Its clock is wrong besides.
    await second(
      'second',
      c.namespace,
      '--set-json',
      `controller.env=${JSON.stringify({ NODE_OPTIONS: slowClock })}`,
    );
    await second('offshoot', other.name);
    try {
      await eventOf(
        c.namespace,
        'second',
        /another installation decides in namespace .* \(Lease "offshoot-controller"\)/,
      );
      await eventOf(c.namespace, 'second', /the clock of this machine is 20 minutes behind the API server's/);
      await kubectl([
        '-n',
        other.name,
        'rollout',
        'status',
        'deployment/offshoot-controller',
        '--timeout=120s',
      ]);
      // Neither did anything to the first.
      await apply([sandboxOfUsers(c, 'both')]);
      await c.kubectl('wait', 'sandbox/both', '--for=condition=Ready', '--timeout=120s');
      await apply([sandboxOfUsers({ ...c, namespace: other.name }, 'both')]);
      await said({ ...c, namespace: other.name }, 'both', /^ForkNameTaken$/, /is not ours|taken|belongs/);
      await apply([sandboxOfUsers({ ...c, namespace: other.name }, 'alone')]);
      await said(
        { ...c, namespace: other.name },
        'alone',
        /^OtherInstallation$/,
        /the sidecars of .* follow another installation/,
      );
      await c.kubectl('delete', 'sandbox', 'both', '--timeout=60s');
    } finally {
      await removeObjects(other.name);
      await helm(['uninstall', 'second', '-n', c.namespace]);
      await helm(['uninstall', 'offshoot', '-n', other.name]);
    }
  });
});

// --- internal ------------------------------------------------------------------------------------

/** For Node in a pod: its clock is 20 minutes behind. */
const slowClock = `--import=data:text/javascript,${encodeURIComponent(
  'const Now = Date; globalThis.Date = class extends Now { constructor(...at) { at.length ? super(...at) : super(Now.now() - 12e5); } static now() { return Now.now() - 12e5; } }',
)}`;

/** As long as a Deployment's name may be; a label has 63 characters. */
const longName = `long-${'name-'.repeat(20)}end`;

type Condition = {
  readonly type: string;
  readonly status: string;
  readonly reason: string;
  readonly message: string;
};
type SandboxObject = { readonly status?: { readonly conditions?: readonly Condition[] } };
type Objects = {
  readonly items: readonly { readonly metadata: { readonly labels?: Readonly<Record<string, string>> } }[];
};

/** Both the condition `Ready` and an event of the sandbox say so. */
async function said(c: Installation, name: string, reason: RegExp, message: RegExp): Promise<void> {
  await until(
    async () => {
      const { status } = await read<SandboxObject>('-n', c.namespace, 'get', 'sandbox', name);
      const ready = status?.conditions?.find(({ type }) => type === 'Ready');
      if (ready?.status !== 'False' || !reason.test(ready.reason)) return undefined;
      assert.match(ready.message, message);
      return ready;
    },
    { what: `the cause of ${name}`, deadlineMs: 90_000, intervalMs: 200 },
  );
  const about = [
    'get',
    'events',
    '--field-selector',
    `involvedObject.name=${name},involvedObject.kind=Sandbox`,
  ];
  await until(
    async () => {
      const { items } = await read<Events>('-n', c.namespace, ...about);
      return items.find(
        one => one.type === 'Warning' && reason.test(one.reason) && message.test(one.message),
      );
    },
    { what: `the event of ${name}`, deadlineMs: 30_000, intervalMs: 200 },
  );
}

/** Of a pod of the controller of an installation. */
const eventOf = (namespace: string, installation: string, message: RegExp) =>
  until(
    async () => {
      const about = ['get', 'events', '--field-selector', 'involvedObject.kind=Pod'];
      const { items } = await read<Events>('-n', namespace, ...about);
      return items.find(
        one => one.involvedObject.name.startsWith(`${installation}-controller-`) && message.test(one.message),
      );
    },
    { what: `an event of ${installation}'s controller: ${message}`, deadlineMs: 90_000, intervalMs: 200 },
  );

type Events = {
  readonly items: readonly {
    readonly type: string;
    readonly reason: string;
    readonly message: string;
    readonly involvedObject: { readonly name: string };
  }[];
};

async function rolesOf(namespace: string) {
  const { items } = await read<Roles>('-n', namespace, 'get', 'roles');
  return items;
}

type Named = {
  readonly items: readonly {
    readonly metadata: { readonly name: string; readonly namespace: string };
    readonly roleRef: object;
    readonly subjects: readonly object[];
  }[];
};

type Roles = {
  readonly items: readonly {
    readonly metadata: { readonly name: string };
    readonly rules: readonly { readonly verbs: readonly string[] }[];
  }[];
};

/** @param annotations of its pods */
const workload = (namespace: string, name: string, annotations: object, replicas = 1) => ({
  ...{ apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name, namespace } },
  spec: {
    replicas,
    selector: { matchLabels: { app: name.slice(0, 63) } },
    template: {
      metadata: { labels: { app: name.slice(0, 63) }, annotations },
      spec: {
        terminationGracePeriodSeconds: 1,
        containers: [
          {
            ...{ name: 'main', image: ourImage, imagePullPolicy: 'IfNotPresent' },
            command: [
              'node',
              '-e',
              "process.on('SIGTERM', () => process.exit()); require('node:http').createServer((_, answer) => answer.end('x')).listen(8080)",
            ],
            ports: [{ containerPort: 8080 }],
          },
        ],
      },
    },
  },
});
