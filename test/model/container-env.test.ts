import assert from 'node:assert/strict';
import { test } from 'node:test';
import { expandCommand, literal, resolveEnv } from '../../src/model/container-env.ts';
import type { Container, EnvVar } from '../../src/model/kubernetes.ts';

const meta = { namespace: 'demo', labels: { app: 'users', 'a/b': 'c' }, annotations: { note: 'n' } };
const sidecar: Container = { name: 'sidecar', image: 's', resources: { requests: { memory: '1.5Gi' } } };
const fields = {
  name: 'users-0',
  ip: '127.0.0.1',
  node: { name: 'box', cpus: 4, memoryBytes: 8 * 1024 ** 3 },
  spec: { containers: [sidecar], serviceAccountName: 'users' },
};
const refs = {
  configMaps: { 'demo/settings': { level: 'debug', mode: 'a' }, 'other/settings': { level: 'no' } },
  secrets: { 'demo/db': { url: 'postgresql://$(HOST)/', mode: 'b' } },
};
const resolve = (container: Partial<Container>, inherited = {}) =>
  resolveEnv({ name: 'main', image: 'i', ...container }, meta, refs, fields, inherited);

const configMap = (name: string, key: string, optional?: boolean): EnvVar => ({
  name: 'X',
  valueFrom: { configMapKeyRef: { name, key, ...(optional !== undefined && { optional }) } },
});
const secret = (name: string, key: string, optional?: boolean): EnvVar => ({
  name: 'X',
  valueFrom: { secretKeyRef: { name, key, ...(optional !== undefined && { optional }) } },
});
const field = (fieldPath: string): EnvVar => ({ name: 'X', valueFrom: { fieldRef: { fieldPath } } });

const resource = (name: string, divisor?: string, containerName?: string): EnvVar => ({
  name: 'X',
  valueFrom: {
    resourceFieldRef: {
      resource: name,
      ...(divisor && { divisor }),
      ...(containerName && { containerName }),
    },
  },
});

const variables: readonly (readonly [
  name: string,
  variable: EnvVar,
  value: string | undefined,
  missing?: string,
])[] = [
  ['plain', { name: 'X', value: 'v' }, 'v'],
  ['without value', { name: 'X' }, ''],
  ['ConfigMap', configMap('settings', 'level'), 'debug'],
  ['Secret, not expanded', secret('db', 'url'), 'postgresql://$(HOST)/'],
  ['a value wins over valueFrom', { ...secret('db', 'url'), value: 'v' }, 'v'],
  ['an empty value does not', { ...secret('db', 'mode'), value: '' }, 'b'],
  ['absent ConfigMap', configMap('nope', 'level'), undefined, 'ConfigMap "demo/nope" (env X)'],
  ['absent key', configMap('settings', 'nope'), undefined, 'key "nope" of ConfigMap "demo/settings" (env X)'],
  ['absent Secret', secret('nope', 'url'), undefined, 'Secret "demo/nope" (env X)'],
  ['absent key of a Secret', secret('db', 'nope'), undefined, 'key "nope" of Secret "demo/db" (env X)'],
  ['absent ConfigMap, optional', configMap('nope', 'level', true), undefined],
  ['absent key, optional', secret('db', 'nope', true), undefined],
  ['optional, but there', secret('db', 'mode', true), 'b'],
  [
    'names of Object.prototype',
    configMap('settings', 'constructor'),
    undefined,
    'key "constructor" of ConfigMap "demo/settings" (env X)',
  ],
  ['pod name', field('metadata.name'), 'users-0'],
  ['namespace', field('metadata.namespace'), 'demo'],
  ['label', field("metadata.labels['a/b']"), 'c'],
  ['annotation', field("metadata.annotations['note']"), 'n'],
  ['absent label', field("metadata.labels['x']"), ''],
  ['pod address', field('status.podIP'), '127.0.0.1'],
  ['host address', field('status.hostIP'), '127.0.0.1'],
  ['node', field('spec.nodeName'), 'box'],
  ['uid', field('metadata.uid'), '3c38771f-cdf8-15f9-0435-16722445398c'],
  ['service account', field('spec.serviceAccountName'), 'users'],
  ['pod addresses', field('status.podIPs'), '127.0.0.1'],
  ['unknown field', field('spec.nope'), undefined, 'field "spec.nope" (env X)'],
  ['resource that nobody limits', resource('limits.cpu'), '4'],
  ['resource of another container', resource('requests.memory', '1Mi', 'sidecar'), '1536'],
  ['unknown resource', resource('limits.gpu'), undefined, 'resource "limits.gpu" (env X)'],
  [
    'resource of no container',
    resource('limits.cpu', '1', 'nope'),
    undefined,
    'resource "limits.cpu" (env X)',
  ],
];

