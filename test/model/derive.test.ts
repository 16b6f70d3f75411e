import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { resolveEnv } from '../../src/model/container-env.ts';
import { deriveFork, type ForkInput, forkLabels, forkName } from '../../src/model/derive.ts';
import { OffshootError } from '../../src/model/errors.ts';
import type { Container, Deployment, Service, Workload } from '../../src/model/kubernetes.ts';
import { podMetaText } from '../../src/model/pod-meta.ts';
import type { Customizations, EnvOperation, Patch, WorkloadKey } from '../../src/model/sandbox.ts';
import { selects } from '../../src/model/service.ts';

const forkOf: WorkloadKey = { kind: 'Deployment', namespace: 'demo', name: 'users-service' };

const baseline: Deployment = deepFreeze({
  apiVersion: 'apps/v1',
  kind: 'Deployment',
  metadata: {
    name: 'users-service',
    namespace: 'demo',
    uid: '3f1c',
    resourceVersion: '77',
    generation: 4,
    creationTimestamp: '2026-01-01T00:00:00Z',
    ownerReferences: [{ uid: '1' }],
    finalizers: ['x/y'],
    managedFields: [],
    labels: { app: 'users-service', team: 'users' },
    annotations: {
      'kubectl.kubernetes.io/last-applied-configuration': '{}',
      'deployment.kubernetes.io/revision': '3',
      note: 'kept',
    },
  },
  spec: {
    replicas: 3,
    minReadySeconds: 5,
    selector: {
      matchLabels: { app: 'users-service' },
      matchExpressions: [{ key: 'tier', operator: 'Exists' }],
    },
    template: {
      metadata: {
        labels: { app: 'users-service', tier: 'backend' },
        annotations: { 'sidecar.signadot.com/inject': 'true' },
      },
      spec: {
        serviceAccountName: 'users',
        initContainers: [{ name: 'migrate', image: 'users-service:1', env: [{ name: 'STEP', value: 'up' }] }],
        containers: [
          {
            name: 'app',
            image: 'users-service:1',
            ports: [{ name: 'http', containerPort: 3000 }],
            env: [
              { name: 'PORT', value: '3000' },
              { name: 'DATABASE_URL', value: 'postgresql://main' },
              { name: 'LOG', value: 'info' },
              { name: 'DATABASE_URL', value: 'postgresql://again' },
            ],
          },
          { name: 'metrics', image: 'metrics:1' },
        ],
      },
    },
  },
  status: { replicas: 3 },
});

const input = (customizations: Customizations = {}): ForkInput => ({
  baseline,
  fork: { forkOf, customizations },
  sandboxName: 'xata-test',
  routingKey: 'k5ncuujcjllj2',
  resourceOutputs: {
    usersDb: { 'provision.connection-string': 'postgresql://u:pa$$w$(LOG)@h/db', 'provision.branch': 'b' },
  },
  forkServices: key => (key.name === 'billing' ? { Host: 'billing.demo.svc', Port: 8080 } : undefined),
});

const ours = [
  { name: 'OFFSHOOT_SANDBOX_NAME', value: 'xata-test' },
  { name: 'OFFSHOOT_ROUTING_KEY', value: 'k5ncuujcjllj2' },
  { name: 'SIGNADOT_SANDBOX_NAME', value: 'xata-test' },
  { name: 'SIGNADOT_SANDBOX_ROUTING_KEY', value: 'k5ncuujcjllj2' },
];

test('a fork without customizations', () => {
  const fork = deriveFork({ ...input(), fork: { forkOf } });
  const labels = { 'offshoot.dev/sandbox': 'xata-test', 'offshoot.dev/fork-of': 'users-service' };
  const [app, metrics] = baseline.spec.template.spec.containers;
  assert.deepEqual(fork, {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: {
      name: forkName('xata-test', forkOf),
      namespace: 'demo',
      labels,
      annotations: { note: 'kept' },
    },
    spec: {
      replicas: 1,
      minReadySeconds: 5,
      selector: { matchLabels: labels },
      template: {
        metadata: { labels, annotations: { 'sidecar.signadot.com/inject': 'true' } },
        spec: {
          ...baseline.spec.template.spec,
          containers: [{ ...app, env: [...ours, ...app!.env!] }, metrics],
        },
      },
    },
  });
});

