/** What passing through costs: the same bytes of the same server, directly, through a proxy's port and led by the kernel, in turns. */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { type AddressInfo, connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { defaultPool, openNetworks } from '../src/drivers/network/networks.ts';
import { silentLog } from '../src/lib/log.ts';
import type { Address } from '../src/model/route.ts';
import { createBook } from '../src/proxy/book.ts';
import { defaultLimits } from '../src/proxy/http/limits.ts';
import { createRouter } from '../src/proxy/http/router.ts';
import { openServer } from '../src/proxy/http/server.ts';
import { createPassThrough } from '../src/proxy/tcp/pass-through.ts';

type Figures = {
  readonly what: string;
  /** Of one connection, one way; the median of the rounds. */
  readonly megabytesPerSecond: number;
  /** Round trips of one byte on one connection, microseconds. */
  readonly roundTripUs: number;
};

/** A way to a server, and the one that it is measured against. */
type Way = { readonly to: Address; readonly against: string };

/**
 * Server, proxy and client are a process each, as in life. Where pods can have networks of their own, also what the
 * kernel leads: from a Service's address to a pod. @param argv `--megabytes N` per round and way, default 512;
 * `--rounds N`, default 5
 */
export async function main(argv: readonly string[]): Promise<readonly Figures[]> {
  const { values } = parseArgs({
    args: [...argv],
    options: { megabytes: { type: 'string', default: '512' }, rounds: { type: 'string', default: '5' } },
  });
  await using stack = new AsyncDisposableStack();
  const ways: Record<string, Way> = { ...(await throughProxy(stack)), ...(await throughKernel(stack)) };
  const rates: Record<string, number[]> = {};
  const trips: Record<string, number[]> = {};
  for (let round = 0; round <= Number(values.rounds); round++)
    for (const [way, { to }] of Object.entries(ways)) {
      const rate = await receive(to, Number(values.megabytes));
      const trip = await roundTrip(to, 2_000);
      if (round === 0) continue; // warming up
      rates[way] = [...(rates[way] ?? []), rate];
      trips[way] = [...(trips[way] ?? []), trip];
    }
  const median = (all: readonly number[]) => all.toSorted((a, b) => a - b)[Math.floor(all.length / 2)]!;
  return Object.entries(ways).map(([way, { against }]) => {
    const megabytesPerSecond = Math.round(median(rates[way]!));
    const roundTripUs = Math.round(median(trips[way]!));
    const ratio = (median(rates[way]!) / median(rates[against]!)).toFixed(2);
    console.log(
      `${way.padEnd(14)}  ${megabytesPerSecond} MB/s (${ratio} × ${against})  round trip ${roundTripUs} µs`,
    );
    return { what: `pass-through: ${way}`, megabytesPerSecond, roundTripUs };
  });
}

// --- internal ---

const CHUNK = Buffer.alloc(64 * 1024);

async function throughProxy(stack: AsyncDisposableStack): Promise<Record<string, Way>> {
  const direct = await start(stack, 'server', '127.0.0.1');
  const proxy = await start(stack, 'proxy', JSON.stringify(direct));
  return { direct: { to: direct, against: 'direct' }, proxy: { to: proxy, against: 'direct' } };
}

async function throughKernel(stack: AsyncDisposableStack): Promise<Record<string, Way>> {
  const home = await mkdtemp(join(tmpdir(), 'offshoot-bench-'));
  stack.defer(() => rm(home, { recursive: true, force: true }));
  const options = { home, instance: home, network: defaultPool, shared: [], log: silentLog };
  const networks = await openNetworks(options);
  if ('why' in networks) {
    console.log(`nothing is led by the kernel here: ${networks.why}`);
    return {};
  }
  stack.defer(() => networks.close());
  const pod = await networks.ensure('workload/cache/0');
  const at = await start(stack, 'server', pod.ip, pod.within);
  const service = { host: networks.services!.address('cache', 0), port: 6379 };
  networks.shorten([{ ...service, pods: [at] }]);
  return { pod: { to: at, against: 'pod' }, 'Service to pod': { to: service, against: 'pod' } };
}

async function start(
  stack: AsyncDisposableStack,
  role: 'server' | 'proxy',
  argument: string,
  within: <T>(step: () => T) => T = step => step(),
): Promise<Address> {
  const child: ChildProcess = within(() => fork(fileURLToPath(import.meta.url), [role, argument]));
  stack.defer(async () => {
    const ended = once(child, 'exit');
    child.kill();
    await ended;
  });
  const [at] = (await once(child, 'message')) as [Address];
  return at;
}

/** MB/s of what the server sends. */
async function receive(to: Address, megabytes: number): Promise<number> {
  const socket = connect(to);
  const began = performance.now();
  socket.write(`${megabytes}\n`);
  let received = 0;
  socket.on('data', chunk => {
    received += chunk.length;
  });
  await once(socket, 'end');
  if (received !== megabytes * 2 ** 20) throw new Error(`${received} bytes came`);
  return megabytes / ((performance.now() - began) / 1000);
}

/** Microseconds of one, the mean of many. */
async function roundTrip(to: Address, times: number): Promise<number> {
  const socket = connect({ ...to, noDelay: true });
  await once(socket, 'connect');
  socket.write('echo\n');
  await once(socket, 'data');
  const began = performance.now();
  for (let i = 0; i < times; i++) {
    socket.write('x');
    await once(socket, 'data');
  }
  socket.destroy();
  return ((performance.now() - began) / times) * 1000;
}

async function serve(host: string): Promise<void> {
  const server = createServer({ noDelay: true }, socket => {
    socket.on('error', () => {});
    socket.once('data', first => {
      const megabytes = Number(first);
      if (Number.isNaN(megabytes)) return socket.pipe(socket, { end: false }).write('x');
      let left = (megabytes * 2 ** 20) / CHUNK.length;
      const send = () => {
        while (left > 0) {
          left--;
          if (!socket.write(CHUNK)) return void socket.once('drain', send);
        }
        socket.end();
      };
      send();
      return undefined;
    });
  });
  server.listen(0, host, () => {
    process.send!({ host, port: (server.address() as AddressInfo).port });
  });
}

async function proxyTo(workload: Address): Promise<void> {
  const destination = 'svc:demo/cache:6379';
  const target = { ready: true, ports: { 6379: [workload] } } as const;
  const behind = [{ workload: 'demo/cache', port: 6379 }];
  const book = createBook([
    { kind: 'service', name: destination, value: { label: 'cache', speaks: 'tcp', behind } },
    { kind: 'workload', name: 'demo/cache', value: { label: 'cache', target } },
  ]);
  const { host, port } = await openServer(
    { host: '127.0.0.1', port: 0 },
    {
      ...{ what: 'the benchmark', limits: defaultLimits },
      handlers: createRouter({ book, log: silentLog }).handlersFor(() => destination),
      intercept: createPassThrough({ book, log: silentLog }).interceptFor(() => destination),
    },
  );
  process.send!({ host, port });
}

const [, , role, argument] = process.argv;
if (process.send !== undefined && role === 'server') await serve(argument!);
if (process.send !== undefined && role === 'proxy') await proxyTo(JSON.parse(argument!) as Address);
