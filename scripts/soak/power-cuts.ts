/**
 * Machines of a cluster lose their power, one after the other: that of a branch node, that of the controller that decides,
 * that of a fork; then the API server is away for a minute. Clients ask all the time, and what they were answered is told.
 *
 * It needs a lab with three machines, which it brings up unless there is one:
 * `OFFSHOOT_LAB=FOLDER LAB_HOME=FOLDER LAB_NODES=3 npm run soak -- power-cuts`, as root.
 */
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { exec } from '../../src/lib/exec.ts';
import { delay, until } from '../../src/lib/wait.ts';
import type { Installation } from '../../test/support/installation.ts';
import type { Asked, PodLoad, PodWay } from '../../test/support/pod-load.ts';
import { chooseCluster } from '../kubernetes/cluster.ts';
import { labHome } from '../kubernetes/lab.ts';
import { exactly, type Finding, none, type Scenario, told } from './scenario.ts';

/** Folder of the branch node's volume, on its machine. */
const VOLUME = '/var/lib/offshoot-power-cuts';
const AWAY_MS = 60_000;
/** Where the clients are, and how long they wait. */
const besides = { pod: { nodeName: 'node-1' }, patienceMs: 5_000 };

export const powerCuts: Scenario = {
  about:
    'machines of a cluster lose their power, and its API server is away for a minute: what comes of each request and each branch',
  deadlineMs: 40 * 60_000,
  async missing() {
    if (!process.env.OFFSHOOT_LAB) return 'it needs a lab: OFFSHOOT_LAB names its folder';
    return process.getuid?.() === 0 ? undefined : 'a lab needs root';
  },
  async run(_share, signal) {
    process.env.LAB_NODES ??= '3';
    const cluster = await chooseCluster(sentence => console.error(sentence), signal);
    if (typeof cluster === 'string') throw new Error(cluster);
    await using stack = new AsyncDisposableStack();
    stack.use(cluster);
    Object.assign(process.env, cluster.env);
    const world = await openWorld(stack, signal);
    const findings: Finding[] = [];
    for (const scenario of [branchNodeCut, controllerCut, forkCut, apiServerAway]) {
      const found = await scenario(world, signal);
      for (const { what, found: seen } of found) console.log(`  ${what}: ${seen}`);
      findings.push(...found);
    }
    return findings;
  },
};

// --- internal -----------------------------------------------------------------------------------

type World = {
  readonly c: Installation;
  /** Clients of the sandbox `fix`, of the baseline and of a branch. */
  readonly load: () => Promise<PodLoad>;
  /** Of the cluster's own commands. */
  readonly lab: (...args: readonly string[]) => Promise<string>;
  readonly kubectl: (...args: readonly string[]) => Promise<string>;
  readonly holder: () => Promise<string | undefined>;
  readonly nodeOf: (pod: string) => Promise<string>;
  /** A sandbox with a fork on one machine, which has its key already or gets one. */
  readonly sandbox: (name: string, node?: string) => Promise<void>;
};

