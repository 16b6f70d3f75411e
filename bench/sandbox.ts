/**
 * The product's main figure: from `offshoot sandbox apply` (the process, as a user starts it) to the first
 * correct answer through the preview URL, and from `sandbox delete` to its return. The same again through
 * the API, without the command line's own start. Apart from that: what of it a network for each pod costs.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { http } from '../scripts/demo/http.ts';
import { secretManifest } from '../scripts/demo/tutorial.ts';
import { readSandbox } from '../src/model/document/sandbox.ts';
import type { SandboxView } from '../src/model/view.ts';
import { type BenchHome, benchHome, root } from './home.ts';
import { printRows, type Row, summarise } from './statistics.ts';

const example = join(root, 'examples', 'users-service');
const template = join(example, 'signadot', 'users-sandbox.yaml');

export async function main(argv: readonly string[]): Promise<readonly Row[]> {
  const { values } = parseArgs({ args: [...argv], options: { runs: { type: 'string', default: '40' } } });
  const runs = Number(values.runs);
  await using bench = await openExample();
  const times = {
    cliApply: [] as number[],
    cliDelete: [] as number[],
    apiApply: [] as number[],
    apiDelete: [] as number[],
  };
  for (let i = 0; i < runs; i++) {
    const { apply, remove } = await byCommand(bench);
    times.cliApply.push(apply);
    times.cliDelete.push(remove);
  }
  for (let i = 0; i < runs; i++) {
    const { apply, remove } = await byApi(bench);
    times.apiApply.push(apply);
    times.apiDelete.push(remove);
  }
  const rows: Row[] = [
    {
      what: 'sandbox apply → first correct answer (command line)',
      summary: summarise(times.cliApply),
      goal: { p50: 700, p95: 1500 },
    },
    { what: 'sandbox apply → first correct answer (API)', summary: summarise(times.apiApply) },
    { what: 'sandbox delete → gone (command line)', summary: summarise(times.cliDelete), goal: { p50: 300 } },
    { what: 'sandbox delete → gone (API)', summary: summarise(times.apiDelete) },
  ];
  printRows(rows);
  return rows;
}

/** Two daemons, one whose pods share the network of this machine, by turns. */
export async function networks(argv: readonly string[]): Promise<readonly Row[]> {
  const { values } = parseArgs({ args: [...argv], options: { runs: { type: 'string', default: '20' } } });
  const runs = Number(values.runs);
  await using own = await openExample();
  await using shared = await openExample({ OFFSHOOT_NETWORK: 'host' });
  const times = {
    own: { cli: [] as number[], api: [] as number[] },
    shared: { cli: [] as number[], api: [] as number[] },
  };
  for (let i = 0; i < runs; i++)
    for (const [name, bench] of i % 2 === 0
      ? ([
          ['own', own],
          ['shared', shared],
        ] as const)
      : ([
          ['shared', shared],
          ['own', own],
        ] as const)) {
      times[name].cli.push((await byCommand(bench)).apply);
      times[name].api.push((await byApi(bench)).apply);
    }
  const rows = (['cli', 'api'] as const).flatMap(way =>
    (['own', 'shared'] as const).map(name => ({
      what: `sandbox apply (${way === 'cli' ? 'command line' : 'API'}), network ${name === 'own' ? 'of its own' : 'of the machine'}`,
      summary: summarise(times[name][way]),
    })),
  );
  printRows(rows);
  for (const way of ['cli', 'api'] as const) {
    const ratio = summarise(times.own[way]).p50 / summarise(times.shared[way]).p50;
    console.log(
      `${way === 'cli' ? 'command line' : 'API'}: ${ratio.toFixed(2)} × (goal ≤ 1.1: ${ratio <= 1.1 ? 'reached' : 'NOT reached'})`,
    );
  }
  return rows;
}

// --- internal -----------------------------------------------------------------------------------

/** The example's baseline, in a daemon of its own. */
async function openExample(
  env: Readonly<Record<string, string>> = {},
): Promise<BenchHome & { readonly key: string }> {
  const bench = await benchHome({ env });
  try {
    return Object.assign(bench, { key: await baseline(bench) });
  } catch (error) {
    await bench[Symbol.asyncDispose]();
    throw error;
  }
}

type Times = { readonly apply: number; readonly remove: number };

async function byCommand({ cli, key }: BenchHome & { readonly key: string }): Promise<Times> {
  const started = performance.now();
  const { stdout } = await cli(['sandbox', 'apply', '-f', template, '--set', 'cluster=local', '-o', 'json']);
  await correctAnswer((JSON.parse(stdout) as SandboxView).endpoints[0]!.url, key);
  const apply = performance.now() - started;
  return { apply, remove: (await cli(['sandbox', 'delete', 'xata-test'])).ms };
}

async function byApi(bench: BenchHome & { readonly key: string }): Promise<Times> {
  const { sandbox } = readSandbox(
    { file: template, text: readFileSync(template, 'utf8') },
    { set: ['cluster=local'] },
  );
  const started = performance.now();
  await bench.client.sandboxes.apply(sandbox);
  const view = await until(bench, v => (v?.status.ready ? v : undefined));
  await correctAnswer(view.endpoints[0]!.url, bench.key);
  const apply = performance.now() - started;
  const deleting = performance.now();
  await bench.client.sandboxes.delete('xata-test');
  await until(bench, v => (v === undefined ? true : undefined));
  return { apply, remove: performance.now() - deleting };
}

async function baseline({ cli }: BenchHome): Promise<string> {
  const inExample = { cwd: example };
  await cli(['branch', 'wait', 'main']);
  await cli(['sql', 'main', '-f', 'db/schema.sql'], inExample);
  await cli(['sql', 'main', '-f', 'db/seed.sql'], inExample);
  const url = (await cli(['branch', 'url', 'main'])).stdout.trim();
  await cli(['deploy', '-f', '-', '--no-wait'], { ...inExample, input: secretManifest(url) });
  await cli(['deploy', '-f', 'k8s'], inExample);
  await cli(['resourceplugin', 'apply', '-f', 'signadot/xata-branch-plugin.uses.yaml'], inExample);
  return (await cli(['key', 'create', 'bench'])).stdout.trim();
}

async function correctAnswer(url: string, key: string): Promise<void> {
  const { status, body } = await http(`${url}/users`, { headers: { 'signadot-api-key': key } });
  if (status !== 200 || (JSON.parse(body) as unknown[]).length !== 5)
    throw new Error(`${url} answered ${status}: ${body}`);
}

async function until<T>(
  { client }: BenchHome,
  probe: (view: SandboxView | undefined) => T | undefined,
): Promise<T> {
  let view: SandboxView | undefined;
  let synced = false;
  for await (const change of client.watch<SandboxView>(
    { kind: 'sandbox', name: 'xata-test' },
    AbortSignal.timeout(30_000),
  )) {
    if (change.type === 'put') view = change.object;
    if (change.type === 'gone') view = undefined;
    if (change.type === 'synced') synced = true;
    const found = synced ? probe(view) : undefined;
    if (found !== undefined) return found;
  }
  throw new Error('the watch ended');
}

if (import.meta.main) await main(process.argv.slice(2));
