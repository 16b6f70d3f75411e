/**
 * From `kubectl apply` of a sandbox to the first correct answer through its preview, beside a bare Deployment with the same pod until
 * it is available; and both ways until nothing of them is left. By turns. And what a sidecar costs each request.
 */
import assert from 'node:assert/strict';
import { delay, until } from '../src/lib/wait.ts';
import { apply, kubectl, read } from '../test/support/cluster.ts';
import { applyUsers, forksIn, type Installation, sandboxOfUsers } from '../test/support/installation.ts';
import { asker } from './kubernetes-asker.ts';
import { type Row, summarise } from './statistics.ts';

/** The same pod, asked by its sidecar and past it (as its probes are), by turns, on connections that are kept. */
export async function sidecarRows(c: Installation): Promise<readonly Row[]> {
  await users(c);
  await using pod = await asker(c.baseline);
  const { items } = await read<Pods>('-n', c.baseline, 'get', 'pods', '-l', 'app=users');
  const [{ status, metadata } = assert.fail('no pod')] = items;
  const load = { ports: { direct: DIRECT, sidecar: 8080 }, rounds: 20, requests: 100, warm: 2 };
  const busyMs = async () => processorMs(c.baseline, metadata.name);
  const before = await busyMs();
  const times = await pod.run<{ direct: number[]; sidecar: number[] }>(LATENCY, {
    ...load,
    host: status.podIP,
  });
  const each = ((await busyMs()) - before) / ((load.rounds + load.warm) * load.requests);
  const rest = await busyMs();
  await delay(REST_MS);
  const atRest = ((await busyMs()) - rest) / (REST_MS / 1_000);
  const [direct, sidecar] = [summarise(times.direct), summarise(times.sidecar)];
  const added = times.direct.map((ms, i) => times.sidecar[i]! - ms);
  return [
    { what: 'GET in a pod, past its sidecar', summary: direct },
    { what: 'the same through its sidecar', summary: sidecar },
    { what: 'what a sidecar adds', summary: summarise(added), goal: { p50: 0.3 } },
    { what: 'processor time of a sidecar for one request', summary: summarise([each]) },
    { what: 'the same of one that nobody asks, each second', summary: summarise([atRest]) },
  ];
}

/** @param turns of each */
export async function sandboxRows(c: Installation, turns: number): Promise<readonly Row[]> {
  await users(c);
  await using pod = await asker(c.baseline);
  const exec = ['exec', 'deployment/offshoot-controller', '--'];
  const key = (await c.kubectl(...exec, 'offshoot', 'key', 'create', 'bench')).trim().split(/\s/).at(-1)!;
  const times = {
    bare: [] as number[],
    sandbox: [] as number[],
    bareGone: [] as number[],
    gone: [] as number[],
  };
  const lap = async (work: () => Promise<unknown>) => {
    const begun = performance.now();
    await work();
    return performance.now() - begun;
  };
  const [deployment] = (await read<{ items: Deployment[] }>('-n', c.baseline, 'get', 'deployments')).items;
  for (let turn = -1; turn < turns; turn++) {
    const bare = await lap(async () => {
      await apply([bareOf(deployment!)]);
      await kubectl([
        '-n',
        c.baseline,
        'wait',
        'deployment/bare',
        '--for=condition=Available',
        '--timeout=90s',
      ]);
    });
    const bareGone = await lap(() =>
      kubectl(['-n', c.baseline, 'delete', 'deployment', 'bare', '--cascade=foreground', '--timeout=90s']),
    );
    const name = `bench${turn + 1}`;
    const sandbox = await lap(async () => {
      await apply([sandboxOfUsers(c, name)]);
      await pod.run(ANSWER, {
        ...{ host: `offshoot-gateway.${c.namespace}.svc`, key, wanted: 'debug v1' },
        preview: `api--${name}.preview.localhost`,
      });
    });
    const gone = await lap(async () => {
      await c.kubectl('delete', 'sandbox', name, '--timeout=90s');
      await until(async () => (await forksIn(c.baseline)).length === 0, {
        ...{ what: 'nothing is left of the fork', deadlineMs: 90_000, intervalMs: 50 },
      });
    });
    if (turn < 0) continue; // images, caches and code are warm now
    times.bare.push(bare);
    times.bareGone.push(bareGone);
    times.sandbox.push(sandbox);
    times.gone.push(gone);
  }
  const ratio = summarise(times.sandbox).p50 / summarise(times.bare).p50;
  const beyond = times.gone.map((ms, i) => ms - times.bareGone[i]!);
  return [
    { what: 'a bare Deployment of the same pod → available', summary: summarise(times.bare) },
    { what: 'sandbox apply → first correct answer (preview)', summary: summarise(times.sandbox) },
    { what: 'the one to the other, of medians', unit: '×', summary: summarise([ratio]), goal: { p50: 1.3 } },
    { what: 'bare Deployment delete → nothing left', summary: summarise(times.bareGone) },
    { what: 'sandbox delete → nothing left', summary: summarise(times.gone) },
    { what: 'what that takes longer', summary: summarise(beyond), goal: { p50: 2_000 } },
  ];
}