/** Where things are: the clients and the baseline on node-1, which stays; a branch node on node-2; a gateway each on node-1 and node-3. */
async function openWorld(stack: AsyncDisposableStack, signal: AbortSignal): Promise<World> {
  // They read at once where the cluster is.
  const { apply, kubectl: ask, read } = await import('../../test/support/cluster.ts');
  const { applyUsers, installation, sandboxOfUsers } = await import('../../test/support/installation.ts');
  const { podLoad } = await import('../../test/support/pod-load.ts');
  const program = resolve(process.env.OFFSHOOT_LAB!, 'lab');
  const lab = async (...args: readonly string[]) =>
    (await exec('bash', [program, ...args], { deadlineMs: 120_000, signal })).stdout;
  const kubectl = async (...args: readonly string[]) => (await ask(args)).stdout.trim();
  const nodes = ['node-1', 'node-2', 'node-3'];
  /** Whoever is started meanwhile is started there. */
  const only = async <T>(node: string | undefined, work: () => Promise<T>): Promise<T> => {
    const others = node === undefined ? [] : nodes.filter(one => one !== node);
    for (const one of others) await kubectl('cordon', one);
    try {
      return await work();
    } finally {
      for (const one of others) await kubectl('uncordon', one);
    }
  };
  // The cluster's own names do not go with a machine here.
  const pinned = { spec: { template: { spec: { nodeSelector: { 'kubernetes.io/hostname': 'node-1' } } } } };
  const names = ['-n', 'kube-system'];
  await kubectl(...names, 'patch', 'deployment', 'kube-dns', '-p', JSON.stringify(pinned));
  await kubectl(...names, 'rollout', 'status', 'deployment/kube-dns', '--timeout=180s');
  await kubectl('label', 'nodes', 'node-2', 'node-3', 'offshoot.test/controller=yes', '--overwrite');
  await kubectl('label', 'nodes', 'node-1', 'node-3', 'offshoot.test/gateway=yes', '--overwrite');
  await lab('node', '2', 'install', '-d', '-o', '1000', '-g', '1000', VOLUME);
  stack.defer(async () => void (await lab('node', '2', 'rm', '-rf', VOLUME)));
  const soonGone = { key: 'node.kubernetes.io/unreachable', operator: 'Exists', effect: 'NoExecute' };
  const c = stack.use(
    await installation(
      ...['--set', 'branches.nodes=1', '--set', 'branches.storage.kind=hostPath'],
      ...['--set', `branches.storage.path=${VOLUME}`],
      ...['--set-json', 'branches.nodeSelector={"kubernetes.io/hostname":"node-2"}'],
      // A cluster gives it five minutes; what comes then is to be seen here.
      ...['--set-json', `branches.tolerations=[${JSON.stringify({ ...soonGone, tolerationSeconds: 15 })}]`],
      ...['--set-json', 'controller.nodeSelector={"offshoot.test/controller":"yes"}'],
      ...['--set-json', 'gateway.nodeSelector={"offshoot.test/gateway":"yes"}'],
    ),
  );
  const holder = async () =>
    (await c.kubectl('get', 'lease', 'offshoot-controller', '-o', 'jsonpath={.spec.holderIdentity}')) ||
    undefined;
  const offshoot = (...args: readonly string[]) =>
    c.kubectl('exec', 'deployment/offshoot-controller', '--', 'offshoot', ...args);
  const sandbox = (name: string, node?: string) =>
    only(node, async () => {
      await apply([sandboxOfUsers(c, name)]);
      await c.kubectl('wait', `sandbox/${name}`, '--for=condition=Ready', '--timeout=180s');
    });
  await only('node-1', async () => {
    await applyUsers(c.baseline);
    await kubectl('-n', c.baseline, 'rollout', 'status', 'deployment/users', '--timeout=180s');
  });
  await apply([
    {
      ...{ apiVersion: 'offshoot.dev/v1alpha1', kind: 'Project' },
      metadata: { name: 'shop', namespace: c.namespace },
      spec: { database: 'app', role: 'app' },
    },
  ]);
  await until(async () => ((await c.kubectl('get', 'branches', '-o', 'name')) === '' ? undefined : true), {
    what: 'a branch',
    deadlineMs: 60_000,
    intervalMs: 500,
    signal,
  });
  await c.kubectl('wait', 'branches', '--all', '--for=condition=Ready', '--timeout=180s');
  await offshoot('sql', 'main', '-p', 'shop', '-c', 'create table asked (at timestamptz default now())');
  const url = (await offshoot('branch', 'url', 'main', '-p', 'shop')).trim();
  const { key } = JSON.parse(await offshoot('key', 'create', 'test', '-o', 'json')) as { key: string };
  const waysTo = async (name: string): Promise<readonly PodWay[]> => {
    type Named = { readonly metadata: { readonly annotations: Readonly<Record<string, string>> } };
    const { metadata } = await read<Named>('-n', c.namespace, 'get', 'sandbox', name);
    const secret = metadata.annotations['offshoot.dev/secret']!;
    const { data } = await read<{ data: Record<string, string> }>('-n', c.namespace, 'get', 'secret', secret);
    const { routingKey } = JSON.parse(Buffer.from(data['offshoot.json']!, 'base64').toString()) as {
      routingKey: string;
    };
    const users = `http://users.${c.baseline}.svc/`;
    const host = `api--${name}.preview.localhost:8080`;
    return [
      { name: 'without a key', http: users, wants: 'info v1' },
      {
        ...{ name: 'with the key', http: users, wants: 'debug v1' },
        headers: { baggage: `sd-routing-key=${routingKey}` },
      },
      {
        ...{ name: 'preview', http: `http://offshoot-gateway.${c.namespace}.svc/`, wants: 'debug v1' },
        headers: { host, 'offshoot-api-key': key },
      },
      { name: 'SQL', sql: url, text: 'insert into asked default values' },
    ];
  };
  await sandbox('fix', 'node-1');
  return {
    ...{ c, lab, kubectl, holder, sandbox },
    load: async () => podLoad(c.baseline, await waysTo('fix'), besides),
    nodeOf: pod => c.kubectl('get', 'pod', pod, '-o', 'jsonpath={.spec.nodeName}'),
  };
}

