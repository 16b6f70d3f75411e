/** A machine for tests: a network namespace with a neighbour, in which bridges and rules harm nobody. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Networks } from '../../src/drivers/network/contract.ts';
import {
  addAddress,
  addPair,
  addRoute,
  everywhere,
  linkNamed,
  setUp,
} from '../../src/drivers/network/links.ts';
import { defaultPool, openNetworks } from '../../src/drivers/network/networks.ts';
import { ExecError, resultOf } from '../../src/lib/exec.ts';
import { libc } from '../../src/lib/libc.ts';
import { silentLog } from '../../src/lib/log.ts';
import { type NetNamespace, newNetNamespace, ownNetNamespace } from '../../src/lib/net-namespace.ts';
import { families, openNetlink } from '../../src/lib/netlink.ts';
import { tempDir } from './temp.ts';

/** Why this machine has no networks for pods; undefined where it has. */
export async function noNetworks(): Promise<string | undefined> {
  await using home = await tempDir();
  const options = { home: home.path, instance: home.path, network: defaultPool, shared: [], log: silentLog };
  const found = await openNetworks(options);
  if ('why' in found) return found.why;
  found.leave();
  return undefined;
}

/** Networks of the data directory `home` on this machine itself. */
export async function openTestNetworks(home: string): Promise<Networks> {
  const options = { home, instance: home, network: defaultPool, shared: [], log: silentLog };
  const found = await openNetworks(options);
  if ('why' in found) throw new Error(found.why);
  return found;
}

export type Place = Pick<NetNamespace, 'within'>;

export type TestMachine = AsyncDisposable & {
  /** The machine itself: `198.51.100.2`. */
  readonly inside: NetNamespace;
  /** Its neighbour, `198.51.100.1`, and its way to everywhere. */
  readonly outside: NetNamespace;
  /** Networks of the data directory `home` on it. */
  open(
    home: string,
    more?: { readonly network?: string; readonly shared?: readonly number[] },
  ): Promise<Networks>;
};

export const own = '198.51.100.2';
export const neighbour = '198.51.100.1';

export async function testMachine(): Promise<TestMachine> {
  const calls = await libc();
  const [inside, outside] = [newNetNamespace(calls), newNetNamespace(calls)];
  const [here, there] = [inside, outside].map(place =>
    place.within(() => openNetlink(calls, families.route)),
  ) as [ReturnType<typeof openNetlink>, ReturnType<typeof openNetlink>];
  here.ask(setUp(1), addPair('up0', 0, outside.fd, Buffer.from([2, 0, 0, 0, 0, 1])));
  const [up, eth] = [linkNamed(here, 'up0')!.index, linkNamed(there, 'eth0')!.index];
  there.ask(setUp(1), setUp(eth), addAddress(eth, neighbour, 24));
  here.ask(addAddress(up, own, 24), addRoute(everywhere, neighbour));
  here.close();
  there.close();
  return {
    inside,
    outside,
    async open(home, { network = defaultPool, shared = [] } = {}) {
      const machine = inside.within(() => ownNetNamespace(calls));
      const found = await openNetworks({ home, instance: home, network, shared, machine, log: silentLog });
      if ('why' in found) throw new Error(found.why);
      return found;
    },
    async [Symbol.asyncDispose]() {
      inside.close();
      outside.close();
    },
  };
}

export type Serving = AsyncDisposable & { readonly pid: number };

/** A program in `place` that answers everybody who connects with `name` and from where he came. */
export async function serve(place: Place, host: string, port: number, name: string): Promise<Serving> {
  const child = place.within(() =>
    spawn(process.execPath, ['-e', SERVER, host, String(port), name], {
      stdio: ['ignore', 'pipe', 'inherit'],
    }),
  );
  const exited = once(child, 'exit');
  await once(child.stdout!, 'data', { signal: AbortSignal.timeout(10_000) });
  return {
    pid: child.pid!,
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL');
      await exited;
    },
  };
}

/**
 * What a client in `place` hears; `refused`, or `silence`, when there is nothing to hear.
 * @param from an address of the place that he shall come from
 */
export async function ask(place: Place, host: string, port: number, from?: string): Promise<string> {
  const bash = ['/bin/bash', '-c', 'exec 3<>"/dev/tcp/$0/$1" || exit 7; cat <&3', host, String(port)];
  const node = [process.execPath, '-e', CLIENT, host, String(port), from ?? ''];
  const [file, ...args] = (from === undefined ? bash : node) as [string, ...string[]];
  const started = place.within(() => spawn(file, args, { stdio: 'pipe' }));
  try {
    return (await resultOf(started, [file, ...args], { deadlineMs: PATIENCE_MS })).stdout;
  } catch (error) {
    if (!(error instanceof ExecError)) throw error;
    return error.timedOut ? 'silence' : 'refused';
  }
}

// --- internal ------------------------------------------------------------------------------------

/** A packet that is dropped is never heard of. */
const PATIENCE_MS = 1_000;

const SERVER = `const [host, port, name] = process.argv.slice(1);
require('node:net').createServer(socket => {
  socket.on('error', () => {});
  socket.end(name + ' ' + socket.remoteAddress.replace('::ffff:', ''));
}).listen(Number(port), host, () => console.log('listening'));`;

const CLIENT = `const [host, port, localAddress] = process.argv.slice(1);
require('node:net').connect({ host, port: Number(port), localAddress }).pipe(process.stdout);`;
