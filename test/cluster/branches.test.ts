/** Branches in a cluster, made by kubectl and by the API, on nodes that the chart starts; SQL goes through the gateway's Service. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { until } from '../../src/lib/wait.ts';
import { apply, kubectl, noImage, read } from '../support/cluster.ts';
import { type Installation, installation } from '../support/installation.ts';

const folder = `/var/lib/offshoot-test-${process.pid}`;

describe('branches in a cluster', { skip: noImage }, () => {
  let c: Installation;

  before(async () => {
    c = await installation(
      ...['--set', 'branches.nodes=1', '--set', 'branches.pool=true', '--set', 'branches.poolSize=4G'],
      ...['--set', 'branches.storage.kind=hostPath', '--set', `branches.storage.path=${folder}`],
    );
  });
  after(async () => {
    // The folder is the machine's.
    await node('rm', '-rf', '/var/lib/offshoot/pool.img').catch(() => {});
    await c?.[Symbol.asyncDispose]();
  });

  const node = (...command: string[]) => c.kubectl('exec', 'offshoot-branches-0', '--', ...command);
  const volumes = () => node('find', '/run/offshoot', '-maxdepth', '4', '-name', 'volume.json');
  const offshoot = (...args: string[]) =>
    c.kubectl('exec', 'deployment/offshoot-controller', '--', 'offshoot', ...args);
  const sql = (branch: string, text: string) => offshoot('sql', branch, '-p', 'shop', '-c', text);
  const branchObject = async (name: string) => {
    const { items } = await read<Branches>('-n', c.namespace, 'get', 'branches');
    return items.find(({ spec }) => spec.name === name);
  };
  const ready = async (name: string) => {
    const found = await until(() => branchObject(name), { what: name, deadlineMs: 60_000 });
    const { metadata } = found;
    await c.kubectl('wait', `branch/${metadata.name}`, '--for=condition=Ready', '--timeout=60s');
  };

  it('a project that kubectl applies has a main, its branches are copies, and its account may do that', async () => {
    await apply([project(c.namespace)]);
    await ready('main');
    await sql('main', 'create table t as select 41 as n');
    await offshoot('branch', 'create', 'fix-42', '-p', 'shop');
    await sql('fix-42', 'update t set n = n + 1');
    assert.match(await sql('fix-42', 'select n from t'), /\b42\b/);
    assert.match(await sql('main', 'select n from t'), /\b41\b/);
    const { spec } = await read<Project>('-n', c.namespace, 'get', 'project', 'shop');
    assert.equal(spec.node, 'offshoot-branches-0');
    const may = (verb: string, what: string, namespace = c.namespace) =>
      kubectl([
        ...['-n', namespace, 'auth', 'can-i', verb, what],
        `--as=system:serviceaccount:${c.namespace}:offshoot-branches`,
      ])
        .then(({ stdout }) => stdout)
        .then(
          answer => answer.trim(),
          () => 'no',
        );
    const lease = (name: string) => may('patch', `leases.coordination.k8s.io/${name}`);
    assert.deepEqual(
      [await lease('offshoot-branch-node-offshoot-branches-0'), await lease('offshoot-controller')],
      ['yes', 'no'],
    );
    // By which it could be taken for a controller.
    const kept = `${c.namespace}-offshoot-authority`;
    assert.match(
      await kubectl(['-n', kept, 'get', 'secrets', '-o', 'name']).then(({ stdout }) => stdout),
      /-authority\n.*-keys/,
    );
    const reads = ['get', 'list'].map(verb => may(verb, 'secrets', kept));
    assert.deepEqual(await Promise.all(reads), ['no', 'no']);
    assert.doesNotMatch(await c.kubectl('get', 'secrets', '-o', 'name'), /-authority|-keys/);
    const process1 = await node(
      'sh',
      '-c',
      'tr "\\0" "\\n" </proc/1/cmdline; tr "\\0" "\\n" </proc/1/environ',
    );
    assert.match(process1, /^--max-semi-space-size=2$/m);
    assert.match(process1, /^UV_THREADPOOL_SIZE=32$/m);
  });

  it('one that kubectl applies is a copy of its parent, and kubectl deletes it', async () => {
    const { metadata } = (await branchObject('main'))!;
    await apply([branch(c.namespace, 'brkube', { parent: metadata.name, name: 'by-hand' })]);
    await c.kubectl('wait', 'branch/brkube', '--for=condition=Ready', '--timeout=60s');
    assert.match(await sql('by-hand', 'select n from t'), /\b41\b/);
    await c.kubectl('delete', 'branch', 'brkube', '--timeout=60s');
    const left = await c.kubectl('get', 'secrets', '-o', 'name');
    assert.doesNotMatch(left, /branch-brkube/);
  });

  it('it sleeps without a process, is ready all the same, and whoever logs in wakes it', async () => {
    const { metadata } = (await branchObject('main'))!;
    const server = () => sql('main', 'select pg_postmaster_start_time() as since');
    const before = await server();
    await offshoot('branch', 'sleep', 'main', '-p', 'shop');
    assert.match(await offshoot('branch', 'list', '-p', 'shop'), /main .* asleep /);
    await c.kubectl('wait', `branch/${metadata.name}`, '--for=condition=Ready', '--timeout=60s');
    await offshoot('branch', 'create', 'of-asleep', '-p', 'shop');
    assert.match(await sql('of-asleep', 'select n from t'), /\b41\b/);
    assert.match(await offshoot('branch', 'list', '-p', 'shop'), /main .* asleep /);
    assert.match(await sql('main', 'select n from t'), /\b41\b/);
    assert.notEqual(await server(), before);
    await offshoot('branch', 'delete', 'of-asleep', '-p', 'shop', '--now');
  });

  it('the API tells room, sizes and logs of what nodes hold', async () => {
    assert.match(await offshoot('status'), /volumes: pool/);
    assert.match(await offshoot('doctor'), /✓ branches +offshoot-branches-0: .*pool\.img/);
    assert.match(await offshoot('branch', 'list', '-p', 'shop'), /main .* ready +\d+ MiB/);
    assert.match(await offshoot('logs', 'branch/main', '-p', 'shop'), /ready to accept connections/);
    assert.match(await offshoot('repair'), /no branch|nothing|every/i);
  });

  it('its pod deleted, and evicted as a drain does: data stay, branches come back at another address', async () => {
    for (const [what, go] of [
      ['deleted', () => c.kubectl('delete', 'pod', 'offshoot-branches-0', '--wait=false')],
      ['evicted', () => evict(c.namespace, 'offshoot-branches-0')],
    ] as const) {
      const before = await uid(c, 'offshoot-branches-0');
      await sql('main', `insert into t values (${what.length})`);
      await go();
      await until(async () => ((await uid(c, 'offshoot-branches-0')) !== before ? true : undefined), {
        ...{ what: 'another pod', deadlineMs: 90_000, intervalMs: 200 },
      });
      // The login waits.
      await until(async () => (await sql('main', 'select n from t').catch(() => undefined)) ?? undefined, {
        ...{ what: `main takes sessions after its pod was ${what}`, deadlineMs: 90_000, intervalMs: 500 },
      });
      assert.match(await sql('main', `select count(*) from t where n = ${what.length}`), /\b[12]\b/);
      assert.match(await sql('fix-42', 'select n from t'), /\b42\b/);
    }
  });

  it('with the controller gone sessions go on, and a node whose pod is replaced is found', async () => {
    const url = (await offshoot('branch', 'url', 'main', '-p', 'shop')).trim();
    await c.kubectl('scale', 'deployment/offshoot-controller', '--replicas=0');
    await c.kubectl(
      'wait',
      'pod',
      '-l',
      'app.kubernetes.io/component=controller',
      '--for=delete',
      '--timeout=60s',
    );
    await c.kubectl('delete', 'pod', 'offshoot-branches-0', '--timeout=90s');
    await until(() => select(c, url).catch(() => undefined), {
      ...{ what: 'main takes sessions without a controller', deadlineMs: 120_000, intervalMs: 500 },
    });
    await c.kubectl('scale', 'deployment/offshoot-controller', '--replicas=1');
    await c.kubectl('rollout', 'status', 'deployment/offshoot-controller', '--timeout=90s');
  });

  it('of a node that is not heard of nobody says that its branches are ready', async () => {
    const { metadata } = (await branchObject('main'))!;
    const nodes = (count: number) =>
      c.kubectl('scale', 'statefulset/offshoot-branches', `--replicas=${count}`);
    await nodes(0);
    await c.kubectl('wait', `branch/${metadata.name}`, '--for=condition=Ready=Unknown', '--timeout=150s');
    await nodes(1);
    await c.kubectl('wait', `branch/${metadata.name}`, '--for=condition=Ready', '--timeout=150s');
  });

  it('a deleted project leaves nothing', async () => {
    assert.equal((await volumes()).trim().split('\n').length, 2);
    await c.kubectl('delete', 'project', 'shop', '--timeout=50s');
    assert.equal(await c.kubectl('get', 'branches', '-o', 'name'), '');
    assert.doesNotMatch(await c.kubectl('get', 'secrets', '-o', 'name'), /offshoot-branch-/);
    assert.equal(await volumes(), '');
  });
});

// --- internal ------------------------------------------------------------------------------------

type Branches = {
  readonly items: readonly {
    readonly metadata: { readonly name: string };
    readonly spec: { readonly name: string };
  }[];
};
type Project = { readonly spec: { readonly node?: string } };

const project = (namespace: string, name = 'shop') => ({
  ...{ apiVersion: 'offshoot.dev/v1alpha1', kind: 'Project', metadata: { name, namespace } },
  spec: { database: 'app', role: 'app' },
});

const branch = (namespace: string, id: string, spec: object) => ({
  ...{ apiVersion: 'offshoot.dev/v1alpha1', kind: 'Branch', metadata: { name: id, namespace } },
  spec: { project: 'shop', ...spec },
});

/** undefined: there is none just now. */
const uid = async (c: Installation, pod: string): Promise<string | undefined> =>
  (await c.kubectl('get', 'pod', pod, '--ignore-not-found', '-o', 'jsonpath={.metadata.uid}')) || undefined;

const evict = (namespace: string, name: string) =>
  kubectl(['create', '--raw', `/api/v1/namespaces/${namespace}/pods/${name}/eviction`, '-f', '-'], {
    input: JSON.stringify({ apiVersion: 'policy/v1', kind: 'Eviction', metadata: { name, namespace } }),
  });

/** As a program in the cluster, without our command line. */
const select = (c: Installation, url: string) =>
  c.kubectl(
    ...['exec', 'deployment/offshoot-gateway', '--', 'node', '-e'],
    `const { Client } = require('/app/node_modules/pg');
     const client = new Client({ connectionString: process.argv[1] });
     client.connect().then(() => client.query('select 1')).then(() => process.exit(0), error => { console.error(error.message); process.exit(1); });`,
    url,
  );