test('the same input gives the same fork, and nothing of it is shared with the input', () => {
  const first = deriveFork(input());
  assert.deepEqual(deriveFork(input()), first);
  const shared = findShared(first, baseline);
  assert.deepEqual(shared, []);
});

test('no Service of the baseline selects a fork', () => {
  const labels = deriveFork(input()).spec.template.metadata?.labels ?? {};
  const selectors: Record<string, string>[] = [
    { app: 'users-service' },
    { tier: 'backend' },
    { app: 'users-service', tier: 'backend' },
  ];
  for (const selector of selectors) {
    const service: Service = {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 's' },
      spec: { selector },
    };
    assert.equal(selects(service, baseline.spec.template.metadata!.labels!), true);
    assert.equal(selects(service, labels), false);
  }
});

test('names of forks are labels, and different for different forks', () => {
  const name = forkName('xata-test', forkOf);
  assert.match(name, /^xata-test-dep-users-service-[0-9a-f]{8}$/);
  const others: readonly [string, WorkloadKey][] = [
    ['xata-test-dep-users', { ...forkOf, name: 'service' }],
    ['xata-test', { ...forkOf, namespace: 'prod' }],
    ['xata-test', { ...forkOf, name: 'users.service' }],
    ['x'.repeat(30), { ...forkOf, name: 'y'.repeat(253) }],
    ['x'.repeat(30), { ...forkOf, name: `${'y'.repeat(252)}z` }],
  ];
  const names = [name, ...others.map(([sandbox, key]) => forkName(sandbox, key))];
  assert.equal(new Set(names).size, names.length);
  for (const each of names) assert.match(each, /^[a-z][a-z0-9-]{0,61}[0-9a-f]$/);
});

test('labels of a fork of a workload with a long name stay label values', () => {
  const long = { ...forkOf, name: 'y'.repeat(253) };
  const { labels = {} } = deriveFork({ ...input(), fork: { forkOf: long } }).metadata;
  for (const value of Object.values(labels)) assert.match(value, /^[a-z0-9-]{1,63}$/);
});

test('images: of the main container, of a named one, of an init container', () => {
  const fork = deriveFork(
    input({
      images: [
        { image: 'users-service:2' },
        { container: 'metrics', image: 'metrics:2' },
        { container: 'migrate', image: 'users-service:2' },
      ],
    }),
  );
  const { containers, initContainers } = fork.spec.template.spec;
  assert.deepEqual(
    containers.map(c => c.image),
    ['users-service:2', 'metrics:2'],
  );
  assert.deepEqual(
    initContainers?.map(c => c.image),
    ['users-service:2'],
  );
});

const envTable: readonly (readonly [name: string, operation: EnvOperation, expected: Container['env']])[] = [
  [
    'an upsert keeps the place and removes duplicates',
    { name: 'DATABASE_URL', value: 'v' },
    [
      { name: 'PORT', value: '3000' },
      { name: 'DATABASE_URL', value: 'v' },
      { name: 'LOG', value: 'info' },
    ],
  ],
  [
    'delete removes all of the name',
    { name: 'DATABASE_URL', operation: 'delete' },
    [
      { name: 'PORT', value: '3000' },
      { name: 'LOG', value: 'info' },
    ],
  ],
  ['delete of what is not there', { name: 'NOPE', operation: 'delete' }, appEnv()],
  [
    'a new variable comes last',
    { name: 'NEW', operation: 'upsert', value: '$(PORT)' },
    [...appEnv(), { name: 'NEW', value: '$(PORT)' }],
  ],
  ['no value is the empty one', { name: 'NEW' }, [...appEnv(), { name: 'NEW', value: '' }]],
  [
    'ConfigMap',
    { name: 'NEW', valueFrom: { configMap: { name: 'm', key: 'k', optional: true } } },
    [...appEnv(), { name: 'NEW', valueFrom: { configMapKeyRef: { name: 'm', key: 'k', optional: true } } }],
  ],
  [
    'Secret',
    { name: 'NEW', valueFrom: { secret: { name: 's', key: 'k' } } },
    [...appEnv(), { name: 'NEW', valueFrom: { secretKeyRef: { name: 's', key: 'k' } } }],
  ],
  [
    'another fork',
    {
      name: 'NEW',
      valueFrom: {
        fork: {
          forkOf: { ...forkOf, name: 'billing' },
          expression: 'http://{{.Service.Host}}:{{ .Service.Port }}/x}}',
        },
      },
    },
    [...appEnv(), { name: 'NEW', value: 'http://billing.demo.svc:8080/x}}' }],
  ],
];

