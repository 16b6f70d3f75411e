/**
 * Memory of the idle daemon and its proxy together (not the PostgreSQL servers), a while after start. What both have
 * in common, the program itself, counts once (PSS, proc_pid_smaps(5)).
 */
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { benchHome } from './home.ts';

const goalMb = 170;

type Memory = { readonly rssMb: number; readonly pssMb: number };

export async function main(): Promise<{ readonly daemon: Memory; readonly proxy: Memory }> {
  await using bench = await benchHome();
  await bench.cli(['branch', 'wait', 'main']);
  await sleep(5_000); // idle is what is measured
  const { pid, proxies } = await bench.client.status();
  const [daemon, proxy] = [memoryOf(pid), memoryOf(proxies[0]!.pid)];
  const together = daemon.pssMb + proxy.pssMb;
  for (const [name, { rssMb, pssMb }] of Object.entries({ daemon, proxy }))
    console.log(`${name}, idle: RSS ${rssMb.toFixed(0)} MB, PSS ${pssMb.toFixed(0)} MB`);
  console.log(
    `together: PSS ${together.toFixed(0)} MB   ≤ ${goalMb} MB: ${together <= goalMb ? 'reached' : 'NOT reached'}`,
  );
  return { daemon, proxy };
}

// --- internal ------------------------------------------------------------------------------------

function memoryOf(pid: number): Memory {
  const mb = (file: string, field: string) => {
    const text = readFileSync(`/proc/${pid}/${file}`, 'utf8');
    return Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(text)![1]) / 1024;
  };
  return { rssMb: mb('status', 'VmRSS'), pssMb: mb('smaps_rollup', 'Pss') };
}

if (import.meta.main) await main();