for (const [name, variable, value, missing] of variables) {
  test(`env: ${name}`, () => {
    const expected = {
      env: value === undefined ? {} : { X: value },
      missing: missing === undefined ? [] : [missing],
    };
    assert.deepEqual(resolve({ env: [variable] }), expected);
  });
}

test('envFrom: in order, with prefix, weaker than env', () => {
  const { env, missing } = resolve({
    envFrom: [
      { configMapRef: { name: 'settings' } },
      { secretRef: { name: 'db' } },
      { prefix: 'P_', configMapRef: { name: 'settings' } },
      { configMapRef: { name: 'nope', optional: true } },
    ],
    env: [{ name: 'level', value: '$(mode)/$(level)' }],
  });
  assert.deepEqual(missing, []);
  assert.deepEqual(env, {
    level: 'b/debug',
    mode: 'b',
    url: 'postgresql://$(HOST)/',
    P_level: 'debug',
    P_mode: 'a',
  });
});

test('envFrom: what is absent is said', () => {
  const { missing } = resolve({
    envFrom: [{ secretRef: { name: 'nope' } }, { configMapRef: { name: 'no' } }],
  });
  assert.deepEqual(missing, ['Secret "demo/nope" (envFrom)', 'ConfigMap "demo/no" (envFrom)']);
});

test('a later variable of the same name wins and may use the earlier', () => {
  const env = [
    { name: 'A', value: '1' },
    { name: 'A', value: '$(A)2' },
  ];
  assert.deepEqual(resolve({ env }).env, { A: '12' });
});

test('a variable named __proto__ is a variable', () => {
  const { env } = resolve({ env: [{ name: '__proto__', value: 'v' }] });
  assert.deepEqual(Object.entries(env), [['__proto__', 'v']]);
});

const expansions: readonly (readonly [text: string, expanded: string])[] = [
  ['$(A)', 'a'],
  ['x$(A)y$(B)z', 'xaybz'],
  ['$(LATER)', '$(LATER)'],
  ['$(UNKNOWN)', '$(UNKNOWN)'],
  ['$(S)', 'service'],
  ['$(constructor)', '$(constructor)'],
  ['$$(A)', '$(A)'],
  ['$$$(A)', '$a'],
  ['$$$$(A)', '$$(A)'],
  ['$A $', '$A $'],
  ['$(A', '$(A'],
  ['$()', '$()'],
  ['$($(A))', '$($(A))'],
  ['$(TWICE)', '$(A)'],
];

for (const [text, expanded] of expansions) {
  test(`$(NAME): ${text} becomes ${expanded}`, () => {
    const env = [
      { name: 'A', value: 'a' },
      { name: 'B', value: 'b' },
      { name: 'TWICE', value: '$$(A)' },
      { name: 'X', value: text },
      { name: 'LATER', value: 'l' },
    ];
    const resolved = resolve({ env }, { S: 'service', A: 'inherited' }).env;
    assert.equal(resolved.X, expanded);
    assert.equal('S' in resolved, false);
  });
}

test('expandCommand uses the finished environment', () => {
  assert.deepEqual(expandCommand(['run', '--port=$(PORT)', '$$(PORT)', '$(NO)'], { PORT: '80' }), [
    'run',
    '--port=80',
    '$(PORT)',
    '$(NO)',
  ]);
});

test('literal text survives expansion', () => {
  for (const text of ['$(A)', '$$(A)', 'a$b$$c$', '$$$']) {
    assert.deepEqual(expandCommand([literal(text)], { A: 'a' }), [text]);
  }
});
