/**
 * Controllers, gateways and a branch node that are killed at random moments of fifty creates and deletes: what was asked for is there
 * in the end, what was acknowledged is in it, and what was deleted has left nothing. And a baseline whose namespace is deleted.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { delay, until } from '../../src/lib/wait.ts';
import { apply, kubectl, namespace, noImage, ourImage, read } from '../support/cluster.ts';
import { crash } from '../support/crash.ts';
import {
  applyUsers,
  forksIn,
  type Installation,
  installation,
  sandboxOfUsers,
} from '../support/installation.ts';
import { chance } from '../support/random.ts';

const SEED = Number(process.env.TEST_SEED ?? 11);
const OPERATIONS = 50;
const roles = ['controller', 'gateway', 'branches'] as const;
const KILLS_OF_EACH = 2;
const folder = `/var/lib/offshoot-killed-${process.pid}`;

describe('an installation whose parts are killed', { skip: noImage }, () => {
  let c: Installation;
  let other: Awaited<ReturnType<typeof namespace>>;

  before(async () => {
    other = await namespace();
    c = await installation(
      ...['--set', 'branches.nodes=1', '--set', 'branches.pool=true', '--set', 'branches.poolSize=4G'],
      ...['--set', 'branches.storage.kind=hostPath', '--set', `branches.storage.path=${folder}`],
      ...['--set', `baselineNamespaces[1]=${other.name}`],
    );
    await Promise.all([c.baseline, other.name].map(name => applyUsers(name)));
    await apply([client(c.baseline), project(c.namespace)]);
    for (const name of [c.baseline, other.name])
      await kubectl(['-n', name, 'rollout', 'status', 'deployment/users', '--timeout=120s']);
    await kubectl(['-n', c.baseline, 'wait', 'pod/client', '--for=condition=Ready', '--timeout=60s']);
    await until(async () => (await branches()).length > 0 || undefined, long('the project has a main'));
    await c.kubectl('wait', 'branches', '--all', '--for=condition=Ready', '--timeout=120s');
  });
  after(async () => {
    await c
      ?.kubectl('exec', 'offshoot-branches-0', '--', 'rm', '-f', '/var/lib/offshoot/pool.img')
      .catch(() => {});
    await c?.[Symbol.asyncDispose]();
    await other?.[Symbol.asyncDispose]();
  });

  const long = (what: string) => ({ what, deadlineMs: 180_000, intervalMs: 300 });
  const branches = async () => (await read<Branches>('-n', c.namespace, 'get', 'branches')).items;
  const podsOf = async (role: (typeof roles)[number]) =>
    (await read<Pods>('-n', c.namespace, 'get', 'pods', '-l', `app.kubernetes.io/component=${role}`)).items
      .filter(({ metadata }) => metadata.deletionTimestamp === undefined)
      .map(({ metadata }) => metadata.name);
  const restarts = async () =>
    (await read<Pods>('-n', c.namespace, 'get', 'pods')).items.reduce(
      (sum, { status }) => sum + (status.containerStatuses?.[0]?.restartCount ?? 0),
      0,
    );
  /** By the gateway's Service, as a program in the cluster; on a session of its own. */
  const sql = async (id: string, text: string): Promise<string> => {
    const branch = await read<Owner>('-n', c.namespace, 'get', 'branch', id);
    const secret = branch.metadata.annotations['offshoot.dev/secret']!;
    const { data } = await read<{ data: Record<string, string> }>('-n', c.namespace, 'get', 'secret', secret);
    const { password } = JSON.parse(Buffer.from(data['offshoot.json']!, 'base64').toString()) as {
      password: string;
    };
    const at = { host: `offshoot-gateway.${c.namespace}.svc`, user: `app.${id}`, database: 'app', password };
    const args = ['-n', c.baseline, 'exec', 'client', '--', 'node', '-e', asking, JSON.stringify(at), text];
    return (await kubectl(args, { deadlineMs: 60_000 })).stdout;
  };

  it('comes to what was asked for, loses nothing, and leaves nothing', async t => {
    const dice = chance(SEED);
    t.diagnostic(`seed ${SEED}`);
    const main = (await branches()).find(({ spec }) => spec.name === 'main')!.metadata.name;
    await sql(main, 'create table t (word text)');
    const [words, sandboxes] = [new Map<string, Set<string>>(), new Set<string>()];
    let gone = 0;
    const create = async (n: number): Promise<void> => {
      if (dice.often(25)) {
        await apply([sandboxOfUsers(c, `s${n}`)]);
        sandboxes.add(`s${n}`);
      } else {
        await apply([branch(c.namespace, `brk${n}`, main)]);
        words.set(`brk${n}`, new Set());
      }
    };
    const remove = async (): Promise<void> => {
      const all = [...words.keys(), ...sandboxes];
      if (all.length === 0) return;
      const name = dice.pick(all);
      gone += 1;
      const kind = sandboxes.delete(name) ? 'sandbox' : 'branch';
      words.delete(name);
      await c.kubectl('delete', kind, name, '--wait=false');
    };
    const write = async (id: string, word: string): Promise<void> => {
      const acknowledged = await sql(id, `insert into t values ('${word}') returning word`).catch(() => '');
      if (acknowledged.includes(word)) words.get(id)?.add(word);
    };

    const kills = new Map(
      Array.from({ length: KILLS_OF_EACH * roles.length }, (_, i) => [
        Math.floor(((i + 0.5) * OPERATIONS) / (KILLS_OF_EACH * roles.length)),
        roles[i % roles.length]!,
      ]),
    );
    const before = await restarts();
    const doing: Promise<void>[] = [];
    for (let n = 0; n < OPERATIONS; n++) {
      if (dice.often(65)) await create(n);
      else await remove();
      const ids = [...words.keys()];
      if (ids.length > 0 && dice.often(40)) doing.push(write(dice.pick(ids), `w${n}`));
      const role = kills.get(n);
      // This wait is chance, not hope: where in its work the kill comes.
      if (role !== undefined) {
        await delay(dice.below(300));
        doing.push(crash(c, dice.pick(await podsOf(role)), role));
      }
    }
    await Promise.all(doing);
    assert.ok((await restarts()) - before >= 4, 'they were killed');

    for (const [id, expected] of words) {
      const found = await until(
        () => sql(id, 'select word from t').catch(() => undefined),
        long(`${id} takes sessions`),
      );
      for (const word of expected) assert.ok(found.includes(word), `${word} was acknowledged on ${id}`);
    }
    for (const name of sandboxes)
      await c.kubectl('wait', `sandbox/${name}`, '--for=condition=Ready', '--timeout=180s');
    await until(async () => {
      const there = (await branches()).map(({ metadata }) => metadata.name);
      return there.length === words.size + 1 || undefined;
    }, long('what was deleted is gone'));
    t.diagnostic(`${words.size} branches and ${sandboxes.size} sandboxes are there, ${gone} were deleted`);

    await c.kubectl('delete', 'sandboxes,branches', '--selector', 'killed=yes', '--timeout=180s');
    await c.kubectl('delete', 'sandboxes', '--all', '--timeout=180s');
    assert.deepEqual(await forksIn(c.baseline), []);
    assert.deepEqual(
      (await branches()).map(({ spec }) => spec.name),
      ['main'],
    );
    const volumes = await c.kubectl(
      ...[
        'exec',
        'offshoot-branches-0',
        '--',
        'find',
        '/run/offshoot',
        '-maxdepth',
        '4',
        '-name',
        'volume.json',
      ],
    );
    assert.equal(volumes.trim().split('\n').length, 1, volumes);
    const secrets = (await c.kubectl('get', 'secrets', '-o', 'name')).split('\n');
    assert.deepEqual(
      secrets.filter(name => /offshoot-(branch|sandbox)-/.test(name)).length,
      1,
      secrets.join(),
    );
  });

  it('gives up what stands beside a baseline whose namespace is deleted', async () => {
    await apply([sandboxOfUsers({ ...c, baseline: other.name }, 'homeless')]);
    await c.kubectl('wait', 'sandbox/homeless', '--for=condition=Ready', '--timeout=120s');
    assert.notDeepEqual(await forksIn(other.name), []);
    await kubectl(['delete', 'namespace', other.name, '--timeout=120s']);
    await until(async () => {
      const { status } = await read<Status>('-n', c.namespace, 'get', 'sandbox', 'homeless');
      const ready = status?.conditions?.find(({ type }) => type === 'Ready');
      return ready?.status === 'False' ? true : undefined;
    }, long('the sandbox says that it is not ready'));
    await c.kubectl('delete', 'sandbox', 'homeless', '--timeout=60s');
    const secrets = await c.kubectl('get', 'secrets', '-o', 'name');
    assert.doesNotMatch(secrets, /homeless/);
  });
});

