/** Memory of the idle daemon (its own process, not the PostgreSQL servers), a while after start. */
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { benchHome } from './home.ts';

const goalMb = 120;

export async function main(): Promise<{ readonly rssMb: number; readonly pssMb: number }> {
  await using bench = await benchHome();
  await bench.cli(['branch', 'wait', 'main']);
  await sleep(5_000); // idle is what is measured
  const field = (file: string, name: string) =>
    Number(
      new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(readFileSync(`/proc/${bench.pid}/${file}`, 'utf8'))![1],
    ) / 1024;
  const rssMb = field('status', 'VmRSS');
  const pssMb = field('smaps_rollup', 'Pss');
  console.log(
    `daemon, idle: RSS ${rssMb.toFixed(0)} MB, PSS ${pssMb.toFixed(0)} MB   RSS ≤ ${goalMb} MB: ${rssMb <= goalMb ? 'reached' : 'NOT reached'}`,
  );
  return { rssMb, pssMb };
}

if (import.meta.main) await main();