/** Milliseconds since a moment, as seconds. */
const after = (begun: number, at = Date.now()): string => `${((at - begun) / 1_000).toFixed(1)} s`;

/** Of an answer of ours: status and code. */
const shortly = (what: string): string =>
  what.replace(/^(\d+) .*"code":"([^"]+)".*$/s, '$1 $2').slice(0, 100);

/** One line for each client, and what must hold whatever fails. */
function outcome(about: string, begun: number, asked: readonly Asked[]): readonly Finding[] {
  const lines = asked.map(({ name, kept, answered, failures, gap }) => {
    const wrong = Object.entries(failures).map(
      ([what, { count, first, last }]) =>
        `${count} × ${shortly(what)} (${after(begun, first)} to ${after(begun, last)})`,
    );
    const longest =
      gap.ms > 1_000 ? `; longest without: ${after(0, gap.ms)} from ${after(begun, gap.from)}` : '';
    const found = `${answered} answered${wrong.length === 0 ? ', none failed' : `; ${wrong.join(', ')}`}${longest}`;
    return told(`${about}: ${name}, ${kept ? 'kept connection' : 'new connections'}`, found);
  });
  const wrongPlace = asked.flatMap(({ name, failures }) =>
    Object.keys(failures)
      .filter(what => what.startsWith('200 '))
      .map(what => `${name}: ${what}`),
  );
  const unserved = asked
    .filter(({ name }) => name === 'without a key')
    .flatMap(({ failures }) => Object.keys(failures));
  return [
    ...lines,
    none(`${about}: answered by the wrong one`, wrongPlace),
    none(`${about}: requests without a key that failed`, unserved),
  ];
}

const soon = (what: string, signal: AbortSignal, deadlineMs = 300_000) => ({
  ...{ what, deadlineMs, intervalMs: 500, signal },
});

/** Waits for what may not be there to be asked for. */
const seen = <T>(
  probe: () => Promise<T | undefined>,
  what: string,
  signal: AbortSignal,
  deadlineMs?: number,
) => until(() => probe().catch(() => undefined), soon(what, signal, deadlineMs));

const notReady = ({ kubectl }: World, node: string, signal: AbortSignal) =>
  seen(
    async () => {
      const status = await kubectl(
        ...['get', 'node', node, '-o', 'jsonpath={.status.conditions[?(@.type=="Ready")].status}'],
      );
      return status === 'True' ? undefined : true;
    },
    `${node} is not ready`,
    signal,
  );

const powerBack = async ({ lab, kubectl }: World, number: string, signal: AbortSignal) => {
  await lab('node-start', number);
  await seen(
    async () =>
      (await kubectl('wait', `node/node-${number}`, '--for=condition=Ready', '--timeout=5s')) || undefined,
    'it is back',
    signal,
  );
};

