/**
 * What is limited is used up: one branch fills the pool, somebody fills the host's disk, daemon and proxy have no file
 * descriptor left. `main` is served all the time, nothing crashes, no row that was acknowledged is lost, the commands
 * that are needed then work, and all is well by itself when there is room.
 */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import pg from 'pg';
import type { Client } from '../../src/client/index.ts';
import { delay, until } from '../../src/lib/wait.ts';
import { applyEcho, deployEcho } from '../../test/support/crowd.ts';
import { type TestDaemon, testDaemon } from '../../test/support/daemon.ts';
import { type SmallDisk, smallDisk, smallDiskMissing } from '../../test/support/small-disk.ts';
import { tighten } from './full/descriptors.ts';
import { startWriter, type Writer } from './full/writer.ts';
import { exactly, none, type Scenario, some, told } from './scenario.ts';

const MIB = 2 ** 20;
const project = 'default';

type Phase = {
  readonly use: (w: World, main: Writer, round: number) => Promise<void>;
  /** What must have been refused, by the name of its count; otherwise nothing was used up. */
  readonly refuses: Readonly<Record<string, string>>;
};

const phases: Readonly<Record<string, Phase>> = {
  'a full pool': { use: fullPool, refuses: { refused: 'statements of the greedy branch that were refused' } },
  'a full host': { use: fullHost, refuses: {} },
  'no descriptors left': {
    use: noDescriptors,
    refuses: {
      unreachable: 'API calls that failed without descriptors',
      unconnected: 'connections to main that failed without descriptors',
    },
  },
};

export const full: Scenario = using(Object.keys(phases), true);

/** One after the other, each for itself. */
export const fullParts: readonly Scenario[] = [
  ...Object.keys(phases).map(name => using([name], false)),
  using([], true),
];

// --- internal -----------------------------------------------------------------------------------

/** @param start whether daemons are started on a full host, too */
function using(names: readonly string[], start: boolean): Scenario {
  const what = [...names, ...(start ? ['a start on a full host'] : [])].join(', ');
  return {
    about: `${what}: main serves, nothing crashes or is lost, all clears by itself`,
    deadlineMs: 14 * 60_000,
    missing: smallDiskMissing,
    async run(share, signal) {
      await using disk = await smallDisk(1_000 * MIB);
      await using daemon = await testDaemon({ within: disk.path, env: { OFFSHOOT_MIN_FREE: '64M' } });
      const world: World = { disk, daemon, signal, wrong: [], counts: {}, ...(share < 1 ? few : all) };
      await deployEcho(daemon);
      await makeBranch(world, 'twig');
      const before = await pids(daemon);
      await using crowd = new AsyncDisposableStack();
      const startIt = async (branch: string) => {
        const writer = await startWriter(branch, () => connectionTo(daemon.client, branch));
        crowd.defer(async () => void (await writer.end().catch(() => {})));
        return writer;
      };
      const [main, twig] = [await startIt('main'), await startIt('twig')];
      // It may be stopped meanwhile, and comes back by itself.
      const comesBack = () => check(world, 'another branch goes on', () => twig.writes(60_000));

      const failures: string[] = [];
      const rounds = names.length === 0 ? 0 : Math.max(1, Math.round(10 * share));
      for (let round = 0; round < rounds; round++) {
        for (const name of names) {
          const first = main.failures.length;
          await check(world, name, () => phases[name]!.use(world, main, round));
          failures.push(...main.failures.slice(first).map(text => `${name}: ${text}`));
        }
        await comesBack();
      }
      const same = (await pids(daemon)) === before;
      if (start) await check(world, 'a start on a full host', () => startOnFullHost(world, main));
      await comesBack();
      const [lost, lostTwig] = [await main.end(), await twig.end()];
      const refuses = Object.entries(Object.assign({}, ...names.map(name => phases[name]!.refuses)));
      return [
        told('rounds', String(rounds)),
        none('statements of main that failed', [
          ...failures,
          ...(failures.length > 0 ? await panics(daemon) : []),
        ]),
        exactly(`rows of main lost, of ${main.acknowledged} that were acknowledged`, lost, 0),
        exactly(`rows of another branch lost, of ${twig.acknowledged}`, lostTwig, 0),
        none('what did not work', world.wrong),
        ...refuses.map(([count, text]) => some(String(text), world.counts[count] ?? 0)),
        exactly('daemon and proxy are the processes of the beginning', same ? 'yes' : 'no', 'yes'),
      ];
    },
  };
}

async function noDescriptors(w: World, main: Writer, round: number): Promise<void> {
  await daemonWithout(w, round);
  await proxyWithout(w, main);
  await check(w, 'a new branch after the descriptors are back', () => makeAndDelete(w, `free-${round}`));
}

