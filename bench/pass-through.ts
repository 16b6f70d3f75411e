/** What passing through costs: the same bytes to the same server, directly and through a proxy's port, in turns. */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
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

/**
 * Server, proxy and client are a process each, as in life. @param argv `--megabytes N` per round and way, default 512;
 * `--rounds N`, default 5
 */
export async function main(argv: readonly string[]): Promise<readonly Figures[]> {
  const { values } = parseArgs({
    args: [...argv],
    options: { megabytes: { type: 'string', default: '512' }, rounds: { type: 'string', default: '5' } },
  });
  const [server, serverAt] = await start('server');
  const [proxy, proxyAt] = await start('proxy', JSON.stringify(serverAt));
  const ways = { direct: serverAt, proxy: proxyAt };
  const rates: Record<keyof typeof ways, number[]> = { direct: [], proxy: [] };
  const trips: Record<keyof typeof ways, number[]> = { direct: [], proxy: [] };
  try {
    for (let round = 0; round <= Number(values.rounds); round++)
      for (const way of ['direct', 'proxy'] as const) {
        const rate = await receive(ways[way], Number(values.megabytes));
        const trip = await roundTrip(ways[way], 2_000);
        if (round === 0) continue; // warming up
        rates[way].push(rate);
        trips[way].push(trip);
      }
  } finally {
    server.kill();
    proxy.kill();
  }
  const median = (all: readonly number[]) => all.toSorted((a, b) => a - b)[Math.floor(all.length / 2)]!;
  return (['direct', 'proxy'] as const).map(way => {
    const megabytesPerSecond = Math.round(median(rates[way]));
    const roundTripUs = Math.round(median(trips[way]));
    const ratio = (median(rates[way]) / median(rates.direct)).toFixed(2);
    console.log(
      `${way.padEnd(6)}  ${megabytesPerSecond} MB/s (${ratio} × direct)  round trip ${roundTripUs} µs`,
    );
    return { what: `pass-through: ${way}`, megabytesPerSecond, roundTripUs };
  });
}

// --- internal ---

const CHUNK = Buffer.alloc(64 * 1024);

async function start(role: 'server' | 'proxy', argument = ''): Promise<[ChildProcess, Address]> {
  const child = fork(fileURLToPath(import.meta.url), [role, argument]);
  const [at] = (await once(child, 'message')) as [Address];
  return [child, at];
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

async function serve(): Promise<void> {
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
  server.listen(0, '127.0.0.1', () => {
    process.send!({ host: '127.0.0.1', port: (server.address() as AddressInfo).port });
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
if (process.send !== undefined && role === 'server') await serve();
if (process.send !== undefined && role === 'proxy') await proxyTo(JSON.parse(argument!) as Address);
