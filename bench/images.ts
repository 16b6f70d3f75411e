/**
 * What a fork of an image costs beside `podman run` of the same image, by turns: from the call of the API to the
 * first correct answer through the preview URL, against the command with the network of this machine (the least that
 * Podman has to do) to the first answer at its port: `node bench/images.ts [--runs 15]`. Podman with a store of its own.
 */
import { parseArgs } from 'node:util';
import { http } from '../scripts/demo/http.ts';
import { until } from '../src/lib/wait.ts';
import type { Sandbox } from '../src/model/sandbox.ts';
import { type TestEngine, testImage, tryTestEngine } from '../test/support/engine.ts';
import { type BenchHome, benchHome } from './home.ts';
import { printRows, type Row, summarise } from './statistics.ts';

export async function main(argv: readonly string[]): Promise<readonly Row[]> {
  const { values } = parseArgs({ args: [...argv], options: { runs: { type: 'string', default: '15' } } });
  const found = await tryTestEngine();
  if ('why' in found) {
    console.log(`not here: ${found.why}`);
    return [];
  }
  await using engine = found;
  await using bench = await benchHome({ env: { OFFSHOOT_ENGINE: engine.socket } });
  await bench.cli(['deploy', '-f', '-'], { input: JSON.stringify(manifests), cwd: '/' });
  const key = (await bench.cli(['key', 'create', 'bench'])).stdout.trim();
  const [forks, runs]: [number[], number[]] = [[], []];
  for (let i = 0; i < Number(values.runs); i++)
    if (i % 2 === 0) {
      forks.push(await fork(bench, key));
      runs.push(await run(engine));
    } else {
      runs.push(await run(engine));
      forks.push(await fork(bench, key));
    }
  const rows = [
    { what: 'container fork → first correct answer (API)', summary: summarise(forks) },
    { what: 'podman run → first answer', summary: summarise(runs) },
  ];
  printRows(rows);
  const ratio = rows[0]!.summary.p50 / rows[1]!.summary.p50;
  console.log(`${ratio.toFixed(2)} × (goal ≤ 1.3: ${ratio <= 1.3 ? 'reached' : 'NOT reached'})`);
  return rows;
}

// --- internal -----------------------------------------------------------------------------------

const PORT = 3000;
const key = { kind: 'Deployment', namespace: 'shop', name: 'web' } as const;

const manifests = {
  apiVersion: 'v1',
  kind: 'List',
  items: [
    {
      ...{ apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: 'web', namespace: 'shop' } },
      spec: {
        selector: { matchLabels: { app: 'web' } },
        template: {
          metadata: { labels: { app: 'web' } },
          spec: { containers: [{ name: 'main', image: testImage, ports: [{ containerPort: PORT }] }] },
        },
      },
    },
    {
      ...{ apiVersion: 'v1', kind: 'Service', metadata: { name: 'web', namespace: 'shop' } },
      spec: { selector: { app: 'web' }, ports: [{ port: 80, targetPort: PORT }] },
    },
  ],
};

const sandbox: Sandbox = {
  name: 'bench',
  spec: {
    cluster: 'local',
    forks: [{ forkOf: key, customizations: { env: [{ name: 'SAYS', value: 'fork' }] } }],
    defaultRouteGroup: { endpoints: [{ name: 'web', target: 'http://web.shop.svc:80' }] },
  },
} as Sandbox;

async function fork({ client }: BenchHome, apiKey: string): Promise<number> {
  const started = performance.now();
  await client.sandboxes.apply(sandbox);
  const wait = { what: 'the fork is ready', deadlineMs: 60_000, intervalMs: 5 };
  const view = await until(async () => {
    const seen = await client.sandboxes.get('bench');
    return seen.status.ready ? seen : undefined;
  }, wait);
  const { body } = await http(view.endpoints[0]!.url, { headers: { 'signadot-api-key': apiKey } });
  if (body !== 'fork') throw new Error(`the fork answers "${body}"`);
  const ms = performance.now() - started;
  await client.sandboxes.delete('bench');
  const gone = () =>
    client.sandboxes.get('bench').then(
      () => undefined,
      () => true,
    );
  await until(gone, { what: 'the sandbox is gone', deadlineMs: 60_000 });
  return ms;
}

async function run({ cli, title }: TestEngine): Promise<number> {
  const started = performance.now();
  const id = (await cli('run', '--detach', '--network', 'host', testImage)).trim();
  const answers = () =>
    http(`http://localhost:${PORT}/`).then(
      () => true,
      () => undefined,
    );
  await until(answers, { what: 'the container answers', deadlineMs: 60_000, intervalMs: 5 });
  const ms = performance.now() - started;
  await cli('rm', '--force', ...(title === 'Podman' ? ['--time=0'] : []), id);
  return ms;
}

if (import.meta.main) await main(process.argv.slice(2));
