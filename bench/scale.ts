/**
 * What the residents of a daemon cost the next sandbox: apply and delete (API) with 1, 50 and 200 sandboxes resident,
 * small and idle, and how long the event loop keeps others waiting meanwhile:
 * `node bench/scale.ts [--sizes 1,50,200] [--runs 20] [--branches]`. With `--branches` each of them,
 * resident or measured, has a database branch too; otherwise both kinds are measured, one after the other.
 *
 * A neighbour, a daemon that has one resident all the time, is measured in turn with it: what else the machine does
 * meets both alike, so the ratio to the neighbour is the residents' and nobody else's.
 */
import { parseArgs } from 'node:util';
import { applyEcho, askEcho, deleteEcho, deployEcho, settle } from '../test/support/crowd.ts';
import { type BenchHome, benchHome } from './home.ts';
import { type Row, summarise } from './statistics.ts';

/** Of the p50 with the most residents, to that with the fewest. */
const goalRatio = 1.3;

export async function main(argv: readonly string[]): Promise<readonly Row[]> {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      sizes: { type: 'string', default: '1,50,200' },
      runs: { type: 'string', default: '20' },
      branches: { type: 'boolean' },
    },
  });
  const sizes = values.sizes.split(',').map(Number);
  const rows: Row[] = [];
  for (const branch of values.branches === true ? [true] : [false, true])
    rows.push(...(await measure(sizes, Number(values.runs), branch)));
  return rows;
}

// --- internal ------------------------------------------------------------------------------------

type Times = { readonly apply: number[]; readonly delete: number[] };
type Side = { readonly home: BenchHome; readonly key: string };

async function measure(sizes: readonly number[], runs: number, branch: boolean): Promise<Row[]> {
  await using crowded = await benchHome();
  await using quiet = await benchHome();
  const sides: readonly Side[] = [
    { home: crowded, key: await deployEcho(crowded) },
    { home: quiet, key: await deployEcho(quiet) },
  ];
  await settle(quiet, { to: 1, branch });
  await once(sides[0]!, branch, noTimes()); // warming up
  await once(sides[1]!, branch, noTimes());
  const kind = branch ? 'with a branch each' : 'without branches';
  console.log(
    `residents ${kind}, ${runs} runs for each size in turn with a neighbour of 1 resident, milliseconds`,
  );
  const heads = [
    ...['apply p50', 'p95', 'neighbour', 'ratio', 'delete p50', 'p95', 'neighbour', 'ratio'],
    ...['loop p99', 'longest'],
  ];
  console.log(`${'residents'.padEnd(10)}${heads.map(h => h.padStart(11)).join('')}`);
  const rows: Row[] = [];
  let settled = 0;
  for (const size of sizes) {
    await settle(crowded, { from: settled, to: size, branch });
    settled = size;
    const times = [noTimes(), noTimes()];
    await crowded.client.metrics.reset();
    for (let run = 0; run < runs; run++)
      for (const [i, side] of sides.entries()) await once(side, branch, times[i]!);
    const cells = (['apply', 'delete'] as const).flatMap(verb => {
      const [own, neighbour] = times.map(t => summarise(t[verb]));
      rows.push({ what: `sandbox ${verb}, ${size} resident, ${kind}`, summary: own! });
      rows.push({ what: `sandbox ${verb}, ${size} resident next door, ${kind}`, summary: neighbour! });
      return [
        own!.p50.toFixed(1),
        own!.p95.toFixed(1),
        neighbour!.p50.toFixed(1),
        (own!.p50 / neighbour!.p50).toFixed(2),
      ];
    });
    // How long the daemon's event loop kept others waiting meanwhile: its clock ticks every 10 ms.
    const { p50, p99, max } = (await crowded.client.metrics.read()).loopDelay;
    const [usual, most, longest] = [p50, p99, max].map(ms => Math.max(0, ms - 10)) as [
      number,
      number,
      number,
    ];
    cells.push(most.toFixed(1), longest.toFixed(1));
    rows.push({
      what: `event-loop delay, ${size} resident, ${kind} (p99 in p95)`,
      summary: { runs, p50: usual, p95: most, min: 0, max: longest },
    });
    console.log(`${String(size).padEnd(10)}${cells.map(c => c.padStart(11)).join('')}`);
  }
  verdict(rows);
  return rows;
}

const noTimes = (): Times => ({ apply: [], delete: [] });

async function once({ home, key }: Side, branch: boolean, times: Times): Promise<void> {
  const applying = performance.now();
  const view = await applyEcho(home, 'newcomer', { branch });
  times.apply.push(performance.now() - applying);
  await askEcho(view, key);
  const deleting = performance.now();
  await deleteEcho(home, 'newcomer');
  times.delete.push(performance.now() - deleting);
}

/** Both ratios: the neighbour's tells what this daemon's own residents cost, the other one also what a crowded machine does. */
function verdict(rows: readonly Row[]): void {
  for (const verb of ['apply', 'delete']) {
    const all = rows.filter(r => r.what.startsWith(`sandbox ${verb}`));
    const [first, most, neighbour] = [all[0]!, all.at(-2)!, all.at(-1)!].map(r => r.summary.p50);
    const beside = most! / neighbour!;
    const met =
      verb === 'apply' ? `, ≤ ${goalRatio}: ${beside <= goalRatio ? 'reached' : 'NOT reached'}` : '';
    console.log(
      `${verb}: p50 with the most residents is ${beside.toFixed(2)} × the neighbour's${met}; ${(most! / first!).toFixed(2)} × that with the fewest`,
    );
  }
}

if (import.meta.main) await main(process.argv.slice(2));
