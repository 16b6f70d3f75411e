/**
 * What a database branch costs, phase by phase, for a small and a large parent side by side in one run:
 * `node bench/branch.ts [--runs 40] [--large-mb 2048] [--volumes btrfs|pool|copy]`. Both parents run, and are
 * written to before every branch. The ratio shows whether the parent's size matters.
 */
import { parseArgs } from 'node:util';
import type { LiveParent } from '../src/drivers/branch-parts.ts';
import type { VolumeKind } from '../src/drivers/volume/choose.ts';
import { recordOf, type TestBranches, testBranches, testCtx } from '../test/support/postgres.ts';
import { type Row, summarise } from './statistics.ts';

const phases = [
  'checkpoint',
  'snapshot',
  'start',
  'first select',
  'create → select',
  'stop',
  'delete',
] as const;
type Times = Record<(typeof phases)[number], number[]>;

const goalMs = 120;
const goalRatio = 1.3;
const MIB = 2 ** 20;

export async function main(argv: readonly string[]): Promise<readonly Row[]> {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      runs: { type: 'string', default: '40' },
      'large-mb': { type: 'string', default: '2048' },
      volumes: { type: 'string' },
    },
  });
  const [runs, largeMb] = [Number(values.runs), Number(values['large-mb'])];
  const poolBytes = (2 * largeMb + 4096) * MIB;
  await using b = await testBranches(values.volumes as VolumeKind | undefined, { poolBytes });
  const [small, large] = [await makeParent(b, 'small', 8), await makeParent(b, 'large', largeMb)];
  const times = { small: noTimes(), large: noTimes() };
  for (let run = 0; run < runs; run++) {
    await branchOnce(b, 'small', times.small);
    await branchOnce(b, 'large', times.large);
  }
  console.log(`branch of a running parent, volumes: ${b.volumes.name}, ${runs} runs each, milliseconds`);
  return print(times.small, times.large, `${small} MB parent`, `${large} MB parent`);
}

// --- internal ------------------------------------------------------------------------------------

const noTimes = (): Times => Object.fromEntries(phases.map(phase => [phase, [] as number[]])) as Times;

/** A running branch whose database has about `mb` megabytes. @returns how many it has */
async function makeParent(b: TestBranches, id: string, mb: number): Promise<number> {
  await b.branch(id);
  await b.sql(id, 'CREATE TABLE touched (n int)');
  await b.sql(id, 'CREATE TABLE filler (body text) WITH (autovacuum_enabled = off)');
  const size = async () =>
    Number((await b.sql(id, 'SELECT pg_database_size(current_database()) AS b'))[0]!.b) / MIB;
  // Rows of 1 kB, which PostgreSQL does not compress, 64 MB in each transaction.
  while ((await size()) < mb - 32)
    await b.sql(id, `INSERT INTO filler SELECT repeat(md5(n::text), 32) FROM generate_series(1, 60000) n`);
  await b.sql(id, 'CHECKPOINT');
  return Math.round(await size());
}

async function branchOnce(b: TestBranches, parent: string, times: Times): Promise<void> {
  const ctx = testCtx(600_000);
  await b.sql(parent, 'INSERT INTO touched SELECT generate_series(1, 100)');
  const live = (await b.servers.live(parent, ctx))!;
  const timed: LiveParent = { ...live, checkpoint: c => lap(times, 'checkpoint', () => live.checkpoint(c)) };
  const begun = performance.now();
  b.servers.prepare?.('branch', { name: 'branch' });
  const record = recordOf('branch', parent);
  const { dataDir } = await lap(times, 'snapshot', () =>
    b.volumes.ensure(
      'branch',
      { record, source: { id: parent, live: timed }, prepare: b.servers.adopt },
      ctx,
    ),
  );
  // Snapshotting included the checkpoint, if this kind of volume asks for one.
  const at = times.snapshot.length - 1;
  times.snapshot[at]! -= times.checkpoint[at] ?? 0;
  await lap(times, 'start', () => b.servers.ensure('branch', { dataDir, name: 'branch' }, ctx));
  await lap(times, 'first select', () => b.sql('branch', 'SELECT 1'));
  times['create → select'].push(performance.now() - begun);
  await lap(times, 'stop', () => b.servers.remove('branch', ctx));
  await lap(times, 'delete', () => b.volumes.remove('branch', ctx));
}

async function lap<T>(times: Times, phase: keyof Times, work: () => Promise<T>): Promise<T> {
  const begun = performance.now();
  const result = await work();
  times[phase].push(performance.now() - begun);
  return result;
}

function print(small: Times, large: Times, smallName: string, largeName: string): readonly Row[] {
  const cell = (ms: number) => ms.toFixed(1).padStart(9);
  console.log(`${''.padEnd(18)}${smallName.padStart(18)}${largeName.padStart(18)}     ratio`);
  console.log(`${''.padEnd(18)}${['p50', 'p95', 'p50', 'p95', 'of p50'].map(h => h.padStart(9)).join('')}`);
  const rows: Row[] = [];
  for (const phase of phases) {
    if (small[phase].length === 0) continue;
    const [s, l] = [summarise(small[phase]), summarise(large[phase])];
    console.log(
      `${phase.padEnd(18)}${[s.p50, s.p95, l.p50, l.p95].map(cell).join('')}${(l.p50 / s.p50).toFixed(2).padStart(9)}`,
    );
    const goal = phase === 'create → select' ? { goal: { p50: goalMs } } : {};
    rows.push({ what: `branch, ${phase}, ${smallName}`, summary: s, ...goal });
    rows.push({ what: `branch, ${phase}, ${largeName}`, summary: l, ...goal });
  }
  const [s, l] = [summarise(small['create → select']).p50, summarise(large['create → select']).p50];
  const met = Math.max(s, l) <= goalMs && l / s <= goalRatio;
  console.log(
    `create → select: p50 ≤ ${goalMs} ms and ratio ≤ ${goalRatio}: ${met ? 'reached' : 'NOT reached'}`,
  );
  return rows;
}

if (import.meta.main) await main(process.argv.slice(2));
