/**
 * Branches under operations of chance, some at a time, while daemon, proxy and servers are killed and the pool is closed
 * and opened again. At the end every branch holds what it must and nothing else, whole batches only, with indexes that fit
 * their tables; what is on record is what there is. A share of 1 takes two minutes, 30 an hour.
 */
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { readConfig } from '../../src/config.ts';
import { openSession } from '../../src/drivers/postgres/session.ts';
import { silentLog } from '../../src/lib/log.ts';
import { delay, until } from '../../src/lib/wait.ts';
import { type TestDaemon, testDaemon } from '../../test/support/daemon.ts';
import { chance } from '../../test/support/random.ts';
import { readBatches, schema } from './operations/batches.ts';
import { empty, faults } from './operations/ledger.ts';
import { ready, steps } from './operations/steps.ts';
import type { Known, World } from './operations/world.ts';
import { daemons, end } from './processes.ts';
import { exactly, none, type Scenario, some, told } from './scenario.ts';
import { asBefore, whatRuns } from './what-runs.ts';

export const operations: Scenario = {
  about: 'branches under operations of chance and kill -9 hold exactly what they must',
  deadlineMs: 8 * 3_600_000,
  async run(share, signal, seed) {
    const dice = chance(seed);
    await using daemon = await testDaemon();
    const project = 'default';

    await daemon.cli(['branch', 'wait', 'main']);
    const { code, stderr } = await daemon.cli(['sql', 'main', '-c', schema]);
    if (code !== 0) throw new Error(stderr);
    await letOwnersCheck(daemon);
    const before = await whatRuns(daemon);
    await daemon.client.branches.setHistory(project, 'main', { keepSeconds: 86_400, everySeconds: 10 });

    let life = 0;
    let whole = Promise.withResolvers<void>();
    let down = false;
    whole.resolve();
    const { connectionString: url } = await daemon.client.branches.credentials(project, 'main');
    const main: Known = { name: 'main', parent: undefined, ledger: empty(), url, users: 0, taken: false };
    const world = worldOf(main);
    const wrong: string[] = [];
    const taken: Record<string, number> = {};
    const over = performance.now() + 120_000 * share;
    const goesOn = () => performance.now() < over && wrong.length === 0 && !signal.aborted;

    const work = async (own: ReturnType<typeof chance>) => {
      while (goesOn()) {
        await whole.promise;
        const name = pick(own, steps);
        const done = await steps[name]!.take(world, own).catch((error: unknown) => {
          wrong.push(`${name}: ${(error as Error).message}`);
          return true;
        });
        if (done) taken[name] = (taken[name] ?? 0) + 1;
        else await delay(20);
      }
    };

    const up = async () => {
      const result = await daemon.cli(['up', '--detach']);
      if (result.code !== 0) throw new Error(`offshoot up: ${result.stderr}`);
    };
    const blows: Readonly<Record<string, () => Promise<void>>> = {
      async 'kill -9 of the daemon'() {
        await end(await daemons(daemon.home));
        await delay(dice.below(1_500));
        await up();
      },
      async 'kill -9 of the proxy'() {
        await end((await daemon.labelled('proxy')).map(entry => Number.parseInt(entry, 10)));
      },
      async 'kill -9 of a server'() {
        const servers = (await daemon.labelled('server')).map(entry => Number.parseInt(entry, 10));
        if (servers.length > 0) await end([dice.pick(servers)]);
      },
      async 'kill -9 of all servers and the daemon'() {
        await end(await daemons(daemon.home));
        await end((await daemon.labelled('server')).map(entry => Number.parseInt(entry, 10)));
        await up();
      },
      async 'down and up'() {
        await daemon.down();
        await up();
      },
    };
    const struck: Record<string, number> = {};
    const strike = async () => {
      for (let round = 0; goesOn(); round++) {
        await delay(500 + dice.below(4_000), signal);
        if (!goesOn()) return;
        const name = Object.keys(blows)[round < 5 ? round : dice.below(5)]!;
        whole = Promise.withResolvers();
        [life, down] = [life + 1, true];
        try {
          await blows[name]!();
          struck[name] = (struck[name] ?? 0) + 1;
          await gatewayListens();
          for (const branch of await daemon.client.branches.list(project))
            if (branch.state !== 'deleting' && branch.state !== 'trashed') await again(branch.name);
        } catch (error) {
          wrong.push(`${name}: ${(error as Error).message}`);
        } finally {
          down = false;
          whole.resolve();
        }
      }
    };
    /** Of a proxy that was killed nobody's state tells, and branches may be asleep. */
    const gatewayListens = async () => {
      const { hostname, port } = new URL(url);
      const takes = () => canConnect(hostname, Number(port));
      await until(takes, { what: 'the gateway listens', deadlineMs: 90_000, intervalMs: 20 });
    };
    /** A branch may go meanwhile. */
    const again = async (name: string) => {
      const there = async () => (await daemon.client.branches.list(project)).some(b => b.name === name);
      await ready(world, name).catch(async error => {
        if (await there()) throw error;
      });
    };

    await Promise.all([strike(), ...[1, 2, 3].map(n => work(chance(seed + n)))]);
    const all = [...world.branches];
    const held = await Promise.all(
      all.map(async branch => {
        try {
          const { batches, faults: torn } = await readBatches(branch.url);
          return [...torn, ...faults(branch.ledger, batches)].map(fault => `${branch.name}: ${fault}`);
        } catch (error) {
          return [`${branch.name}: ${(error as Error).message}`];
        }
      }),
    );
    const names = (await daemon.client.branches.list(project)).map(({ name }) => name).sort();
    const known = all.map(({ name }) => name).sort();
    const acknowledged = all.reduce((sum, { ledger }) => sum + ledger.sure.size, 0);
    for (const { name, parent } of await daemon.client.branches.list(project))
      if (parent === 'main')
        await daemon.client.branches.delete(project, name, { now: true, recursive: true });
    await daemon.client.trash.emptyAll();
    await daemon.client.branches.setHistory(project, 'main', null);

    return [
      told('seed', String(seed)),
      told('steps', JSON.stringify(taken)),
      told('blows', JSON.stringify(struck)),
      none('steps and blows that failed for no reason', wrong),
      some(`batches that ${all.length} branches acknowledged or inherited`, acknowledged),
      none('batches lost, torn or not its own, and indexes that do not fit', held.flat()),
      exactly('branches on record', names.join(' '), known.join(' ')),
      await asBefore(daemon, before),
    ];

    function worldOf(main: Known): World {
      let [batch, named] = [0, 0];
      return {
        client: () => daemon.client,
        project,
        branches: new Set([main]),
        main,
        moments: [],
        trash: new Map(),
        nextBatch: () => ++batch,
        nextName: () => `b-${++named}`,
        now: () => (down ? -1 : life),
        excuses: since => since !== life || down,
        well: async () => {
          while (down) await whole.promise;
        },
      };
    }
  },
};

