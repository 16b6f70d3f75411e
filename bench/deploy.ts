/**
 * From `offshoot deploy` (the process, as a user starts it) of a folder with 30 Deployments and their Services to its
 * return, when all answer: `node bench/deploy.ts [--runs 5] [--workloads 30]`. The programs are small ones that listen at
 * once, so what is measured is ours; then that nothing changed, and `undeploy`.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { benchHome, root } from './home.ts';
import { printRows, type Row, summarise } from './statistics.ts';

const goalMs = 10_000;

export async function main(argv: readonly string[]): Promise<readonly Row[]> {
  const { values } = parseArgs({
    args: [...argv],
    options: { runs: { type: 'string', default: '5' }, workloads: { type: 'string', default: '30' } },
  });
  const count = Number(values.workloads);
  await using bench = await benchHome();
  await bench.cli(['branch', 'wait', 'main']);
  await using folder = await folderOf(count);
  const times = { deploy: [] as number[], again: [] as number[], undeploy: [] as number[] };
  const run = async (...args: readonly string[]) => (await bench.cli(args, { cwd: folder.path })).ms;
  for (let i = 0; i < Number(values.runs); i++) {
    times.deploy.push(await run('deploy', '-f', 'all.yaml'));
    times.again.push(await run('deploy', '-f', 'all.yaml'));
    times.undeploy.push(await run('undeploy', '-f', 'all.yaml'));
  }
  const rows: Row[] = [
    {
      what: `deploy of ${count} workloads → all ready (command line)`,
      summary: summarise(times.deploy),
      goal: { p50: goalMs },
    },
    { what: 'the same again, nothing changed', summary: summarise(times.again) },
    { what: 'undeploy → all gone', summary: summarise(times.undeploy) },
  ];
  printRows(rows);
  return rows;
}

// --- internal -----------------------------------------------------------------------------------

async function folderOf(count: number) {
  const path = await mkdtemp(join(tmpdir(), 'offshoot-bench-'));
  await writeFile(
    join(path, 'offshoot.yaml'),
    `images:\n  echo: { dir: ${JSON.stringify(join(root, 'test/support/echo'))}, command: [perl, echo.pl] }\n`,
  );
  await writeFile(join(path, 'all.yaml'), Array.from({ length: count }, (_, i) => manifest(i)).join('---\n'));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

const manifest = (i: number): string => `apiVersion: apps/v1
kind: Deployment
metadata: { name: echo-${i}, namespace: many }
spec:
  selector: { matchLabels: { app: echo-${i} } }
  template:
    metadata: { labels: { app: echo-${i} } }
    spec:
      containers:
        - { name: main, image: echo, ports: [{ containerPort: 8080 }] }
---
apiVersion: v1
kind: Service
metadata: { name: echo-${i}, namespace: many }
spec:
  selector: { app: echo-${i} }
  ports: [{ port: 80, targetPort: 8080 }]
`;

if (import.meta.main) await main(process.argv.slice(2));
