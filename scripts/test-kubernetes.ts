/**
 * `npm run test:kubernetes [-- FILE|FOLDER…]`: the tests that need a cluster. It is the one that KUBECONFIG names when
 * `OFFSHOOT_KUBERNETES` is 1 (its current context) or names a context; else one of the lab in the folder `OFFSHOOT_LAB`. Its
 * last line counts as that of `npm test`.
 */
import { ExecError } from '../src/lib/exec.ts';
import { type Cluster, chooseCluster } from './kubernetes/cluster.ts';
import { NoLab } from './kubernetes/lab.ts';
import { leftovers, traces } from './leftovers.ts';
import type { Result } from './report.ts';
import { close, runFiles, tell, testFiles } from './suite.ts';

const chosen = process.argv.slice(2);
const files = testFiles(chosen.length === 0 ? ['test/cluster', 'test/both'] : chosen);
const say = (sentence: string) => console.error(`offshoot: ${sentence}`);
const stop = new AbortController();
const results: Result[] = [];
// The lab ends by itself when we do; this way the last line is there, too.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
  process.on(signal, () => stop.abort(new Error(`stopped by ${signal}`)));

const start = performance.now();
const before = await traces();
try {
  const cluster = await chooseCluster(say, stop.signal);
  if (typeof cluster === 'string')
    results.push({ name: 'tests of a cluster', ms: 0, outcome: 'skipped', reason: cluster });
  else await testOn(cluster);
} catch (error) {
  if (!(error instanceof NoLab || error instanceof ExecError) && !stop.signal.aborted) throw error;
  const said = error instanceof ExecError ? `${error.message}\n${error.stderr}` : (error as Error).message;
  results.push(tell('a cluster for the tests', start, said.trimEnd()));
}
close(results);

// --- internal ------------------------------------------------------------------------------------

async function testOn(cluster: Cluster): Promise<void> {
  results.push(tell(`cluster: ${cluster.name}`, start, undefined));
  Object.assign(process.env, cluster.env);
  try {
    results.push(...(await runFiles(files, stop.signal)));
    const inCluster = performance.now();
    if (!stop.signal.aborted)
      results.push(tell('nothing left in the cluster', inCluster, await cluster.leftovers()));
  } finally {
    await cluster[Symbol.asyncDispose]();
  }
  const here = performance.now();
  const ofCluster = cluster.traces();
  if (ofCluster === undefined) return;
  const left = [...(await leftovers(before)), ...ofCluster];
  results.push(tell('nothing left behind', here, left.length === 0 ? undefined : left.join('\n')));
}