// --- internal -----------------------------------------------------------------------------------

async function canConnect(host: string, port: number): Promise<true | undefined> {
  const socket = connect({ host, port });
  const first = await Promise.race(
    ['connect', 'error'].map(event =>
      once(socket, event).then(
        () => event,
        () => 'error',
      ),
    ),
  );
  socket.on('error', () => {}).destroy();
  return first === 'connect' || undefined;
}

/** The owner may not by himself; every branch inherits it. */
async function letOwnersCheck({ client, env, home }: TestDaemon): Promise<void> {
  const { id } = await client.branches.get('default', 'main');
  const { user, database } = await client.branches.credentials('default', 'main');
  const { runtimeDir } = readConfig(env, process.getuid?.() ?? 1);
  const admin = await openSession(
    {
      ...{ id, database, socketDir: join(runtimeDir, 's', id) },
      adminSecret: (await readFile(join(home, 'admin-secret'), 'utf8')).trim(),
    },
    { signal: AbortSignal.timeout(60_000), log: silentLog },
  );
  try {
    await admin.query(`GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO "${user.split('.')[0]}"`);
  } finally {
    await admin.close();
  }
}

function pick(dice: ReturnType<typeof chance>, from: typeof steps): string {
  let left = dice.below(Object.values(from).reduce((sum, { weight }) => sum + weight, 0));
  for (const [name, { weight }] of Object.entries(from)) {
    left -= weight;
    if (left < 0) return name;
  }
  throw new Error('weights do not add up');
}
