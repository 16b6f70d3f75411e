/**
 * What a status write costs the daemon's event loop, all that follows from it included (who is woken, which routes
 * change), beside 200 sandboxes and 100 Services: `node bench/store.ts [--writes 1000]`. Drivers are in memory, the store
 * is in its file.
 */
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { parseArgs } from 'node:util';
import { until } from '../src/lib/wait.ts';
import type { SandboxStatus } from '../src/model/sandbox.ts';
import { openStore } from '../src/store/sqlite.ts';
import { applied, deploy, deployment, fork, service } from '../test/support/documents.ts';
import { loopOn } from '../test/support/loop.ts';
import { memoryWorld } from '../test/support/memory-drivers.ts';
import { tempDir } from '../test/support/temp.ts';
import { printRows, type Row, summarise } from './statistics.ts';

const sandboxes = 200;
const services = 100;
const goalMs = 1;

export async function main(argv: readonly string[]): Promise<readonly Row[]> {
  const { values } = parseArgs({ args: [...argv], options: { writes: { type: 'string', default: '1000' } } });
  await using dir = await tempDir('offshoot-bench-');
  const store = openStore(join(dir.path, 'state.db'));
  const names = Array.from({ length: services }, (_, i) => `s${i}`);
  await deploy(
    store,
    ...names.flatMap(name => [deployment(name), service(name, { port: 80, targetPort: 3000 })]),
  );
  for (let i = 0; i < sandboxes; i++) await applied(store, `sb${i}`, { forks: [fork(names[i % services]!)] });
  const loop = loopOn(store, memoryWorld());
  await loop.start();
  const settled = () => {
    const all = [...store.list('sandbox'), ...store.list('manifest')];
    return all.every(o => o.status?.ready) ? true : undefined;
  };
  await until(settled, { what: 'all are ready', deadlineMs: 60_000 });

  // Every other write changes where requests go, too.
  const times: number[] = [];
  for (let i = 0; i < Number(values.writes); i++) {
    const before = performance.eventLoopUtilization();
    await store.modify('sandbox', `sb${i % sandboxes}`, ({ status }) => ({ status: changed(status!, i) }));
    await new Promise(setImmediate);
    times.push(performance.eventLoopUtilization(before).active);
  }
  await loop.close();
  await store.close();
  const rows = [
    {
      what: `status write, ${sandboxes} sandboxes, ${services} Services: the loop's time`,
      summary: summarise(times),
      goal: { p50: goalMs },
    },
  ];
  printRows(rows);
  return rows;
}

function changed(status: SandboxStatus, i: number): SandboxStatus {
  if (i % 2 === 0) return { ...status, message: `write ${i}` };
  return { ...status, forks: status.forks.map(f => ({ ...f, ready: !f.ready })) };
}

if (import.meta.main) await main(process.argv.slice(2));
