/**
 * A server whose files are broken, with children and logins that wait for it: it is tried a few times a minute,
 * nobody else is harmed, and all who wait go on at once when it has been mended.
 */
import { readFile, readlink, rename } from 'node:fs/promises';
import { join } from 'node:path';
import pg from 'pg';
import type { Client } from '../../src/client/index.ts';
import { delay, until } from '../../src/lib/wait.ts';
import type { BranchView } from '../../src/model/view.ts';
import { type TestDaemon, testDaemon } from '../../test/support/daemon.ts';
import { atMost, exactly, type Scenario, told } from './scenario.ts';

const project = 'default';
const other = 'other';

export const brokenParent: Scenario = {
  about: 'a server whose files are broken is tried ≤ 10 times a minute, whoever waits for it',
  deadlineMs: 5 * 60_000,
  async run(share, signal) {
    const [children, logins, watchMs] = [20, 100, 60_000].map(n => Math.max(2, n * share)) as [
      number,
      number,
      number,
    ];
    await using daemon = await testDaemon();
    const { client } = daemon;
    await client.projects.create({ name: other });
    const main = await ready(client, project, 'main', signal);
    await ready(client, other, 'main', signal);
    await using crowd = new AsyncDisposableStack();
    const stop = new AbortController();
    const until = AbortSignal.any([signal, stop.signal]);
    crowd.defer(() => stop.abort(new Error('the end of the scenario')));

    const { mend, starts } = await breakServer(daemon, main.id);
    const broken = performance.now();
    await Promise.all(
      Array.from({ length: children }, (_, i) => client.branches.create(project, { name: `child-${i}` })),
    );
    const names = Array.from({ length: logins }, (_, i) => (i % 2 === 0 ? 'main' : `child-${i % children}`));
    const waiting = await Promise.all(names.map(name => loginUntil(client, name, until)));
    await client.metrics.reset();
    const neighbour = await watchNeighbour(client, until);
    const made = performance.now();
    await client.branches.create(other, { name: 'unharmed' });
    await ready(client, other, 'unharmed', signal);
    const neighbourMs = performance.now() - made;
    await delay(Math.max(0, watchMs - (performance.now() - broken)), signal);
    const [tries, metrics, harm] = [await starts(), await client.metrics.read(), neighbour()];

    await mend();
    const readyAt = whenReady(client, signal);
    await client.branches.restart(project, 'main');
    const at = await readyAt(children + 1);
    const mainAt = at.get(main.id)!;
    const last = Math.max(...at.values());
    await Promise.all(waiting.map(login => login.done));
    return [
      atMost(`starts in the first ${watchMs / 1000} s`, tries, 10),
      atMost('CPU time of the daemon meanwhile, of one core', (metrics.cpuMs / watchMs) * 100, 10, '%'),
      atMost('longest time between two ticks of its loop', metrics.loopDelay.max, 30, 'ms'),
      exactly('statements that failed in another project', harm.failed, 0),
      told('statements there', `${harm.count}, the slowest ${Math.round(harm.slowestMs)} ms`),
      atMost('a new branch there is ready after', neighbourMs, 5_000, 'ms'),
      atMost(`the last of ${children} children is ready after the repair`, last - mainAt, 1_000, 'ms'),
      // Told beside it, because a busy machine slows both.
      told('that is', `${((last - mainAt) / neighbourMs).toFixed(1)} × the time of one new branch alone`),
      exactly('logins that got in at the end', waiting.length, logins),
      told('refused logins before', String(waiting.reduce((sum, l) => sum + l.refused(), 0))),
    ];
  },
};

// --- internal -----------------------------------------------------------------------------------

async function ready(
  client: Client,
  project: string,
  name: string,
  signal: AbortSignal,
): Promise<BranchView> {
  return until(
    async () => {
      const view = await client.branches.get(project, name);
      return view.state === 'ready' ? view : undefined;
    },
    { what: `branch ${name} of ${project} is ready`, deadlineMs: 60_000, intervalMs: 20, signal },
  );
}

/** Takes a file away without which PostgreSQL does not start, and kills the server. */
async function breakServer(daemon: TestDaemon, id: string) {
  const [entry = ''] = await daemon.labelled(id);
  const pid = Number.parseInt(entry, 10);
  const file = join(await readlink(`/proc/${pid}/cwd`), 'global', 'pg_control');
  const log = join(daemon.home, 'logs', 'postgres', `${id}.log`);
  await rename(file, `${file}.away`);
  process.kill(pid, 'SIGKILL');
  return {
    mend: () => rename(`${file}.away`, file),
    /** How often it was started since. */
    async starts() {
      const text = await readFile(log, 'utf8');
      return text.split('could not find the database system').length - 1;
    },
  };
}

/** Logs in again and again, as pools of clients do, until it gets in. */
async function loginUntil(client: Client, name: string, signal: AbortSignal) {
  const { connectionString } = await client.branches.credentials(project, name);
  let refused = 0;
  const work = async (): Promise<void> => {
    for (;;) {
      const session = new pg.Client({ connectionString });
      session.on('error', () => {});
      try {
        await session.connect();
        await session.query('SELECT 1');
        return;
      } catch {
        refused += 1;
      } finally {
        await session.end().catch(() => {});
      }
      await delay(1_000, signal);
    }
  };
  const done = work();
  done.catch(() => {}); // looked at by who waits for it
  return { done, refused: () => refused };
}

/** One statement in ten milliseconds, on an open session. @returns ends it and says how it was */
async function watchNeighbour(client: Client, signal: AbortSignal) {
  const { connectionString } = await client.branches.credentials(other, 'main');
  const session = new pg.Client({ connectionString });
  session.on('error', () => {});
  await session.connect();
  const seen = { count: 0, failed: 0, slowestMs: 0 };
  let over = false;
  const work = async () => {
    while (!over && !signal.aborted) {
      const begun = performance.now();
      await session.query('SELECT 1').catch(() => seen.failed++);
      seen.count += 1;
      seen.slowestMs = Math.max(seen.slowestMs, performance.now() - begun);
      await delay(10);
    }
    await session.end().catch(() => {});
  };
  void work();
  return () => {
    over = true;
    return { ...seen };
  };
}

/** @returns waits until so many branches of the project are ready; moments by id */
function whenReady(client: Client, signal: AbortSignal) {
  const at = new Map<string, number>();
  const all = Promise.withResolvers<void>();
  let wanted = Number.POSITIVE_INFINITY;
  const stop = new AbortController();
  const work = async () => {
    const watching = client.watch<BranchView>({ kind: 'branch' }, AbortSignal.any([signal, stop.signal]));
    for await (const change of watching) {
      if (change.type !== 'put' || change.object.project !== project) continue;
      if (change.object.state === 'ready' && !at.has(change.name)) at.set(change.name, performance.now());
      if (at.size >= wanted) break;
    }
    all.resolve();
  };
  work().catch(all.reject);
  return async (count: number): Promise<ReadonlyMap<string, number>> => {
    wanted = count;
    if (at.size < count) await all.promise;
    stop.abort();
    return at;
  };
}