for (const [name, operation, expected] of envTable) {
  test(`env: ${name}`, () => {
    const [app, metrics] = deriveFork(input({ env: [operation] })).spec.template.spec.containers;
    assert.deepEqual(app?.env, [...ours, ...expected!]);
    assert.deepEqual(metrics, { name: 'metrics', image: 'metrics:1' });
  });
}

test('env: of a named container only', () => {
  const env = [
    { name: 'A', container: 'metrics', value: '1' },
    { name: 'STEP', container: 'migrate', value: 'down' },
  ];
  const { containers, initContainers } = deriveFork(input({ env })).spec.template.spec;
  assert.deepEqual(containers[0]?.env, [...ours, ...appEnv()]);
  assert.deepEqual(containers[1]?.env, [{ name: 'A', value: '1' }]);
  assert.deepEqual(initContainers?.[0]?.env, [{ name: 'STEP', value: 'down' }]);
});

test('env: an output reaches the container byte by byte, also when it looks like a reference', () => {
  const resource = { name: 'usersDb', outputKey: 'provision.connection-string' };
  const fork = deriveFork(input({ env: [{ name: 'DATABASE_URL', valueFrom: { resource } }] }));
  assert.equal(environmentOf(fork).DATABASE_URL, 'postgresql://u:pa$$w$(LOG)@h/db');
});

test('the downward API wins over customizations and can be used by them', () => {
  const env = [
    { name: 'SIGNADOT_SANDBOX_ROUTING_KEY', value: 'mine' },
    { name: 'WHERE', value: '$(OFFSHOOT_SANDBOX_NAME)/$(SIGNADOT_SANDBOX_ROUTING_KEY)' },
  ];
  const value =
    'spec: {template: {spec: {containers: [{name: app, env: [{name: OFFSHOOT_ROUTING_KEY, value: mine}]}]}}}';
  const found = environmentOf(deriveFork(input({ env, patch: { type: 'strategic', value } })));
  assert.equal(found.SIGNADOT_SANDBOX_ROUTING_KEY, 'k5ncuujcjllj2');
  assert.equal(found.OFFSHOOT_ROUTING_KEY, 'k5ncuujcjllj2');
  assert.equal(found.WHERE, 'xata-test/k5ncuujcjllj2');
});

// --- patches --------------------------------------------------------------------------------------

const patches: readonly Patch[] = [
  {
    type: 'strategic',
    value:
      'spec: {replicas: 2, template: {spec: {containers: [{name: app, image: "app:3", env: [{name: LOG, value: debug}]}]}}}',
  },
  {
    type: 'merge',
    value:
      '{"spec":{"replicas":2,"template":{"spec":{"containers":[{"name":"app","image":"app:3","env":[{"name":"LOG","value":"debug"}]}]}}}}',
  },
  {
    type: 'json',
    value: `
      - {op: test, path: /spec/template/spec/containers/0/env/2/value, value: warn}
      - {op: replace, path: /spec/template/spec/containers/0/env/2/value, value: debug}
      - {op: replace, path: /spec/template/spec/containers/0/image, value: "app:3"}
      - {op: replace, path: /spec/replicas, value: 2}`,
  },
];

for (const patch of patches) {
  test(`a ${patch.type} patch has the last word after images and env`, () => {
    const env = [{ name: 'LOG', value: 'warn' }];
    const fork = deriveFork(input({ images: [{ image: 'app:2' }], env, patch }));
    assert.equal(fork.spec.replicas, 2);
    assert.equal(fork.spec.template.spec.containers[0]?.image, 'app:3');
    assert.equal(environmentOf(fork).LOG, 'debug');
    assert.equal(environmentOf(fork).SIGNADOT_SANDBOX_NAME, 'xata-test');
  });
}

