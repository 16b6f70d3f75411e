import assert from 'node:assert/strict';
import { describe } from 'node:test';
import { storeBaseline } from '../../src/baseline/store-baseline.ts';
import { silentLog } from '../../src/lib/log.ts';
import type { Container, Manifest, Volume } from '../../src/model/kubernetes.ts';
import type { Fork } from '../../src/model/sandbox.ts';
import { forkRunner, rootUsesOf } from '../../src/reconcile/forks.ts';
import { dataCondition } from '../../src/reconcile/root-uses.ts';
import { createBranch } from '../../src/rules/branches.ts';
import {
  applied,
  configMap,
  defaultProject,
  deploy,
  deployment,
  fork,
  install,
  tablePlugin,
} from '../support/documents.ts';
import { memoryWorld } from '../support/memory-drivers.ts';
import { it, testStore } from '../support/stores.ts';

type Env = NonNullable<Container['env']>;

/** What leads to `main` from a fork of a workload with such a container. `MAIN` in a text stands for the id of main. */
async function usesOf(
  container: Partial<Container>,
  {
    change = fork('users'),
    volumes = [],
    more = [],
    outputs = {},
  }: {
    change?: Fork;
    volumes?: readonly Volume[];
    more?: readonly Manifest[];
    outputs?: Record<string, string>;
  } = {},
) {
  const store = testStore();
  const main = await defaultProject(store);
  const other = await createBranch(store, { project: 'default', name: 'fix', parent: 'main' });
  const filled = <T>(part: T): T =>
    JSON.parse(JSON.stringify(part).replaceAll('MAIN', main.name).replaceAll('FIX', other.name));
  const users = deployment('users', filled(container));
  const { template } = users.spec;
  const spec = { ...template.spec, volumes };
  await deploy(store, ...filled(more), {
    ...users,
    spec: { ...users.spec, template: { ...template, spec } },
  });
  await install(store, 'table', tablePlugin);
  const sandbox = await applied(store, 'sb', {
    resources: [{ name: 'db', plugin: 'table' }],
    forks: [filled(change)],
  });
  const early = rootUsesOf({ store, baseline: storeBaseline(store) }, sandbox);
  const made = { state: 'succeeded', startedAt: '', outputs: filled(outputs) } as const;
  const now = (await store.modify('sandbox', 'sb', ({ secret }) => ({
    secret: {
      ...secret,
      resources: { db: { ...secret.resources.db!, phase: 'created', create: { make: made } } },
    },
  })))!;
  const runner = forkRunner({ store, baseline: storeBaseline(store), workloads: memoryWorld().workloads });
  const forks = await runner.ensure(now, { signal: AbortSignal.timeout(60_000), log: silentLog });
  await store.close();
  return { early, what: (forks[0]?.sharesData ?? []).map(u => u.what), condition: dataCondition(forks) };
}

const env = (values: Readonly<Record<string, string>>): Env =>
  Object.entries(values).map(([name, value]) => ({ name, value }));

describe('what leads to main', () => {
  const url = 'postgresql://app.MAIN:pw@127.0.0.1:7432/app';

  it('is told at once, in the status, and with what to do', async () => {
    const { early, what, condition } = await usesOf({ env: env({ DATABASE_URL: url, COLOUR: 'red' }) });
    assert.deepEqual(what, ['DATABASE_URL']);
    assert.deepEqual(early, [condition?.message]);
    assert.deepEqual(condition, {
      type: 'DataIsolated',
      status: 'False',
      reason: 'UsesMain',
      message:
        'fork of demo/users: DATABASE_URL leads to main of project default, as in the baseline, so all see what it writes; give the sandbox a branch and override it',
    });
  });

  const secret: Manifest = {
    ...{ apiVersion: 'v1', kind: 'Secret', metadata: { name: 'db', namespace: 'demo' } },
    data: { url, 'pgpass.conf': '*:*:*:app.MAIN:pw' },
  };
  const forms: readonly (readonly [string, Partial<Container>, readonly string[]])[] = [
    ['PGHOST and PGUSER', { env: env({ PGHOST: '127.0.0.1', PGUSER: 'app.MAIN' }) }, ['PGUSER']],
    ['PGOPTIONS', { env: env({ PGOPTIONS: '-c offshoot.branch=MAIN' }) }, ['PGOPTIONS']],
    ['a database', { env: env({ DB: 'app@MAIN' }) }, ['DB']],
    ['a host', { env: env({ HOST: 'MAIN.localhost' }) }, ['HOST']],
    ['an escaped URL', { env: env({ U: 'postgresql://app%2eMAIN:x@h/d' }) }, ['U']],
    ['a Secret', { env: [{ name: 'A', valueFrom: { secretKeyRef: { name: 'db', key: 'url' } } }] }, ['A']],
    ['envFrom', { envFrom: [{ prefix: 'P_', configMapRef: { name: 'cfg' } }] }, ['P_URL']],
    ['another variable', { env: env({ ID: 'MAIN', URL: 'postgresql://app.$(ID)@h/d' }) }, ['ID', 'URL']],
    ['arguments', { args: ['--dsn', url] }, ['the command of container main']],
  ];
  for (const [how, container, expected] of forms) {
    it(`is found in ${how}`, async () => {
      const more = [secret, configMap('cfg', { URL: url, KIND: 'x' })];
      assert.deepEqual((await usesOf(container, { more })).what, expected);
    });
  }

  it('is found in mounted files', async () => {
    const volumes: readonly Volume[] = [
      { name: 'a', secret: { secretName: 'db' } },
      { name: 'b', projected: { sources: [{ configMap: { name: 'cfg' } }] } },
    ];
    const more = [secret, configMap('cfg', { 'app.yaml': `url: ${url}` })];
    const { what } = await usesOf({}, { volumes, more });
    assert.deepEqual(what, [
      'file url of Secret db',
      'file pgpass.conf of Secret db',
      'file app.yaml of ConfigMap cfg',
    ]);
  });

  it('is nothing when an override replaces it, also by a value that is not there yet', async () => {
    const output = { resource: { name: 'db', outputKey: 'make.id' } };
    for (const value of [output, 'postgresql://app.FIX:pw@127.0.0.1:7432/app']) {
      const { early, condition } = await usesOf(
        { env: env({ DATABASE_URL: url }) },
        { change: fork('users', { DATABASE_URL: value }), outputs: { id: 'postgresql://app.FIX:x@h/d' } },
      );
      assert.deepEqual([early, condition], [[], undefined]);
    }
  });

  it('is what an override brings, too, once it is known', async () => {
    const change = fork('users', { URL: { resource: { name: 'db', outputKey: 'make.id' } } });
    const { early, what } = await usesOf({}, { change, outputs: { id: url } });
    assert.deepEqual([early, what], [[], ['URL']]);
  });
});
