/**
 * `kill -9` of the daemon and of the proxy at moments of chance, a daemon that is starting included, under load of
 * every kind, while sandboxes come and go. What passes the proxy does not notice that the daemon died; nobody is ever
 * answered by somebody else; at the end all is as if nothing had happened, and nothing is left behind.
 */
import { delay, until } from '../../src/lib/wait.ts';
import { testDaemon } from '../../test/support/daemon.ts';
import { chance } from '../../test/support/random.ts';
import { kinds, type LinkKind } from './kill/links.ts';
import { newcomers } from './kill/newcomers.ts';
import { outage } from './kill/outage.ts';
import { passers } from './kill/passers.ts';
import { residents } from './kill/residents.ts';
import { traffic } from './kill/traffic.ts';
import { daemons, end } from './processes.ts';
import { exactly, none, type Scenario, some, told } from './scenario.ts';
import { asBefore, whatRuns } from './what-runs.ts';

export const kill: Scenario = {
  about: 'kill -9 of daemon and proxy at 50 moments of chance cuts and misleads nobody',
  deadlineMs: 14 * 60_000,
  async run(share, signal, seed) {
    const kills = Math.max(8, Math.round(50 * share));
    const dice = chance(seed);
    await using daemon = await testDaemon();
    const there = await residents(daemon, share < 1 ? 2 : 3);
    const before = await whatRuns(daemon);
    const down = outage();
    // Whatever stops the scenario ends them, too: they would go on for ever.
    await using crowd = new AsyncDisposableStack();
    const held = traffic(down);
    crowd.defer(held.end);
    there.hold(held);
    const coming = newcomers(() => daemon.client, chance(seed + 1), share < 1 ? 1 : 2);
    crowd.defer(coming.stop);
    const passing = passers({
      ...{ url: there.echoUrl, outage: down, chance: chance(seed + 2), atOnce: 2 },
      subjects: () => [...there.subjects, ...coming.subjects()],
    });
    crowd.defer(passing.end);
    await until(() => kinds.every(kind => held.open()[kind] >= there.subjects.length + 1) || undefined, {
      ...{ what: 'connections of every kind are open', deadlineMs: 60_000, signal },
    });

    const killed = { daemon: 0, 'daemon while it starts': 0, proxy: 0 };
    const survived = Object.fromEntries(kinds.map(kind => [kind, 0])) as Record<LinkKind, number>;
    const well: number[] = [];
    const killDaemon = async (which: 'daemon' | 'daemon while it starts') => {
      const pids = await daemons(daemon.home);
      if (pids.length === 0) return;
      killed[which] += 1;
      const since = down.now();
      const open = held.open();
      await end(pids);
      if (!down.now().down && !down.excuses(since)) for (const kind of kinds) survived[kind] += open[kind];
    };
    const killProxy = async () => {
      const pids = (await daemon.labelled('proxy')).map(entry => Number.parseInt(entry, 10));
      if (pids.length === 0) return;
      killed.proxy += 1;
      down.begin();
      await end(pids);
    };
    const up = () => daemon.cli(['up', '--detach']);
    const blows: readonly (() => Promise<unknown>)[] = [
      () => killDaemon('daemon'),
      killProxy,
      async function daemonThenProxy() {
        await killDaemon('daemon');
        await delay(dice.below(200), signal);
        await killProxy();
      },
      async function proxyThenDaemon() {
        await killProxy();
        await delay(dice.below(200), signal);
        await killDaemon('daemon');
      },
      async function daemonAndTheNext() {
        await killDaemon('daemon');
        const starting = up();
        const there = async () => ((await daemons(daemon.home)).length > 0 ? true : undefined);
        await until(there, { what: 'a daemon starts', deadlineMs: 60_000, signal });
        await delay(dice.below(1_500), signal);
        await killDaemon('daemon while it starts');
        await starting;
      },
    ];
    const sum = () => Object.values(killed).reduce((a, b) => a + b, 0);
    // Every one of them, also in a short run; the moments are chance's.
    for (let round = 0; sum() < kills; round++) {
      await delay(dice.below(1_500), signal);
      await blows[round % blows.length]!();
      await delay(dice.below(500), signal);
      const begun = performance.now();
      const { code, stderr } = await up();
      if (code !== 0) throw new Error(`offshoot up: ${stderr}`);
      await there.untilWell();
      down.end();
      well.push(performance.now() - begun);
    }
    await coming.end();
    await Promise.all([passing.end(), held.end()]);
    await there.untilWell();
    const rows = await there.rows();
    const cut = (kind: LinkKind) => held.cut[kind].filter(text => text.includes('was cut'));
    const refused = kinds.flatMap(kind => held.cut[kind].filter(text => !text.includes('was cut')));

    return [
      told('seed', String(seed)),
      told('killed', JSON.stringify(killed)),
      ...kinds.map(kind => some(`${names[kind]} that lived on when the daemon died`, survived[kind])),
      ...kinds.map(kind => none(`${names[kind]} that were cut though the proxy lived`, cut(kind))),
      none('connections that were refused though the proxy was there', refused),
      none('requests that were not served though the proxy was there', passing.unserved),
      none('answers of somebody else', [...held.wrong, ...passing.wrong]),
      none('answers other than 410 to keys of deleted sandboxes', passing.late),
      some('sandboxes that became ready and were deleted meanwhile', coming.made),
      told('sandboxes that were deleted meanwhile', String(coming.deleted)),
      told('requests on open connections', JSON.stringify(held.asked)),
      told('requests on new ones, by answer', JSON.stringify(passing.answers)),
      exactly(`rows lost of ${rows.acknowledged} that were acknowledged`, rows.lost, 0),
      exactly('rows on a branch that are not its own', rows.strange, 0),
      told(
        'all is well after "up"',
        `median ${median(well)} ms, longest ${Math.round(Math.max(...well))} ms`,
      ),
      await asBefore(daemon, before),
    ];
  },
};

// --- internal -----------------------------------------------------------------------------------

const names: Readonly<Record<LinkKind, string>> = {
  http: 'HTTP connections',
  stream: 'unfinished HTTP answers',
  websocket: 'WebSockets',
  sql: 'SQL sessions',
};

const median = (times: readonly number[]): number =>
  Math.round(times.toSorted((a, b) => a - b)[Math.floor(times.length / 2)] ?? Number.NaN);
