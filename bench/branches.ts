/**
 * What a branch costs whoever asks for it, from the request to the API to the answer of `select 1` through the gateway:
 * `node bench/branches.ts [--runs 200] [--crowd-runs 3] [--warm-runs 60]`. One after the other, with and without a write to the parent
 * right before, from prepared servers, and 16 and 64 at once; beside it PostgreSQL's own copy of the same database in the same run, by turns. And what a
 * login costs that wakes one.
 */
import { parseArgs } from 'node:util';
import pg from 'pg';
import type { Client } from '../src/client/index.ts';
import { benchHome } from './home.ts';
import { printRows, type Row, summarise } from './statistics.ts';

const project = 'default';

export async function main(argv: readonly string[]): Promise<readonly Row[]> {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      runs: { type: 'string', default: '200' },
      'crowd-runs': { type: 'string', default: '3' },
      'warm-runs': { type: 'string', default: '60' },
    },
  });
  const warm = await prepared(Number(values['warm-runs']));
  await using bench = await benchHome();
  await bench.cli(['branch', 'wait', 'main']);
  const { client } = bench;
  const parent = new pg.Client(await addressOf(client, 'main'));
  await parent.connect();
  await parent.query('CREATE TABLE touched (n int)');
  await parent.query(`CREATE DATABASE model`);

  const times = { written: [], unchanged: [], deleted: [], template: [] } as Record<string, number[]>;
  for (let run = 0; run < Number(values.runs); run++) {
    await parent.query('INSERT INTO touched SELECT generate_series(1, 100)');
    times.written!.push(await answered(client, `w-${run}`));
    times.unchanged!.push(await answered(client, `u-${run}`));
    for (const name of [`w-${run}`, `u-${run}`])
      times.deleted!.push(await timed(() => client.branches.delete(project, name, { now: true })));
    times.template!.push(await timed(() => parent.query(`CREATE DATABASE copy_${run} TEMPLATE model`)));
    await parent.query(`DROP DATABASE copy_${run}`);
  }
  const rows: Row[] = [
    {
      what: 'create → select 1, parent written right before',
      summary: summarise(times.written!),
      goal: { p50: 60 },
    },
    {
      what: 'create → select 1, parent unchanged since',
      summary: summarise(times.unchanged!),
      goal: { p50: 60 },
    },
    { what: 'delete acknowledged', summary: summarise(times.deleted!), goal: { p50: 30 } },
    { what: 'CREATE DATABASE … TEMPLATE (PostgreSQL, WAL_LOG)', summary: summarise(times.template!) },
  ];
  for (const [count, goalMs] of [
    [16, 500],
    [64, 2_000],
  ] as const) {
    const crowd: number[] = [];
    for (let run = 0; run < Number(values['crowd-runs']); run++) {
      const names = Array.from({ length: count }, (_, i) => `c${count}-${run}-${i}`);
      crowd.push(...(await Promise.all(names.map(name => answered(client, name)))));
      await Promise.all(names.map(name => client.branches.delete(project, name, { now: true })));
      await gone(client);
    }
    rows.push({
      what: `create → select 1, ${count} at once`,
      summary: summarise(crowd),
      goal: { p50: goalMs },
    });
  }
  await parent.end();
  rows.push(...warm, ...(await wakes(client, Number(values.runs), Number(values['crowd-runs']))));
  printRows(rows);
  return rows;
}

/** With prepared servers: so far apart that another is there, and as fast as it goes, when they are too few. */
async function prepared(runs: number): Promise<readonly Row[]> {
  await using bench = await benchHome({ env: { OFFSHOOT_PREPARED: '4' } });
  await bench.cli(['branch', 'wait', 'main']);
  const { client } = bench;
  const times = { apart: [] as number[], login: [] as number[], packed: [] as number[] };
  for (let run = -3; run < runs; run++) {
    await new Promise(resolve => setTimeout(resolve, APART_MS));
    const name = `apart-${run + 3}`;
    const took = await answered(client, name);
    const address = await addressOf(client, name);
    if (run >= 0) times.apart.push(took);
    if (run >= 0) times.login.push(await timed(() => ask(address)));
    await client.branches.delete(project, name, { now: true });
  }
  for (let run = 0; run < runs; run++) times.packed.push(await answered(client, `packed-${run}`));
  return [
    {
      what: `create → select 1, prepared, ${APART_MS / 1000} s apart`,
      summary: summarise(times.apart),
      goal: { p50: 8 },
    },
    { what: '  of it a login and its statement, the second time', summary: summarise(times.login) },
    { what: 'create → select 1, prepared, without a pause', summary: summarise(times.packed) },
  ];
}

const APART_MS = 1_500;

/** From the first byte of a login to the answer of `select 1`; the server had been ended in order right before. */
async function wakes(client: Client, runs: number, crowds: number): Promise<readonly Row[]> {
  const names = Array.from({ length: 16 }, (_, i) => `asleep-${i}`);
  for (const name of names) await answered(client, name);
  const addresses = await Promise.all(names.map(name => addressOf(client, name)));
  const one: number[] = [];
  for (let run = 0; run < runs; run++) {
    const i = run % names.length;
    await client.branches.sleep(project, names[i]!, { force: true });
    one.push(await timed(() => ask(addresses[i]!)));
  }
  const together: number[] = [];
  for (let run = 0; run < crowds; run++) {
    for (const name of names) await client.branches.sleep(project, name, { force: true });
    together.push(await timed(() => Promise.all(addresses.map(ask))));
  }
  return [
    { what: 'wake: login → select 1', summary: summarise(one), goal: { p50: 60 } },
    { what: 'wake of 16 at once, until the last', summary: summarise(together), goal: { p50: 500 } },
  ];
}

// --- internal ------------------------------------------------------------------------------------

async function timed(work: () => Promise<unknown>): Promise<number> {
  const begun = performance.now();
  await work();
  return performance.now() - begun;
}

async function addressOf(client: Client, name: string): Promise<pg.ClientConfig> {
  const { connectionString } = await client.branches.credentials(project, name);
  return { connectionString };
}

/** A login waits in the gateway until the branch is ready, so nobody asks whether it is. */
const answered = (client: Client, name: string): Promise<number> =>
  timed(async () => {
    await client.branches.create(project, { name });
    await ask(await addressOf(client, name));
  });

async function ask(address: pg.ClientConfig): Promise<void> {
  const session = new pg.Client(address);
  await session.connect();
  await session.query('SELECT 1');
  await session.end();
}

async function gone(client: Client): Promise<void> {
  while ((await client.branches.list(project)).length > 1)
    await new Promise(resolve => setTimeout(resolve, 20));
}

if (import.meta.main) await main(process.argv.slice(2));