test('a patch cannot change what the fork is, but may annotate it', () => {
  const value = `
    apiVersion: v1
    kind: Pod
    metadata: {name: other, namespace: other, labels: {app: users-service}, annotations: {more: "1"}, uid: x}
    status: {ready: true}
    spec:
      selector: {matchLabels: {app: users-service}}
      template: {metadata: {name: other, labels: {app: users-service}, annotations: {pod: "1"}}}`;
  const plain = deriveFork(input());
  for (const type of ['strategic', 'merge'] as const) {
    const fork = deriveFork(input({ patch: { type, value } }));
    assert.deepEqual(fork.metadata, { ...plain.metadata, annotations: { note: 'kept', more: '1' } });
    assert.deepEqual(fork.spec.template.metadata, {
      ...plain.spec.template.metadata,
      annotations: { 'sidecar.signadot.com/inject': 'true', pod: '1' },
    });
    assert.deepEqual(
      { ...fork, metadata: 0, spec: 0 },
      { apiVersion: 'apps/v1', kind: 'Deployment', metadata: 0, spec: 0 },
    );
    assert.deepEqual(fork.spec.selector, plain.spec.selector);
  }
});

test('the main container stays the main one when a patch puts another before it', () => {
  const value = 'spec: {template: {spec: {containers: [{name: side, image: "side:1"}]}}}';
  const { containers } = deriveFork(input({ patch: { type: 'strategic', value } })).spec.template.spec;
  assert.deepEqual(
    containers.map(c => [c.name, c.env?.[0]?.name]),
    [
      ['side', undefined],
      ['app', 'OFFSHOOT_SANDBOX_NAME'],
      ['metrics', undefined],
    ],
  );
});

test('when a patch removes the main container, the first of the others gets the downward API', () => {
  const value = 'spec: {template: {spec: {containers: [{name: app, $patch: delete}]}}}';
  const { containers } = deriveFork(input({ patch: { type: 'strategic', value } })).spec.template.spec;
  assert.deepEqual(containers, [{ name: 'metrics', image: 'metrics:1', env: ours }]);
});

// --- errors -------------------------------------------------------------------------------------

const pod = (type: Patch['type'], spec: string): Customizations => ({
  patch: { type, value: `spec: {template: {spec: ${spec}}}` },
});
const expression = (text: string): Customizations => ({
  env: [{ name: 'X', valueFrom: { fork: { forkOf: { ...forkOf, name: 'billing' }, expression: text } } }],
});
const output = (name: string, outputKey: string): Customizations => ({
  env: [
    { name: 'OK', value: '' },
    { name: 'X', valueFrom: { resource: { name, outputKey } } },
  ],
});
const at = 'fork of demo/users-service, customizations';

