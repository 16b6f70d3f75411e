/**
 * What the Postgres gateway adds to PostgreSQL's own socket, side by side in one run:
 * `node bench/gateway.ts [--runs 200] [--queries 5000]`. One client, one server; direct is its unix socket. The
 * gateway has a thread of its own: in the client's event loop the way between the two would cost next to nothing.
 */
import { once } from 'node:events';
import { dirname } from 'node:path';
import { parseArgs } from 'node:util';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import pg from 'pg';
import { silentLog } from '../src/lib/log.ts';
import type { Address } from '../src/model/route.ts';
import { createBook } from '../src/proxy/book.ts';
import { createGateway } from '../src/proxy/postgres/gateway.ts';
import { testBranches, testCtx } from '../test/support/postgres.ts';
import { type Row, summarise } from './statistics.ts';

const BRANCH = 'benchmark';

export async function main(argv: readonly string[]): Promise<readonly Row[]> {
  const { values } = parseArgs({
    args: [...argv],
    options: { runs: { type: 'string', default: '200' }, queries: { type: 'string', default: '5000' } },
  });
  await using b = await testBranches('copy');
  await b.branch(BRANCH);
  await b.sql(BRANCH, `CREATE ROLE app LOGIN PASSWORD 'benchmark'`);
  const { socket } = (await b.servers.observe(BRANCH, testCtx()))!;
  await using stack = new AsyncDisposableStack();
  const thread = new Worker(new URL(import.meta.url), { workerData: { socket } });
  stack.defer(async () => void (await thread.terminate()));
  const [address] = (await once(thread, 'message')) as [Address];
  const login = { database: 'postgres', password: 'benchmark' };
  const ways: readonly [name: string, config: pg.ClientConfig][] = [
    ['direct', { ...login, host: dirname(socket), user: 'app' }],
    ['gateway', { ...login, ...address, user: `app.${BRANCH}` }],
  ];
  return [
    ...(await compare('connect, select 1, close', Number(values.runs), ways, connectOnce)),
    ...(await compareQueries(Number(values.queries), ways)),
  ];
}

// --- internal ------------------------------------------------------------------------------------

async function serveInThread(): Promise<void> {
  const { socket } = workerData as { socket: string };
  const book = createBook([{ kind: 'branch', name: BRANCH, value: { endpoint: { socket }, sessions: 0 } }]);
  const awake = () => Promise.reject(new Error('nobody is asked'));
  const gateway = createGateway({ book, awake, log: silentLog });
  const { host, port } = await gateway.open({ host: '127.0.0.1', port: 0 });
  parentPort!.postMessage({ host, port });
}

async function connectOnce(config: pg.ClientConfig): Promise<void> {
  const client = new pg.Client(config);
  await client.connect();
  await client.query('SELECT 1');
  await client.end();
}

async function compareQueries(
  runs: number,
  ways: readonly [name: string, config: pg.ClientConfig][],
): Promise<Row[]> {
  await using stack = new AsyncDisposableStack();
  const open: [string, pg.Client][] = [];
  for (const [name, config] of ways) {
    const client = new pg.Client(config);
    await client.connect();
    stack.defer(() => client.end());
    open.push([name, client]);
  }
  return await compare('select 1 in an open session', runs, open, client => client.query('SELECT 1'));
}

/** Measures all ways in turn, so that whatever else the machine does meets them alike. */
async function compare<T>(
  what: string,
  runs: number,
  ways: readonly (readonly [name: string, way: T])[],
  action: (way: T) => Promise<unknown>,
): Promise<Row[]> {
  const times = ways.map((): number[] => []);
  for (let run = 0; run < runs; run++)
    for (const [i, [, way]] of ways.entries()) {
      const begun = performance.now();
      await action(way);
      times[i]!.push(performance.now() - begun);
    }
  const cell = (ms: number) => `${ms.toFixed(3)} ms`.padStart(12);
  return ways.map(([name], i) => {
    const summary = summarise(times[i]!);
    console.log(
      `${what}, ${name}`.padEnd(44) + `p50${cell(summary.p50)}  p95${cell(summary.p95)}  ${runs} runs`,
    );
    return { what: `gateway: ${what}, ${name}`, summary };
  });
}

if (!isMainThread) await serveInThread();
else if (import.meta.main) await main(process.argv.slice(2));
