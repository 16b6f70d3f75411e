/** A machine for tests: a network namespace with a neighbour, in which bridges and rules harm nobody. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { get as httpGet } from 'node:http';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
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
import { dial } from '../../src/lib/dial.ts';
import { ExecError, resultOf } from '../../src/lib/exec.ts';
import type { Entrance } from '../../src/lib/held.ts';
import { libc } from '../../src/lib/libc.ts';
import { silentLog } from '../../src/lib/log.ts';
import { type NetNamespace, newNetNamespace, ownNetNamespace } from '../../src/lib/net-namespace.ts';
import { families, openNetlink } from '../../src/lib/netlink.ts';
import { testProcesses } from './processes.ts';
import { tempDir } from './temp.ts';

/** Why this machine has no networks for pods; undefined where it has. */
export async function noNetworks(): Promise<string | undefined> {
  await using home = await tempDir();
  const found = await tryTestNetworks(home.path);
  if ('why' in found) return found.why;
  await found.close();
  return undefined;
}

/** Networks of the data directory `home` on this machine itself; an ordinary user's are held by an outpost. */
export async function openTestNetworks(home: string, shared: readonly number[] = []): Promise<Networks> {
  const found = await tryTestNetworks(home, shared);
  if ('why' in found) throw new Error(found.why);
  return found;
}

/** What a pod's HTTP server answers, whether or not this machine reaches pods as it is. */
export function getFrom({ outside }: Networks, url: string): Promise<string> {
  const { hostname: host, port, pathname } = new URL(url);
  const address = { host, port: Number(port) };
  return new Promise((resolve, reject) => {
    const dialled = (outside?.connect ?? dial)(address, AbortSignal.timeout(60_000));
    dialled.then(socket => {
      const request = httpGet({ ...address, path: pathname, createConnection: () => socket }, response =>
        text(response).then(resolve, reject),
      );
      request.on('error', reject);
    }, reject);
  });
}

async function tryTestNetworks(home: string, shared: readonly number[] = []) {
  const options = { home, instance: home, network: defaultPool, shared, log: silentLog };
  if (process.getuid?.() === 0) return await openNetworks(options);
  const processes = await testProcesses(join(home, 'outpost'));
  const outpost = { processes, runtimeDir: join(home, 'run'), path: process.env.PATH ?? '' };
  const found = await openNetworks({ ...options, outpost });
  if ('why' in found) await processes.close();
  else {
    const close = found.close.bind(found);
    found.close = () => close().finally(() => processes.close());
  }
  return found;
}

export type Place = Pick<Entrance, 'within'> & { readonly through?: readonly string[] };

/** Of a place that programs alone lead to. */
export const anywhere = <T>(work: () => T): T => work();

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
    (place.within ?? anywhere)(() => openNetlink(calls, families.route)),
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
  const argv = [process.execPath, '-e', SERVER, host, String(port), name];
  const [file, ...args] = [...(place.through ?? []), ...argv] as [string, ...string[]];
  const child = (place.within ?? anywhere)(() => spawn(file, args, { stdio: ['ignore', 'pipe', 'inherit'] }));
  const exited = once(child, 'exit');
  await once(child.stdout!, 'data', { signal: AbortSignal.timeout(60_000) });
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
 * @param from an address of the place that he shall come from @param patienceMs after which it is silence
 */
export async function ask(
  place: Place,
  host: string,
  port: number,
  { from, patienceMs = 20_000 }: { readonly from?: string; readonly patienceMs?: number } = {},
): Promise<string> {
  const bash = ['/bin/bash', '-c', 'exec 3<>"/dev/tcp/$0/$1" || exit 7; cat <&3', host, String(port)];
  const node = [process.execPath, '-e', CLIENT, host, String(port), from ?? ''];
  const argv = from === undefined ? bash : node;
  const [file, ...args] = [...(place.through ?? []), ...argv] as [string, ...string[]];
  const started = (place.within ?? anywhere)(() => spawn(file, args, { stdio: 'pipe' }));
  try {
    return (await resultOf(started, [file, ...args], { deadlineMs: patienceMs })).stdout;
  } catch (error) {
    if (!(error instanceof ExecError)) throw error;
    return error.timedOut ? 'silence' : 'refused';
  }
}

/** Nobody answers, not even that nobody is there: a packet that is dropped is never heard of. */
export async function silent(place: Place, host: string, port: number, from?: string): Promise<boolean> {
  return (await ask(place, host, port, { ...(from && { from }), patienceMs: 1_000 })) === 'silence';
}

// --- internal ------------------------------------------------------------------------------------

const SERVER = `const [host, port, name] = process.argv.slice(1);
require('node:net').createServer(socket => {
  socket.on('error', () => {});
  socket.end(name + ' ' + socket.remoteAddress.replace('::ffff:', ''));
}).listen(Number(port), host, () => console.log('listening'));`;

const CLIENT = `const [host, port, localAddress] = process.argv.slice(1);
require('node:net').connect({ host, port: Number(port), localAddress }).pipe(process.stdout);`;