/** Nobody moves pods back when a machine has come back: one of two controllers is started once more, for the other machine. */
async function apart({ c, holder, nodeOf }: World, signal: AbortSignal): Promise<void> {
  const pods = async () => {
    const all = await c.kubectl(
      ...['get', 'pods', '-l', 'app.kubernetes.io/component=controller', '-o'],
      'jsonpath={range .items[*]}{.metadata.name} {.metadata.deletionTimestamp}{"\\n"}{end}',
    );
    return all
      .split('\n')
      .filter(line => /^\S+ $/.test(line))
      .map(line => line.trim());
  };
  await seen(
    async () => {
      await c.kubectl('rollout', 'status', 'deployment/offshoot-controller', '--timeout=180s');
      const [names, decides] = [await pods(), await holder()];
      const nodes = new Set(await Promise.all(names.map(nodeOf)));
      if (names.length === 2 && nodes.size === 2) return true;
      const other = names.find(name => name !== decides);
      if (names.length === 2 && other !== undefined) await c.kubectl('delete', 'pod', other);
      return undefined;
    },
    'controllers are on two machines',
    signal,
  );
}

async function branchNodeCut(world: World, signal: AbortSignal): Promise<readonly Finding[]> {
  const { c, lab } = world;
  const about = 'the machine of a branch node';
  const load = await world.load();
  const begun = Date.now();
  await lab('node-stop', '2');
  await notReady(world, 'node-2', signal);
  const known = after(begun);
  // Told to go, it cannot say that it has gone.
  const pod = () =>
    c.kubectl(
      'get',
      'pod',
      'offshoot-branches-0',
      '-o',
      'jsonpath={.metadata.uid} {.metadata.deletionTimestamp}',
    );
  const [uid] = (await pod()).split(' ');
  await seen(async () => ((await pod()).split(' ')[1] ? true : undefined), 'its pod is told to go', signal);
  const toldToGo = after(begun);
  await delay(15_000, signal);
  const same = (await pod()).split(' ')[0] === uid;
  const branch = await c.kubectl(
    'get',
    'branches',
    '-o',
    'jsonpath={.items[*].status.conditions[?(@.type=="Ready")].reason}',
  );
  const back = Date.now();
  await powerBack(world, '2', signal);
  await seen(
    async () => {
      const [next] = (await pod()).split(' ');
      return next !== undefined && next !== uid ? true : undefined;
    },
    'another pod',
    signal,
  );
  await c.kubectl('wait', 'pod/offshoot-branches-0', '--for=condition=Ready', '--timeout=180s');
  const ready = after(back);
  await delay(5_000, signal);
  const asked = await load.stop();
  const rows = await c.kubectl(
    ...['exec', 'deployment/offshoot-controller', '--', 'offshoot', 'sql', 'main', '-p', 'shop', '-c'],
    'select count(*) from asked',
  );
  const inserted = Number(/\d+/.exec(rows)?.[0]);
  const acknowledged = asked
    .filter(({ name }) => name === 'SQL')
    .reduce((sum, { answered }) => sum + answered, 0);
  return [
    told(`${about}: the cluster knows after`, known),
    told(`${about}: its pod is told to go after`, `${toldToGo}, and is still there 15 s later: ${same}`),
    told(`${about}: its branches say meanwhile`, branch),
    told(`${about}: power back after ${after(begun, back)}, pod ready after`, ready),
    exactly(
      `${about}: rows that were acknowledged are there`,
      inserted >= acknowledged ? 'all' : `${inserted} of ${acknowledged}`,
      'all',
    ),
    ...outcome(about, begun, asked),
  ];
}