const errors: readonly (readonly [
  name: string,
  Customizations,
  code: string,
  sentence: string,
  hint?: RegExp,
])[] = [
  [
    'image of an unknown container',
    { images: [{ container: 'ap', image: 'x' }] },
    'fork/container-unknown',
    `${at}.images[0]: Deployment "users-service" has no container "ap"`,
    /^its containers are: app, metrics, migrate; did you mean "app"\?$/,
  ],
  [
    'env of an unknown container',
    {
      env: [
        { name: 'X', value: '' },
        { name: 'X', container: 'database', value: '' },
      ],
    },
    'fork/container-unknown',
    `${at}.env[1]: Deployment "users-service" has no container "database"`,
    /^its containers are: app, metrics, migrate$/,
  ],
  [
    'unknown output',
    output('usersDb', 'provision.branhc'),
    'fork/output-missing',
    `${at}.env[1]: resource "usersDb" has no output "provision.branhc"`,
    /its outputs are: provision\.connection-string, provision\.branch; did you mean "provision\.branch"\?/,
  ],
  [
    'unknown resource',
    output('constructor', 'name'),
    'fork/output-missing',
    `${at}.env[1]: resource "constructor" has no output "name"`,
    /check spec\.resources/,
  ],
  [
    'unknown fork',
    { env: [{ name: 'X', valueFrom: { fork: { forkOf, expression: '' } } }] },
    'fork/reference-missing',
    `${at}.env[0]: no fork of Deployment demo/users-service in this sandbox answers at a Service`,
  ],
  [
    'unknown field',
    expression('a{{.Service.Name}}'),
    'fork/expression-invalid',
    `${at}.env[0].valueFrom.fork.expression: "{{.Service.Name}}" is not understood`,
  ],
  [
    'a function',
    expression('{{ .Service.Host | upper }}'),
    'fork/expression-invalid',
    `${at}.env[0].valueFrom.fork.expression: "{{ .Service.Host | upper }}" is not understood`,
  ],
  [
    'an action that is not closed',
    expression('a{{.Service.Host}}:{{.Service.Port'),
    'fork/expression-invalid',
    `${at}.env[0].valueFrom.fork.expression: "{{.Service.Port" is not understood`,
  ],
  [
    'a patch that fails',
    { patch: { type: 'json', value: '[{op: remove, path: /spec/nope}]' } },
    'fork/patch-failed',
    `${at}.patch: the json patch fails at operation 0 (remove /spec/nope): /spec/nope does not exist`,
  ],
  [
    'no containers',
    pod('merge', '{containers: []}'),
    'fork/patched-invalid',
    `${at}.patch: after the merge patch the Deployment is not valid: spec.template.spec.containers: Too small: expected array to have >=1 items`,
  ],
  [
    'a container without image',
    pod('strategic', '{containers: [{name: side}]}'),
    'fork/patched-invalid',
    `${at}.patch: after the strategic patch the Deployment is not valid: spec.template.spec.containers.0.image: Invalid input: expected string, received undefined`,
  ],
  [
    'two containers of one name',
    pod('merge', '{containers: [{name: a, image: i}, {name: a, image: i}]}'),
    'fork/patched-invalid',
    `${at}.patch: after the merge patch the Deployment is not valid: spec.template.spec.containers: two containers have the same name`,
  ],
  [
    'a number as value',
    pod('strategic', '{containers: [{name: app, env: [{name: X, value: 3000}]}]}'),
    'fork/patched-invalid',
    `${at}.patch: after the strategic patch the Deployment is not valid: spec.template.spec.containers.0.env.0.value: Invalid input: expected string, received number`,
  ],
  [
    'something else',
    { patch: { type: 'json', value: '[{op: add, path: "", value: 7}]' } },
    'fork/patched-invalid',
    `${at}.patch: after the json patch the Deployment is not valid: its top level: Invalid input: expected object, received number`,
  ],
];

for (const [name, customizations, code, sentence, hint] of errors) {
  test(`error: ${name}`, () => {
    assert.throws(
      () => deriveFork(input(customizations)),
      (error: unknown) => {
        assert(error instanceof OffshootError);
        assert.equal(error.code, code);
        assert.equal(error.message, sentence);
        if (hint !== undefined) assert.match(error.hint ?? '', hint);
        return true;
      },
    );
  });
}

// --- helpers ------------------------------------------------------------------------------------

function appEnv() {
  return [
    { name: 'PORT', value: '3000' },
    { name: 'DATABASE_URL', value: 'postgresql://main' },
    { name: 'LOG', value: 'info' },
    { name: 'DATABASE_URL', value: 'postgresql://again' },
  ];
}

function environmentOf({ metadata, spec }: Workload): Record<string, string> {
  const app = spec.template.spec.containers.find(c => c.name === 'app')!;
  const node = { name: 'box', cpus: 1, memoryBytes: 1 };
  const fields = { name: metadata.name, ip: '127.0.0.1', node, spec: spec.template.spec };
  return resolveEnv(app, metadata, { configMaps: {}, secrets: {} }, fields).env;
}

function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null) Object.values(Object.freeze(value)).forEach(deepFreeze);
  return value;
}

/** Objects that are the same in both trees. */
function findShared(a: unknown, b: unknown): readonly unknown[] {
  const inside = (value: unknown): readonly unknown[] =>
    typeof value === 'object' && value !== null ? [value, ...Object.values(value).flatMap(inside)] : [];
  const known = new Set(inside(b));
  return inside(a).filter(value => known.has(value));
}

