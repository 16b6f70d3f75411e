/**
 * Networks of pods for an ordinary user: an outpost of his, in a user and network namespace of its own, holds the one
 * that the bridge is in. Nobody outside of it gets in but through the outpost, and pods get out only through the proxy,
 * to which the bridge's rules send what is not for other pods.
 */
import { closeSync, fstatSync, openSync, rmSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { programFile } from '../../lib/checkout.ts';
import { exec } from '../../lib/exec.ts';
import type { Libc } from '../../lib/libc.ts';
import type { Log } from '../../lib/log.ts';
import { loopbackRange } from '../../lib/loopback.ts';
import { families, netlinkBy, openNetlink } from '../../lib/netlink.ts';
import { reachOutpost, type Wish } from '../../lib/outpost.ts';
import { isAlive } from '../../lib/process.ts';
import { backoffMs, delay, until } from '../../lib/wait.ts';
import { labels } from '../labels.ts';
import type { Processes, Running } from '../processes/contract.ts';
import { type Bridge, bridgeName, closeSockets, type Sockets } from './bridge.ts';
import type { Ground, Network } from './ground.ts';
import { addRoute, linkNamed, setUp } from './links.ts';
import { readRange } from './range.ts';
import { destination, from, replaceTable, sendTo, tcp, tcpPort } from './rules.ts';

export type OutpostOptions = {
  readonly home: string;
  readonly runtimeDir: string;
  readonly instance: string;
  readonly processes: Processes;
  /** Where to look for unshare and nsenter, as in `PATH`. */
  readonly path: string;
  readonly log: Log;
};

/** The proxy listens there, at the bridge's address. */
export const wayOutPort = 15_001;

/** For the owner only. */
export const outpostSocket = (runtimeDir: string): string => join(runtimeDir, 'network', 'outpost.sock');

/** Starts an outpost, or finds the one that an earlier daemon has started. @throws Error when the machine does not allow it */
export async function outpostGround(calls: Libc, o: OutpostOptions): Promise<Ground> {
  const { instance, processes, log } = o;
  const { unshare, nsenter } = await findPrograms(processes.shells.sh, o.path);
  const file = outpostSocket(o.runtimeDir);
  const known = processes.find(PART);
  const fresh = [unshare, '--user', '--map-root-user', '--net', '--'];
  const first = known ?? (await start(o, fresh, file));
  const outpost = reachOutpost(file);
  const [user, net] = ['user', 'net'].map(kind => openSync(`/proc/${first.leader.pid}/ns/${kind}`, 'r'));
  const enter = [nsenter, '--preserve-credentials', `--user=/proc/${process.pid}/fd/${user}`];
  const over = new AbortController();
  const letGo = () => {
    over.abort(new Error('it is not needed any more'));
    outpost.close();
    for (const fd of [user!, net!]) closeSync(fd);
  };
  /** Networks outlive it, since we hold them; another one goes where it was. */
  const keep = async ({ ended }: Running, attempt = 0): Promise<void> => {
    await ended;
    if (over.signal.aborted) return;
    log.warn({}, 'the outpost in the network of pods has died; another one is started');
    try {
      await delay(backoffMs(attempt, ...PAUSES), over.signal);
      void keep(await start(o, [...enter, `--net=/proc/${process.pid}/fd/${net}`, '--'], file));
    } catch (err) {
      if (over.signal.aborted) return;
      log.error({ err }, 'no outpost can be started');
      await keep({ ...first, ended: Promise.resolve({ outOfMemory: false }) }, attempt + 1);
    }
  };
  try {
    const sockets = socketsOf(calls, await outpost.take({ kind: 'netlink' }));
    sockets.route.ask(setUp(LOOPBACK));
    const machine = openNetlink(calls, families.route);
    const own = fstatSync(net!).ino;
    const take = (wish: Wish) => outpost.take(wish, AbortSignal.timeout(ANSWER_MS));
    const networkBy = ([fd, ...others]: readonly number[]): Network => {
      const inside = socketsOf(calls, others);
      return {
        fd: fd!,
        sockets: inside,
        entrance: {
          // It is opened before the other namespace is entered, in which that would not be allowed.
          through: [...enter, `--net=/proc/${process.pid}/fd/${fd}`],
        },
        close() {
          closeSockets(inside);
          closeSync(fd!);
        },
      };
    };
    const leave = () => {
      closeSockets(sockets);
      machine.close();
      letGo();
    };
    void keep(first);
    return {
      sockets,
      machine: () => ({
        route: machine,
        // It has no index there.
        own: linkNamed(sockets.route, bridgeName(instance)) === undefined ? undefined : -1,
      }),
      setRules: (bridge, shared) => setRules(sockets, bridge, shared),
      letAnswersIn: () => [],
      podRoutes: gateway => [addRoute(readRange(loopbackRange)!, gateway, true)],
      newNetwork: async () => networkBy(await take({ kind: 'network' })),
      async networkOf(pid) {
        let taken: readonly number[];
        try {
          taken = await take({ kind: 'network', of: pid });
        } catch {
          return undefined;
        }
        const found = networkBy(taken);
        if (fstatSync(found.fd).ino !== own) return found;
        found.close();
        return undefined;
      },
      outside: {
        network: String(own),
        connect: outpost.connect,
        async socket(kind, address) {
          const [fd] = await take({ kind, ...address });
          return fd!;
        },
      },
      leave,
      async remove() {
        leave();
        await processes.kill(PART);
        rmSync(file, { force: true });
      },
    };
  } catch (error) {
    letGo();
    if (known === undefined) await processes.kill(PART);
    throw error;
  }
}

// --- internal -----------------------------------------------------------------------------------

const PART = 'network';
const LOOPBACK = 1;
const NAMES = 53;
/** Milliseconds before another one is started: the first time, and at most. */
const PAUSES = [10, 5_000] as const;
const START_MS = 10_000;
const ANSWER_MS = 5_000;

async function findPrograms(sh: string, path: string) {
  const script = 'command -v unshare && command -v nsenter';
  const { stdout } = await exec(sh, ['-c', script], { env: { PATH: path } }).catch(() => {
    throw new Error('unshare and nsenter are not on the PATH');
  });
  const [unshare, nsenter] = stdout.trim().split('\n');
  return { unshare: unshare!, nsenter: nsenter! };
}

/** @param place what goes before its argument vector */
async function start(
  { home, instance, processes }: OutpostOptions,
  place: readonly string[],
  socket: string,
): Promise<Running> {
  await mkdir(dirname(socket), { recursive: true, mode: 0o700 });
  await mkdir(join(home, 'logs'), { recursive: true });
  const log = openSync(join(home, 'logs', 'outpost.out'), 'w', 0o600);
  try {
    const running = await processes.start(PART, {
      argv: [...place, process.execPath, programFile('outpost'), '--socket', socket],
      ...{ env: labels(instance, PART), cwd: '/', stdout: log, stderr: log },
    });
    await until(() => answers(socket, running), {
      what: 'the outpost answers',
      deadlineMs: START_MS,
      intervalMs: 5,
    });
    return running;
  } catch (error) {
    await processes.kill(PART);
    throw error;
  } finally {
    closeSync(log);
  }
}

/** @throws when it has ended */
async function answers(socket: string, { leader }: Running): Promise<true | undefined> {
  const outpost = reachOutpost(socket);
  try {
    for (const fd of await outpost.take({ kind: 'netlink' })) closeSync(fd);
    return true;
  } catch (error) {
    if (!isAlive(leader))
      throw new Error('unshare --user --net has failed: the system allows no user namespaces');
    const { code = '' } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ECONNREFUSED') return undefined;
    throw error;
  } finally {
    outpost.close();
  }
}

const socketsOf = (calls: Libc, [route, netfilter, diag]: readonly number[]): Sockets => ({
  route: netlinkBy(calls, route!),
  netfilter: netlinkBy(calls, netfilter!),
  ...(diag !== undefined && { diag: netlinkBy(calls, diag) }),
});

/** What is not for another pod is the proxy's, who asks the kernel where it was to go. */
function setRules({ netfilter }: Sockets, { name, layout }: Bridge, shared: readonly number[]): void {
  const toProxy = sendTo(layout.gateway, wayOutPort);
  const gateway = readRange(`${layout.gateway}/32`)!;
  replaceTable(netfilter, name, [
    {
      name: 'out',
      ...{ hook: 'prerouting', type: 'nat', last: true },
      rules: [
        ...[NAMES, ...shared].map(port => [
          from.interface(name),
          destination.in(gateway),
          tcpPort(port),
          toProxy,
        ]),
        [from.interface(name), destination.notIn(layout.all), tcp(), toProxy],
      ],
    },
  ]);
}