type World = {
  readonly disk: SmallDisk;
  readonly daemon: TestDaemon;
  readonly signal: AbortSignal;
  readonly wrong: string[];
  readonly counts: Record<string, number>;
  /** That one needs then. */
  readonly commands: readonly (readonly string[])[];
  /** Descriptors that the daemon has left, each in a try of its own. */
  readonly spares: readonly number[];
};

const all = {
  commands: [['status'], ['branch', 'list'], ['sandbox', 'list'], ['up', '--detach']],
  spares: [0, 1, 3, 6],
};
const few: typeof all = { commands: [['status'], ['up', '--detach']], spares: [0, 3] };

const count = ({ counts }: World, what: string, by = 1): void => {
  counts[what] = (counts[what] ?? 0) + by;
};

/** One branch takes all that it gets. It is stopped; nobody else notices; what is deleted gives its room back. */
async function fullPool(w: World, main: Writer, round: number): Promise<void> {
  const { client } = w.daemon;
  const name = `greedy-${round}`;
  const free = await w.disk.freeBytes();
  await makeBranch(w, name);
  await client.branches.limit(project, name, 100 * 1024 * MIB);
  const session = await connected(client, name);
  await session.query('CREATE TABLE fat (n int, filler text)');
  const grow = `INSERT INTO fat SELECT n, repeat('x', 1000) FROM generate_series(1, 8000) n`;
  const refused = await until(
    () =>
      session.query(grow).then(
        () => undefined,
        (error: Error & { code?: string }) => error,
      ),
    { what: 'the greedy branch is stopped', deadlineMs: 120_000, signal: w.signal },
  );
  count(w, 'refused');
  await session.end().catch(() => {});
  await main.writes();
  const login = await connected(client, name).then(
    async open => {
      await open.end();
      return undefined;
    },
    (error: Error & { code?: string }) => error,
  );
  // It may have come back already, if its end gave room, or be recovering, or say itself that it cannot write.
  const full = /Disk quota exceeded|No space left/.test(login?.message ?? '');
  if (login !== undefined && !full && !['53100', '57P03'].includes(login.code ?? ''))
    w.wrong.push(`the login to the greedy branch: ${login.code} ${login.message} (before: ${refused.code})`);
  await commands(w, 'with a full pool');
  await main.writes();
  await check(w, 'the greedy branch is deleted', () => remove(w, name));
  await check(w, 'the host has its room back', () =>
    until(async () => ((await w.disk.freeBytes()) > free - 128 * MIB ? true : undefined), {
      ...{
        what: `${Math.round(free / MIB)} MB are free`,
        deadlineMs: 60_000,
        intervalMs: 50,
        signal: w.signal,
      },
    }),
  );
  await check(w, 'a new branch after the greedy one is gone', () => makeAndDelete(w, `after-${round}`));
}

/** Somebody fills the host to the last byte. */
async function fullHost(w: World, main: Writer, round: number): Promise<void> {
  const { client } = w.daemon;
  await makeBranch(w, `doomed-${round}`);
  await applyEcho(w.daemon, `doomed-${round}`, { branch: true });
  await w.disk.fill();
  await until(async () => ((await client.status()).room?.low ? true : undefined), {
    ...{ what: 'the daemon knows', deadlineMs: 60_000, intervalMs: 50, signal: w.signal },
  });
  await main.writes();
  await commands(w, 'on a full host');
  const refused = await client.branches.create(project, { name: `none-${round}` }).then(
    async () => {
      const { reason } = await client.branches.get(project, `none-${round}`);
      return reason;
    },
    (error: { code?: string }) => error.code ?? String(error),
  );
  count(w, `new branch on a full host: ${refused}`);
  await check(w, 'a branch is deleted on a full host', () => remove(w, `doomed-${round}`));
  await check(w, 'a sandbox is deleted on a full host', () =>
    command(w, 'sandbox', 'delete', `doomed-${round}`),
  );
  await main.writes();
  await w.disk.clear();
  await check(w, 'a new branch when there is room', () => makeAndDelete(w, `room-${round}`));
  await remove(w, `none-${round}`).catch(() => {});
  await main.writes();
}

/** `down`, `kill -9` and `up` on a host that is full. */
async function startOnFullHost(w: World, main: Writer): Promise<void> {
  await w.disk.fill();
  await check(w, 'down on a full host', () => command(w, 'down'));
  await check(w, 'up on a full host', () => command(w, 'up', '--detach'));
  await check(w, 'main serves after up on a full host', () => main.writes());
  await w.daemon.kill9();
  await check(w, 'main serves without a daemon on a full host', () => main.writes());
  await check(w, 'up after kill -9 on a full host', () => command(w, 'up', '--detach'));
  await check(w, 'main serves after that', () => main.writes());
  await commands(w, 'after that');
  await w.disk.clear();
  await check(w, 'a new branch when there is room again', () => makeAndDelete(w, 'again'));
}

const isTrue = () => true;
const isFalse = () => false;

