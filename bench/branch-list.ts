/** `branch list` with many branches that are awake, by the command line and by the API: `node bench/branch-list.ts [--branches 300] [--runs 20]`. */
import { parseArgs } from 'node:util';
import { growBranches } from '../test/support/crowd.ts';
import { benchHome } from './home.ts';
import { printRows, type Row, summarise } from './statistics.ts';

const goalMs = 150;

export async function main(argv: readonly string[]): Promise<readonly Row[]> {
  const { values } = parseArgs({
    args: [...argv],
    options: { branches: { type: 'string', default: '300' }, runs: { type: 'string', default: '20' } },
  });
  await using bench = await benchHome();
  await bench.cli(['branch', 'wait', 'main']);
  await growBranches(bench, { to: Number(values.branches) - 1 });
  const times = { cli: [] as number[], api: [] as number[] };
  for (let run = 0; run < Number(values.runs); run++) {
    times.cli.push((await bench.cli(['branch', 'list'])).ms);
    const started = performance.now();
    const list = await bench.client.branches.list('default');
    times.api.push(performance.now() - started);
    if (list.length !== Number(values.branches)) throw new Error(`${list.length} branches are listed`);
  }
  const rows: Row[] = [
    {
      what: `branch list, ${values.branches} branches (command line)`,
      summary: summarise(times.cli),
      goal: { p50: goalMs },
    },
    { what: `branch list, ${values.branches} branches (API)`, summary: summarise(times.api) },
  ];
  printRows(rows);
  return rows;
}

if (import.meta.main) await main(process.argv.slice(2));
