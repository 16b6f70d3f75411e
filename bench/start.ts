/**
 * From `offshoot up --detach` (the process, as a user starts it) to its return, and to the first answer of `main`: in an
 * empty data directory, in one that was shut down, and after `kill -9`: `node bench/start.ts [--runs 10]`.
 */
import { rm } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { identify } from '../src/lib/process.ts';
import { until } from '../src/lib/wait.ts';
import { type BenchHome, benchHome } from './home.ts';
import { printRows, type Row, summarise } from './statistics.ts';

const goalMs = 700;

const ways = {
  'an empty data directory': async ({ cli, home }) => {
    await cli(['down']);
    await rm(home, { recursive: true, force: true });
  },
  'after down': async ({ cli }) => void (await cli(['down'])),
  'after kill -9': async ({ pid }) => {
    process.kill(pid, 'SIGKILL');
    const gone = () => (identify(pid) === undefined ? true : undefined);
    await until(gone, { what: 'the daemon is gone', deadlineMs: 10_000 });
  },
} as const satisfies Readonly<Record<string, (home: BenchHome) => Promise<void>>>;

export async function main(argv: readonly string[]): Promise<readonly Row[]> {
  const { values } = parseArgs({ args: [...argv], options: { runs: { type: 'string', default: '10' } } });
  await using bench = await benchHome();
  await bench.cli(['branch', 'wait', 'main']);
  const times = Object.keys(ways).map(way => ({ way, up: [] as number[], main: [] as number[] }));
  for (let run = 0; run < Number(values.runs); run++) {
    for (const [i, end] of Object.values(ways).entries()) {
      await end(bench);
      const started = performance.now();
      await bench.cli(['up', '--detach']);
      times[i]!.up.push(performance.now() - started);
      await bench.cli(['sql', 'main', '-c', 'select 1']);
      times[i]!.main.push(performance.now() - started);
    }
  }
  const rows = times.flatMap(({ way, up, main }): Row[] => [
    { what: `up → ready, ${way}`, summary: summarise(up), goal: { p50: goalMs } },
    { what: `up → main answers (command line), ${way}`, summary: summarise(main) },
  ]);
  printRows(rows);
  return rows;
}

if (import.meta.main) await main(process.argv.slice(2));