suite('what a container reads of its own pod is what the baseline reads', () => {
  const field = (name: string, fieldPath: string) => ({ name, valueFrom: { fieldRef: { fieldPath } } });
  const asked = [
    field('SERVICE', "metadata.labels['tier']"),
    field('PRICE', "metadata.annotations['price']"),
    field('NONE', "metadata.labels['none']"),
    field('POD', 'metadata.name'),
    { name: 'ATTRIBUTES', value: 'name=$(SERVICE),price=$(PRICE)' },
  ];
  const asking = (): ForkInput => {
    const { template } = baseline.spec;
    const [app, metrics] = template.spec.containers;
    return {
      ...input(),
      baseline: {
        ...baseline,
        spec: {
          ...baseline.spec,
          template: {
            metadata: { ...template.metadata, annotations: { price: '5$(LOG)' } },
            spec: {
              initContainers: [{ ...template.spec.initContainers![0]!, env: asked }],
              containers: [
                { ...app!, env: asked },
                { ...metrics!, env: asked },
              ],
            },
          },
        },
      },
    };
  };
  const read = ({ spec }: Workload) => {
    const { template } = spec;
    const { containers, initContainers = [] } = template.spec;
    const meta = { namespace: 'demo', ...template.metadata };
    return [...initContainers, ...containers].map(container => {
      const node = { name: 'node', cpus: 1, memoryBytes: 1 };
      const pod = { name: 'pod', ip: '127.0.0.1', node, spec: template.spec };
      const { env } = resolveEnv(container, meta, { configMaps: {}, secrets: {} }, pod);
      return Object.fromEntries(asked.map(({ name }) => [name, env[name]]));
    });
  };

  test('labels and annotations, in every container', () => {
    const base = read(asking().baseline);
    assert.deepEqual(base[0], {
      SERVICE: 'backend',
      PRICE: '5$(LOG)',
      NONE: '',
      POD: 'pod',
      ATTRIBUTES: 'name=backend,price=5$(LOG)',
    });
    assert.deepEqual(read(deriveFork(asking())), base);
  });

  test('files of the downward API too, alone and among others', () => {
    const items = ["metadata.labels['tier']", 'metadata.labels', 'metadata.annotations', 'metadata.name'].map(
      fieldPath => ({ path: fieldPath, fieldRef: { fieldPath } }),
    );
    const volumes = [
      { name: 'a', downwardAPI: { items, defaultMode: 0o400 } },
      { name: 'b', projected: { sources: [{ downwardAPI: { items } }, { secret: { name: 'keys' } }] } },
    ];
    const given = asking();
    const { template } = given.baseline.spec;
    const spec = { ...template.spec, volumes };
    const asked = { ...given.baseline.spec, template: { ...template, spec } };
    const { metadata, spec: pod } = deriveFork({ ...given, baseline: { ...given.baseline, spec: asked } })
      .spec.template;
    const [a, b] = pod.volumes!;
    const files = a!.downwardAPI!.items!;
    const seen = files.map(({ fieldRef }) => podMetaText(metadata!, fieldRef!.fieldPath));
    assert.deepEqual(seen, ['backend', 'app="users-service"\ntier="backend"', 'price="5$(LOG)"', undefined]);
    assert.deepEqual([files[3], a!.downwardAPI!.defaultMode], [items[3], 0o400]);
    const again = b!.projected!.sources![0]!.downwardAPI!.items!;
    assert.equal(podMetaText(metadata!, again[0]!.fieldRef!.fieldPath), 'backend');
    assert.deepEqual(b!.projected!.sources![1], { secret: { name: 'keys' } });
    assert.deepEqual(metadata!.labels, forkLabels('xata-test', forkOf));
  });

  test('but not what a controller gives each pod, such as the name of one of the baseline', () => {
    const given = asking();
    const { template } = given.baseline.spec;
    const env = [
      field('POD', "metadata.labels['statefulset.kubernetes.io/pod-name']"),
      field('INDEX', "metadata.labels['apps.kubernetes.io/pod-index']"),
    ];
    const containers = [{ ...template.spec.containers[0]!, env }];
    const spec = {
      ...given.baseline.spec,
      template: { ...template, spec: { ...template.spec, containers } },
    };
    const statefulSet = { ...given.baseline, kind: 'StatefulSet' as const, spec };
    const fork = deriveFork({
      ...given,
      baseline: statefulSet,
      fork: { forkOf: { ...forkOf, kind: 'StatefulSet' } },
    });
    const own = fork.spec.template.spec.containers[0]!.env!.filter(({ name }) => !name.includes('_'));
    assert.deepEqual(own, env);
  });

  test('a patch may change them', () => {
    const given = asking();
    const labelled = (value: string, type: 'merge' | 'json') =>
      deriveFork({ ...given, fork: { forkOf, customizations: { patch: { type, value } } } });
    const merged = labelled('spec: {template: {metadata: {labels: {tier: null, none: "1"}}}}', 'merge');
    assert.deepEqual([read(merged)[1]!.SERVICE, read(merged)[1]!.NONE], ['', '1']);
    const added = labelled('[{op: add, path: /spec/template/metadata/labels/tier, value: front}]', 'json');
    assert.equal(read(added)[1]!.SERVICE, 'front');
    assert.deepEqual(added.spec.template.metadata!.labels, forkLabels('xata-test', forkOf));
  });
});