/** First not even a connection is accepted, then those but no program can be started. */
async function daemonWithout(w: World, round: number): Promise<void> {
  const { client, pid } = w.daemon;
  for (const spare of w.spares) {
    const limit = await tighten(pid, spare);
    const name = `starved-${round}-${spare}`;
    const asked: Promise<boolean>[] = [];
    try {
      asked.push(
        ...[
          client.branches.create(project, { name }),
          ...Array.from({ length: 8 }, () => client.status()),
        ].map(async answer => await answer.then(isTrue, isFalse)),
      );
      // A connection that the daemon has no descriptor to accept waits until there is one.
      const soon = delay(1_000, w.signal).then(isFalse);
      const answered = await Promise.all(asked.map(answer => Promise.race([answer, soon])));
      count(w, 'unreachable', answered.filter(one => !one).length);
    } finally {
      await limit.restore();
      await Promise.all(asked);
    }
    await check(w, `a branch that was asked for with ${spare} descriptors is ready in the end`, async () => {
      await client.branches.create(project, { name }).catch(() => {}); // there is one already
      await untilReady(w, name);
      await remove(w, name);
    });
  }
  await commands(w, 'after the daemon had no descriptors');
}

/** What is open goes on; new connections fail as long as there are no descriptors, and no longer. */
async function proxyWithout(w: World, main: Writer): Promise<void> {
  const [entry = ''] = await w.daemon.labelled('proxy');
  const limit = await tighten(Number.parseInt(entry, 10), 0);
  try {
    const asked = await Promise.allSettled(
      Array.from({ length: 8 }, async () => (await connected(w.daemon.client, 'main')).end()),
    );
    count(w, 'unconnected', asked.filter(({ status }) => status === 'rejected').length);
    await main.writes();
  } finally {
    await limit.restore();
  }
  await check(w, 'main takes connections when there are descriptors again', async () => {
    await (await connected(w.daemon.client, 'main')).end();
  });
}

/** Of daemon and proxy. */
const pids = async ({ pid, labelled }: TestDaemon): Promise<string> =>
  [pid, ...(await labelled('proxy'))].join(', ');

/** What PostgreSQL says of servers that ended by themselves. */
async function panics({ home }: TestDaemon): Promise<string[]> {
  const directory = join(home, 'logs/postgres');
  const logs = await Promise.all(
    (await readdir(directory)).map(name => readFile(join(directory, name), 'utf8')),
  );
  return logs.flatMap(log => log.split('\n').filter(line => line.includes('PANIC')));
}

/** Those that one needs then. */
async function commands(w: World, when: string): Promise<void> {
  for (const words of w.commands) await check(w, `${words.join(' ')} ${when}`, () => command(w, ...words));
}

async function command({ daemon }: World, ...words: readonly string[]): Promise<void> {
  const { code, stderr } = await daemon.cli(words);
  if (code !== 0) throw new Error(`exit code ${code}: ${stderr}`);
}

async function check({ wrong, signal }: World, what: string, work: () => Promise<unknown>): Promise<void> {
  try {
    await work();
  } catch (error) {
    signal.throwIfAborted();
    wrong.push(`${what}: ${error}`);
  }
}

async function makeBranch(w: World, name: string): Promise<void> {
  await w.daemon.client.branches.create(project, { name });
  await untilReady(w, name);
}

async function makeAndDelete(w: World, name: string): Promise<void> {
  // Room that was given back may take a moment until it is counted.
  await until(
    () =>
      w.daemon.client.branches.create(project, { name }).then(
        () => true as const,
        (error: { code?: string }) => {
          if (error.code !== 'volume/no-space') throw error;
          return undefined;
        },
      ),
    { what: `${name} may be made`, deadlineMs: 60_000, intervalMs: 100, signal: w.signal },
  );
  await untilReady(w, name);
  await remove(w, name);
}

const untilReady = ({ daemon, signal }: World, name: string) =>
  until(
    async () => {
      const view = await daemon.client.branches.get(project, name);
      return view.state === 'ready' ? view : undefined;
    },
    { what: `branch ${name} is ready`, deadlineMs: 60_000, intervalMs: 25, signal },
  );

async function remove({ daemon, signal }: World, name: string): Promise<void> {
  await daemon.client.branches.delete(project, name, { now: true });
  await until(
    async () => {
      const all = await daemon.client.branches.list(project);
      return all.some(branch => branch.name === name) ? undefined : true;
    },
    { what: `branch ${name} is gone`, deadlineMs: 60_000, intervalMs: 25, signal },
  );
}

async function connectionTo(client: Client, branch: string): Promise<string> {
  return (await client.branches.credentials(project, branch)).connectionString;
}

async function connected(client: Client, branch: string): Promise<pg.Client> {
  const session = new pg.Client({
    connectionString: await connectionTo(client, branch),
    ...{ connectionTimeoutMillis: 10_000, query_timeout: 60_000 },
  });
  session.on('error', () => {}); // the next statement hears of it
  await session.connect();
  return session;
}
