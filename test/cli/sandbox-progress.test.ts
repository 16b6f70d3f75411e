import assert from 'node:assert/strict';
import { test } from 'node:test';
import { applySteps, deleteSteps } from '../../src/cli/sandbox-progress.ts';
import type { SandboxView } from '../../src/model/view.ts';

type Status = SandboxView['status'];

const users = { kind: 'Deployment', namespace: 'demo', name: 'users' } as const;
const spec = { cluster: 'local', resources: [{ name: 'db', plugin: 'table' }], forks: [{ forkOf: users }] };

const view = (status: Partial<Status>, generation = 1): SandboxView => ({
  name: 'x',
  spec,
  routingKey: 'key',
  endpoints: [],
  status: {
    ready: false,
    failed: false,
    reason: '',
    message: 'goes',
    observedGeneration: 1,
    conditions: [],
    resources: [],
    forks: [],
    ...status,
  },
  generation,
  createdAt: '',
  updatedAt: '',
});

const resource = (more: Partial<Status['resources'][number]> = {}): Status['resources'][number] => ({
  name: 'db',
  plugin: 'table',
  ready: false,
  failed: false,
  workflow: 'create',
  steps: [],
  ...more,
});

const fork = (more: Partial<Status['forks'][number]> = {}): Status['forks'][number] => ({
  name: 'users',
  forkOf: users,
  ready: false,
  reason: 'Starting',
  message: 'starts',
  restarts: 0,
  ports: {},
  ...more,
});

const brief = (status: Partial<Status>, generation?: number) =>
  applySteps(view(status, generation)).map(s => `${s.state} ${s.label}${s.detail ? `: ${s.detail}` : ''}`);

test('a sandbox that nobody has looked at yet', () => {
  assert.deepEqual(brief({}), ['waiting resource db', 'waiting fork demo/users', 'waiting endpoints']);
});

test('the steps of a resource, then the forks, then the endpoints', () => {
  const steps = [
    { name: 'make', state: 'succeeded', ms: 12 },
    { name: 'fill', state: 'running' },
  ] as const;
  assert.deepEqual(brief({ resources: [resource({ steps })], forks: [fork()] }), [
    'done resource db: make',
    'running resource db: fill',
    'waiting fork demo/users',
    'waiting endpoints',
  ]);
  assert.equal(applySteps(view({ resources: [resource({ steps })] }))[0]!.ms, 12);
  const resources = [resource({ ready: true })];
  assert.deepEqual(brief({ resources, forks: [fork()] }), [
    'done resource db',
    'running fork demo/users: starts',
    'waiting endpoints',
  ]);
  const conditions = [
    { type: 'EndpointsReady', status: 'True', reason: '', message: '', lastTransitionTime: '' },
  ] as const;
  assert.deepEqual(brief({ resources, forks: [fork({ ready: true })], conditions }), [
    'done resource db',
    'done fork demo/users',
    'done endpoints',
  ]);
});

test('what failed, with the reason', () => {
  const steps = [{ name: 'make', state: 'failed' }] as const;
  const failed = { failed: true, message: 'no luck' };
  assert.deepEqual(brief({ resources: [resource({ ...failed, steps })], failed: true }), [
    'failed resource db: make: no luck',
    'waiting fork demo/users',
    'waiting endpoints',
  ]);
  assert.equal(
    brief({ resources: [resource({ ...failed, workflow: 'delete' })] })[0],
    'failed resource db: no luck',
  );
  const resources = [resource({ ready: true })];
  assert.equal(brief({ resources, forks: [fork()], failed: true })[1], 'failed fork demo/users: starts');
});

test('a fork of an earlier generation is not done', () => {
  const seen = { resources: [resource({ ready: true })], forks: [fork({ ready: true })] };
  assert.equal(brief(seen, 2)[1], 'running fork demo/users: starts');
});

test('deleting: the delete steps of the resources, then the sandbox', () => {
  const first = view({});
  const steps = [{ name: 'drop', state: 'running' }] as const;
  const going = view({ resources: [resource({ workflow: 'delete', steps }), resource({ name: 'other' })] });
  assert.deepEqual(
    deleteSteps(going, first).map(s => `${s.state} ${s.label}`),
    ['running resource db: drop', 'running sandbox x removed'],
  );
  assert.deepEqual(deleteSteps(undefined, first), [{ label: 'sandbox x removed', state: 'done' }]);
});