// --- internal ------------------------------------------------------------------------------------

type Owner = { readonly metadata: { readonly annotations: Readonly<Record<string, string>> } };
type Branches = {
  readonly items: readonly {
    readonly metadata: { readonly name: string };
    readonly spec: { readonly name: string };
  }[];
};
type Pods = {
  readonly items: readonly {
    readonly metadata: { readonly name: string; readonly deletionTimestamp?: string };
    readonly status: { readonly containerStatuses?: readonly { readonly restartCount: number }[] };
  }[];
};
type Status = {
  readonly status?: { readonly conditions?: readonly { readonly type: string; readonly status: string }[] };
};

const project = (namespace: string) => ({
  ...{ apiVersion: 'offshoot.dev/v1alpha1', kind: 'Project', metadata: { name: 'shop', namespace } },
  spec: { database: 'app', role: 'app' },
});

const branch = (namespace: string, id: string, parent: string) => ({
  ...{ apiVersion: 'offshoot.dev/v1alpha1', kind: 'Branch' },
  metadata: { name: id, namespace, labels: { killed: 'yes' } },
  spec: { project: 'shop', parent, name: id },
});

const client = (namespace: string) => ({
  ...{ apiVersion: 'v1', kind: 'Pod', metadata: { name: 'client', namespace } },
  spec: {
    terminationGracePeriodSeconds: 0,
    containers: [
      {
        ...{ name: 'main', image: ourImage, imagePullPolicy: 'IfNotPresent' },
        command: ['node', '-e', 'setInterval(() => {}, 1000)'],
      },
    ],
  },
});

const asking = `
  const [at, text] = process.argv.slice(1);
  const { Client } = require('/app/node_modules/pg');
  const client = new Client({ ...JSON.parse(at), connectionTimeoutMillis: 30000 });
  client.on('error', error => { console.error(error.message); process.exit(1); });
  client.connect().then(() => client.query(text)).then(
    ({ rows }) => { console.log(JSON.stringify(rows)); process.exit(0); },
    error => { console.error(error.message); process.exit(1); },
  );
`;
