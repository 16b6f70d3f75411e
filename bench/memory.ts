/**
 * Memory of the idle daemon and its proxy together (not the PostgreSQL servers), a while after start, and what idle
 * Services with a workload each add to it. What both have in common, the program itself, counts once (PSS,
 * proc_pid_smaps(5)).
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type BenchHome, benchHome, root } from './home.ts';

const goalMb = 170;
/** Half of them HTTP, half TCP. */
const services = { count: 20, goalMb: 30 };

type Memory = { readonly rssMb: number; readonly pssMb: number };

type Both = { readonly daemon: Memory; readonly proxy: Memory };

export async function main(): Promise<Both & { readonly withServices: Both }> {
  await using bench = await benchHome();
  await bench.cli(['branch', 'wait', 'main']);
  const { daemon, proxy } = await whenIdle(bench);
  const together = daemon.pssMb + proxy.pssMb;
  for (const [name, { rssMb, pssMb }] of Object.entries({ daemon, proxy }))
    console.log(`${name}, idle: RSS ${rssMb.toFixed(0)} MB, PSS ${pssMb.toFixed(0)} MB`);
  console.log(
    `together: PSS ${together.toFixed(0)} MB   ≤ ${goalMb} MB: ${together <= goalMb ? 'reached' : 'NOT reached'}`,
  );
  const cwd = join(root, 'test', 'support', 'echo');
  await bench.cli(['deploy', '-f', '-'], { cwd, input: JSON.stringify(manifests()) });
  const withServices = await whenIdle(bench);
  const more = withServices.daemon.pssMb + withServices.proxy.pssMb - together;
  console.log(
    `${services.count} idle services: ${more.toFixed(0)} MB more   ≤ ${services.goalMb} MB: ${more <= services.goalMb ? 'reached' : 'NOT reached'}`,
  );
  return { daemon, proxy, withServices };
}

// --- internal ------------------------------------------------------------------------------------

async function whenIdle({ client }: BenchHome): Promise<Both> {
  await sleep(10_000);
  const { pid, proxies } = await client.status();
  return { daemon: memoryOf(pid), proxy: memoryOf(proxies[0]!.pid) };
}

function manifests() {
  const items = Array.from({ length: services.count }, (_, i) => {
    const metadata = { name: `echo-${i}`, namespace: 'idle' };
    const labels = { app: metadata.name };
    const template = { metadata: { labels }, spec: { containers: [{ name: 'echo', image: 'echo' }] } };
    const name = i % 2 === 0 ? 'http' : 'tcp';
    return [
      {
        ...{ apiVersion: 'apps/v1', kind: 'Deployment', metadata },
        spec: { selector: { matchLabels: labels }, template },
      },
      {
        ...{ apiVersion: 'v1', kind: 'Service', metadata },
        spec: { selector: labels, ports: [{ name, port: 80, targetPort: 8080 }] },
      },
    ];
  });
  return { apiVersion: 'v1', kind: 'List', items: items.flat() };
}

function memoryOf(pid: number): Memory {
  const mb = (file: string, field: string) => {
    const text = readFileSync(`/proc/${pid}/${file}`, 'utf8');
    return Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(text)![1]) / 1024;
  };
  return { rssMb: mb('status', 'VmRSS'), pssMb: mb('smaps_rollup', 'Pss') };
}

if (import.meta.main) await main();