/** The baseline, with a sidecar; may be asked for again. */
export async function users(c: Installation): Promise<void> {
  await applyUsers(c.baseline);
  await kubectl(['-n', c.baseline, 'rollout', 'status', 'deployment/users', '--timeout=120s']);
}

// --- internal ------------------------------------------------------------------------------------

/** Where the probes of a program pass its sidecar: the first number of webhook/inject.ts. */
const DIRECT = 17_451;

const REST_MS = 20_000;

/** Of process 1 of a pod's sidecar since it began; it is counted in hundredths of a second (proc(5)). */
async function processorMs(namespace: string, pod: string): Promise<number> {
  const at = ['-n', namespace, 'exec', pod, '-c', 'offshoot-sidecar', '--', 'cat', '/proc/1/stat'];
  const fields = (await kubectl(at)).stdout.split(') ').at(-1)!.split(' ');
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

type Pods = {
  readonly items: readonly {
    readonly metadata: { readonly name: string };
    readonly status: { readonly podIP: string };
  }[];
};
type Deployment = {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly namespace: string };
  readonly spec: { readonly template: object };
};

/** The same pod with labels of its own, and without a sidecar, as forks are. */
function bareOf({ apiVersion, kind, metadata: { namespace }, spec }: Deployment): object {
  const labels = { app: 'bare' };
  const template = { ...spec.template, metadata: { labels } };
  const of = { replicas: 1, selector: { matchLabels: labels }, template };
  return { apiVersion, kind, metadata: { name: 'bare', namespace }, spec: of };
}

/** Resolves with the first answer of a preview that is the one that is wanted. */
const ANSWER = `
  const http = require('node:http');
  const { host, preview, key, wanted } = given;
  const ask = () => new Promise(resolve => {
    const headers = { host: preview, 'offshoot-api-key': key };
    http.get({ host, headers, timeout: 5000 }, answer => {
      let text = '';
      answer.on('data', chunk => { text += chunk; }).on('end', () => resolve(text)).on('error', () => resolve(''));
    }).on('error', () => resolve('')).on('timeout', function () { this.destroy(); });
  });
  const until = Date.now() + 90000;
  while ((await ask()) !== wanted) {
    if (Date.now() > until) throw new Error(preview + ' does not answer as it should');
    await new Promise(next => setTimeout(next, 10));
  }
`;

/** Medians of each round, so that a pair is of the same moment. */
const LATENCY = `
  const http = require('node:http');
  const { host, ports, rounds, requests, warm } = given;
  const agent = new http.Agent({ keepAlive: true });
  const ask = port => new Promise((resolve, reject) => {
    http.get({ host, port, agent }, answer => answer.resume().on('end', resolve).on('error', reject)).on('error', reject);
  });
  const times = { direct: [], sidecar: [] };
  for (let round = -warm; round < rounds; round++)
    for (const way of Object.keys(times)) {
      const all = [];
      for (let i = 0; i < requests; i++) {
        const begun = performance.now();
        await ask(ports[way]);
        all.push(performance.now() - begun);
      }
      if (round >= 0) times[way].push(all.sort((a, b) => a - b)[requests >> 1]);
    }
  return times;
`;