async function controllerCut(world: World, signal: AbortSignal): Promise<readonly Finding[]> {
  const { c, lab, holder } = world;
  const about = 'the machine of the controller that decides';
  await apart(world, signal);
  const onThird = async () => {
    const now = await holder();
    return now !== undefined && (await world.nodeOf(now)) === 'node-3' ? now : undefined;
  };
  const first = await holder();
  if (first !== undefined && (await onThird()) === undefined) await c.kubectl('delete', 'pod', first);
  const before = await seen(onThird, 'a controller on node-3 decides', signal);
  await c.kubectl('rollout', 'status', 'deployment/offshoot-controller', '--timeout=180s');
  const load = await world.load();
  const begun = Date.now();
  await lab('node-stop', '3');
  // Asked for while nobody decides.
  const applied = world.sandbox('meanwhile').then(() => after(begun));
  applied.catch(() => {}); // it is waited for below
  await seen(
    async () => {
      const now = await holder();
      return now !== undefined && now !== before ? true : undefined;
    },
    'another one decides',
    signal,
  );
  const decided = after(begun);
  const made = await applied;
  await notReady(world, 'node-3', signal);
  const known = after(begun);
  await delay(15_000, signal);
  await powerBack(world, '3', signal);
  await c.kubectl('rollout', 'status', 'deployment/offshoot-controller', '--timeout=180s');
  await c.kubectl('rollout', 'status', 'deployment/offshoot-gateway', '--timeout=180s');
  await delay(5_000, signal);
  const asked = await load.stop();
  await c.kubectl('delete', 'sandbox', 'meanwhile', '--timeout=120s');
  return [
    told(`${about}: another one decides after`, decided),
    told(`${about}: a sandbox that was applied meanwhile is ready after`, made),
    told(`${about}: the cluster knows after`, known),
    ...outcome(about, begun, asked),
  ];
}

async function forkCut(world: World, signal: AbortSignal): Promise<readonly Finding[]> {
  const { c, lab, kubectl } = world;
  const about = 'the machine of a fork';
  await c.kubectl('delete', 'sandbox', 'fix', '--timeout=120s');
  await world.sandbox('fix', 'node-3');
  const load = await world.load();
  const begun = Date.now();
  await lab('node-stop', '3');
  await notReady(world, 'node-3', signal);
  const known = after(begun);
  const elsewhere = async () => {
    const pods = await kubectl(
      ...['-n', c.baseline, 'get', 'pods', '-l', 'offshoot.dev/fork'],
      ...[
        '-o',
        'jsonpath={range .items[*]}{.spec.nodeName} {.status.conditions[?(@.type=="Ready")].status}{"\\n"}{end}',
      ],
    );
    return pods.split('\n').some(line => /^node-[12] True$/.test(line)) ? true : undefined;
  };
  await seen(elsewhere, 'a fork elsewhere', signal);
  const there = after(begun);
  await delay(10_000, signal);
  const back = Date.now();
  await powerBack(world, '3', signal);
  await c.kubectl('rollout', 'status', 'deployment/offshoot-gateway', '--timeout=180s');
  await delay(5_000, signal);
  const asked = await load.stop();
  return [
    told(`${about}: the cluster knows after`, known),
    told(`${about}: its pod is ready on another machine after`, there),
    told(`${about}: power back after`, after(begun, back)),
    ...outcome(about, begun, asked),
  ];
}

async function apiServerAway(world: World, signal: AbortSignal): Promise<readonly Finding[]> {
  const { c, lab, holder, kubectl } = world;
  const about = 'the API server, for a minute';
  const before = await holder();
  const load = await world.load();
  const begun = Date.now();
  const pid = readFileSync(join(labHome(), 'run', 'kube-apiserver-1.pid'), 'utf8').trim();
  // What holds it is its parent.
  await exec('pkill', ['-KILL', '-P', pid], { deadlineMs: 10_000 });
  await delay(AWAY_MS, signal);
  await lab('restart', 'kube-apiserver');
  await seen(async () => (await kubectl('get', '--raw', '/readyz')) || undefined, 'it is back', signal);
  const back = Date.now();
  await c.kubectl('rollout', 'status', 'deployment/offshoot-controller', '--timeout=180s');
  const ready = after(back);
  await world.sandbox('afterwards', 'node-1');
  const made = after(back);
  const asked = await load.stop();
  const restarts = await c.kubectl(
    ...[
      'get',
      'pods',
      '-o',
      'jsonpath={range .items[*]}{.metadata.name}: {.status.containerStatuses[0].restartCount}  {end}',
    ],
  );
  await c.kubectl('delete', 'sandbox', 'afterwards', '--timeout=120s');
  return [
    told(`${about}: it is back after ${after(begun, back)}; controllers are ready after`, ready),
    told(`${about}: a sandbox that is applied then is ready after`, made),
    told(`${about}: who decided and decides`, `${before}, ${await holder()}`),
    told(`${about}: restarts of containers`, restarts),
    ...outcome(about, begun, asked),
  ];
}