test('the only pod of a fork is replaced before it goes, whatever many pods may do; what must not run twice does not', () => {
  const strategyOf = (strategy: NonNullable<Workload['spec']['strategy']>) =>
    deriveFork({ ...input(), baseline: { ...baseline, spec: { ...baseline.spec, strategy } } }).spec.strategy;
  const rollingUpdate = { maxSurge: 0, maxUnavailable: 1 };
  assert.deepEqual(strategyOf({ type: 'RollingUpdate', rollingUpdate }), { type: 'RollingUpdate' });
  assert.deepEqual(strategyOf({ rollingUpdate }), undefined);
  assert.deepEqual(strategyOf({ type: 'Recreate' }), { type: 'Recreate' });
  const paused = { ...baseline, spec: { ...baseline.spec, paused: true } };
  assert.equal(deriveFork({ ...input(), baseline: paused }).spec.paused, undefined);
});

test('a fork of a StatefulSet has none of its stable names, and disks that are made of those of its first pod', () => {
  const { template } = baseline.spec;
  const claims = [
    { metadata: { name: 'data' }, spec: {} },
    { metadata: { name: 'log' }, spec: {} },
  ];
  const volumes = [
    { name: 'data', emptyDir: {} },
    { name: 'tmp', emptyDir: {} },
  ];
  const statefulSet: Workload = {
    apiVersion: 'apps/v1',
    kind: 'StatefulSet',
    metadata: { name: 'db', namespace: 'demo' },
    spec: {
      ...{ replicas: 3, serviceName: 'db', volumeClaimTemplates: claims, ordinals: { start: 2 } },
      updateStrategy: { type: 'RollingUpdate', rollingUpdate: { partition: 2 } },
      selector: { matchLabels: { app: 'db' } },
      template: { ...template, spec: { ...template.spec, volumes } },
    },
  };
  const key = { kind: 'StatefulSet', namespace: 'demo', name: 'db' } as const;
  const fork = deriveFork({ ...input(), baseline: statefulSet, fork: { forkOf: key } });
  assert.equal(fork.kind, 'StatefulSet');
  assert.match(fork.metadata.name, /^xata-test-dep-db-[0-9a-f]{8}$/);
  const { replicas, serviceName, volumeClaimTemplates, updateStrategy, ordinals } = fork.spec;
  assert.deepEqual(
    [replicas, serviceName, volumeClaimTemplates, updateStrategy, ordinals],
    [1, undefined, undefined, undefined, { start: 2 }],
  );
  assert.deepEqual(fork.spec.template.spec.volumes, [
    { name: 'tmp', emptyDir: {} },
    { name: 'data', persistentVolumeClaim: { claimName: 'data-db-2' } },
    { name: 'log', persistentVolumeClaim: { claimName: 'log-db-2' } },
  ]);
});

for (const kind of ['DaemonSet', 'ReplicaSet', 'ReplicationController', 'Rollout', 'Pod'] as const) {
  test(`a fork of a ${kind} is one of its kind, that no Service selects`, () => {
    const workload: Workload = { ...baseline, kind, apiVersion: 'x/v1' };
    const fork = deriveFork({ ...input(), baseline: workload, fork: { forkOf: { ...forkOf, kind } } });
    assert.deepEqual([fork.apiVersion, fork.kind, fork.spec.replicas], ['x/v1', kind, 1]);
    assert.deepEqual(Object.keys(fork.spec.template.metadata?.labels ?? {}), [
      'offshoot.dev/sandbox',
      'offshoot.dev/fork-of',
    ]);
  });
}
