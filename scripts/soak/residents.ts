/**
 * Many sandboxes and branches that are awake and idle, on one daemon: what they cost the next one, the loop, and whoever
 * asks for a list. A neighbour, a daemon with one sandbox, is measured in turn with it: what else the machine does meets
 * both alike.
 */
import { summarise } from '../../bench/statistics.ts';
import {
  applyEcho,
  askEcho,
  deleteEcho,
  deployEcho,
  growBranches,
  settle,
} from '../../test/support/crowd.ts';
import { type TestDaemon, testDaemon } from '../../test/support/daemon.ts';
import { atMost, exactly, type Scenario, told } from './scenario.ts';

export const residents: Scenario = {
  about:
    '200 sandboxes and 300 branches that are there cost the next one, the loop and lists next to nothing',
  deadlineMs: 20 * 60_000,
  async run(share, signal) {
    const [sandboxes, branches, runs] = [200, 300, 30].map(n => Math.max(5, Math.round(n * share))) as [
      number,
      number,
      number,
    ];
    await using crowded = await testDaemon({ env: { OFFSHOOT_POOL_SIZE: '20G' } });
    await using quiet = await testDaemon();
    const [key, quietKey] = [await deployEcho(crowded), await deployEcho(quiet)];
    await settle(quiet, { to: 1, branch: false });
    await once(crowded, key);
    await once(quiet, quietKey);
    await settle(crowded, { to: sandboxes, branch: false });
    signal.throwIfAborted();
    await growBranches(crowded, { to: branches - 1 });
    signal.throwIfAborted();

    await Promise.all([crowded.client.metrics.reset(), quiet.client.metrics.reset()]);
    const [own, neighbour]: [number[], number[]] = [[], []];
    const [cli, api]: [number[], number[]] = [[], []];
    let listed = 0;
    for (let run = 0; run < runs; run++) {
      signal.throwIfAborted();
      own.push(await once(crowded, key));
      neighbour.push(await once(quiet, quietKey));
      cli.push((await crowded.cli(['branch', 'list'])).ms);
      const begun = performance.now();
      listed = (await crowded.client.branches.list('default')).length;
      api.push(performance.now() - begun);
    }
    const { loopDelay, cpuMs, since } = await crowded.client.metrics.read();
    const quietDelay = (await quiet.client.metrics.read()).loopDelay;
    const all = await crowded.client.sandboxes.list();
    for (const view of all) await askEcho(view, key);
    const [p50, besides] = [own, neighbour].map(times => summarise(times).p50) as [number, number];
    const seconds = (Date.now() - Date.parse(since)) / 1000;
    return [
      exactly('sandboxes that answer as themselves', all.length, sandboxes),
      exactly('branches that are listed', listed, branches),
      told('sandbox apply, p50', `${p50.toFixed(0)} ms, with 1 resident ${besides.toFixed(0)} ms`),
      atMost('sandbox apply, p50, of that with 1 resident', p50 / besides, 1.3, '×'),
      // Its clock ticks every 10 ms.
      atMost('longest time that its loop kept others waiting', loopDelay.max - 10, 20, 'ms'),
      told(
        'of its ticks, 99 % came within',
        `${loopDelay.p99} ms; with 1 resident ${quietDelay.p99} ms, the longest ${quietDelay.max} ms`,
      ),
      told('CPU time of the daemon meanwhile', `${(cpuMs / seconds / 10).toFixed(0)} % of one core`),
      atMost('branch list (command line), p50', summarise(cli).p50, 150, 'ms'),
      told('branch list (API), p50', `${summarise(api).p50.toFixed(1)} ms`),
    ];
  },
};

// --- internal -----------------------------------------------------------------------------------

/** @returns milliseconds from apply to ready */
async function once(daemon: TestDaemon, key: string): Promise<number> {
  const begun = performance.now();
  const view = await applyEcho(daemon, 'newcomer', { branch: false });
  const ms = performance.now() - begun;
  await askEcho(view, key);
  await deleteEcho(daemon, 'newcomer');
  return ms;
}
