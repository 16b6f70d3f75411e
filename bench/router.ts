/** What the router costs: the same requests to the same server, directly and through it, in turns. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { parseArgs } from 'node:util';
import { Pool } from 'undici';
import { silentLog } from '../src/lib/log.ts';
import type { Address } from '../src/model/route.ts';
import { createBook } from '../src/proxy/book.ts';
import { defaultLimits } from '../src/proxy/http/limits.ts';
import { createRouter } from '../src/proxy/http/router.ts';
import { openServer } from '../src/proxy/http/server.ts';

type Figures = {
  readonly what: string;
  /** Latency of one client, microseconds. */
  readonly meanUs: number;
  readonly p50Us: number;
  readonly p95Us: number;
  readonly p99Us: number;
  /** Of 32 clients; the median of the rounds. */
  readonly requestsPerSecond: number;
};

/**
 * Prints mean, p50, p95 and p99 of one client, and requests per second of 32. Everything shares one process and one
 * core, so compare the columns; the difference is the price of a hop, the absolute figures are pessimistic.
 * @param argv `--requests N` per round and way, default 2000; `--rounds N`, default 5
 */
export async function main(argv: readonly string[]): Promise<readonly Figures[]> {
  const { values } = parseArgs({
    args: [...argv],
    options: { requests: { type: 'string', default: '2000' }, rounds: { type: 'string', default: '5' } },
  });
  const [requests, rounds] = [Number(values.requests), Number(values.rounds)];

  const server = createServer((_request, response) => response.end(ANSWER)).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const direct = server.address() as AddressInfo;
  const router = await startRouter({ host: direct.address, port: direct.port });
  const { address } = router;
  // One pool for all rounds: connections are opened while warming up, not while measuring.
  const ways = {
    direct: new Pool(`http://127.0.0.1:${direct.port}`, { connections: 32 }),
    router: new Pool(`http://${address.host}:${address.port}`, { connections: 32 }),
  };
  try {
    const times: Record<keyof typeof ways, number[]> = { direct: [], router: [] };
    const rates: Record<keyof typeof ways, number[]> = { direct: [], router: [] };
    for (let round = 0; round <= rounds; round++)
      for (const way of ['direct', 'router'] as const) {
        const latencies = await run(ways[way], requests, 1);
        const began = performance.now();
        await run(ways[way], requests, 32);
        if (round === 0) continue; // warming up
        times[way].push(...latencies);
        rates[way].push((requests / (performance.now() - began)) * 1000);
      }
    return (['direct', 'router'] as const).map(way => {
      const us = (ms: number) => Math.round(ms * 1000);
      const figures = {
        what: `router: GET, ${way}`,
        meanUs: us(times[way].reduce((sum, time) => sum + time, 0) / times[way].length),
        p50Us: us(quantile(times[way], 0.5)),
        p95Us: us(quantile(times[way], 0.95)),
        p99Us: us(quantile(times[way], 0.99)),
        requestsPerSecond: Math.round(quantile(rates[way], 0.5)),
      };
      const { meanUs, p50Us, p95Us, p99Us, requestsPerSecond } = figures;
      const latency = `mean ${meanUs} µs  p50 ${p50Us} µs  p95 ${p95Us} µs  p99 ${p99Us} µs`;
      console.log(`${way.padEnd(6)}  ${latency}  32 clients: ${requestsPerSecond} requests/s`);
      return figures;
    });
  } finally {
    await Promise.all([ways.direct.destroy(), ways.router.destroy()]);
    await router.close();
    server.close();
    server.closeAllConnections();
  }
}

// --- internal ---

const SERVICE = 'svc:demo/users:80';
const ANSWER = '{"users":5}';

/** A Service with a fork, as the book has it. */
async function startRouter(workload: Address) {
  const target = { ready: true, ports: { 80: [workload] } } as const;
  const book = createBook([
    {
      kind: 'service',
      name: SERVICE,
      value: { label: 'users', behind: [{ workload: 'demo/users', port: 80 }] },
    },
    { kind: 'workload', name: 'demo/users', value: { label: 'users', target } },
    { kind: 'fork', name: 'demo/users/k', value: { sandbox: 'mine', target } },
  ]);
  const router = createRouter({ book, log: silentLog });
  const handlers = router.handlersFor(() => SERVICE);
  const server = await openServer(
    { host: '127.0.0.1', port: 0 },
    { what: 'the benchmark', limits: defaultLimits, handlers },
  );
  return {
    address: { host: server.host, port: server.port },
    async close() {
      await server.close(0);
      await router.close();
    },
  };
}

/**
 * @returns the latency of each request, in milliseconds
 * @throws when an answer is not the server's: a quick error must not look like a quick answer
 */
async function run(pool: Pool, requests: number, clients: number): Promise<number[]> {
  const latencies: number[] = [];
  let left = requests;
  const client = async () => {
    while (left-- > 0) {
      const began = performance.now();
      const { statusCode, body } = await pool.request({
        method: 'GET',
        path: '/users',
        headers: { baggage: 'user=7,sd-routing-key=k' },
      });
      const text = await body.text();
      if (statusCode !== 200 || text !== ANSWER) throw new Error(`answer ${statusCode}: ${text}`);
      latencies.push(performance.now() - began);
    }
  };
  await Promise.all(Array.from({ length: clients }, client));
  return latencies;
}

const quantile = (values: readonly number[], q: number): number =>
  values.toSorted((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * q))]!;
