/**
 * The figures of a cluster, on one installation of the chart: branches, sandboxes beside bare Deployments, sidecars, memory. `node
 * bench/kubernetes.ts [--runs 40] [--turns 8] [--sandboxes 200] [--only branches,sidecar,sandboxes,memory]`, on the cluster that is named as for `npm run test:kubernetes`;
 * some five minutes.
 */
import { parseArgs } from 'node:util';
import { chooseCluster } from '../scripts/kubernetes/cluster.ts';
import { printRows, type Row } from './statistics.ts';

export async function main(argv: readonly string[]): Promise<readonly Row[]> {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      runs: { type: 'string', default: '40' },
      turns: { type: 'string', default: '8' },
      sandboxes: { type: 'string', default: '200' },
      only: { type: 'string' },
    },
  });
  const say = (sentence: string) => console.error(sentence);
  await using stack = new AsyncDisposableStack();
  if (process.env.OFFSHOOT_IMAGE === undefined) {
    const cluster = await chooseCluster(say, new AbortController().signal);
    if (typeof cluster === 'string') {
      console.log(`skipped: ${cluster}`);
      return [];
    }
    stack.use(cluster);
    Object.assign(process.env, cluster.env);
  }
  // They read the environment when they are loaded.
  const { noImage } = await import('../test/support/cluster.ts');
  if (noImage) {
    console.log(`skipped: ${noImage}`);
    return [];
  }
  const { installation } = await import('../test/support/installation.ts');
  const { branchRows } = await import('./kubernetes-branches.ts');
  const { sandboxRows, sidecarRows } = await import('./kubernetes-sandboxes.ts');
  const { memoryRows } = await import('./kubernetes-memory.ts');
  const c = stack.use(
    await installation(
      ...['--set', 'branches.nodes=1', '--set', 'branches.pool=true', '--set', 'branches.poolSize=8G'],
      ...['--set', 'branches.storage.kind=emptyDir'],
    ),
  );
  const parts: Readonly<Record<string, () => Promise<readonly Row[]>>> = {
    branches: () => branchRows(c, Number(values.runs)),
    sidecar: () => sidecarRows(c),
    sandboxes: () => sandboxRows(c, Number(values.turns)),
    memory: () => memoryRows(c, Number(values.sandboxes)),
  };
  const rows: Row[] = [];
  for (const [name, part] of Object.entries(parts)) {
    if (values.only !== undefined && !values.only.split(',').includes(name)) continue;
    const begun = performance.now();
    const measured = await part();
    printRows(measured);
    console.log(`(${Math.round((performance.now() - begun) / 1000)} s)`);
    rows.push(...measured);
  }
  return rows;
}

if (import.meta.main) await main(process.argv.slice(2));
