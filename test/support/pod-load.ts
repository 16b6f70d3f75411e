/** Clients in a pod of the cluster that never stop asking, and note when they were answered as they should be and when not. */
import { until } from '../../src/lib/wait.ts';
import { apply, kubectl, ourImage, read } from './cluster.ts';

export type PodWay =
  | {
      readonly name: string;
      readonly http: string;
      readonly headers?: Readonly<Record<string, string>>;
      /** What is to be answered. */
      readonly wants: string;
    }
  | {
      readonly name: string;
      /** Connection string. */
      readonly sql: string;
      /** What is asked; default: `select 1`. */
      readonly text?: string;
    };

/** Of one client: it asks on a connection that it keeps, or on a new one each time. */
export type Asked = {
  readonly name: string;
  readonly kept: boolean;
  readonly answered: number;
  /** Milliseconds of the slowest good answer. */
  readonly slowestMs: number;
  /** What came instead of a good answer: how often, and when first and last, by the machine's clock. */
  readonly failures: Readonly<Record<string, { count: number; first: number; last: number }>>;
  /** The longest time without a good answer, and when it began. */
  readonly gap: { readonly ms: number; readonly from: number };
};

export type PodLoad = {
  /** Ends it. */
  stop(): Promise<readonly Asked[]>;
};

/**
 * Resolves when each client has been answered once.
 * @param pod fields of its spec, e.g. `nodeName`
 * @param patienceMs after which a request counts as not answered; a session may take 30 s to begin
 */
export async function podLoad(
  namespace: string,
  ways: readonly PodWay[],
  { pod = {}, patienceMs = 60_000 }: { readonly pod?: object; readonly patienceMs?: number } = {},
): Promise<PodLoad> {
  const name = 'load';
  const at = ['-n', namespace];
  await apply([
    {
      ...{ apiVersion: 'v1', kind: 'Pod', metadata: { name, namespace } },
      spec: {
        ...{ terminationGracePeriodSeconds: 0, restartPolicy: 'Never', ...pod },
        containers: [
          {
            ...{
              name: 'main',
              image: ourImage,
              imagePullPolicy: 'IfNotPresent',
              command: ['node', '-e', program],
            },
            env: [
              { name: 'WAYS', value: JSON.stringify(ways) },
              { name: 'PATIENCE_MS', value: String(patienceMs) },
            ],
            readinessProbe: { exec: { command: ['test', '-e', '/tmp/all'] }, periodSeconds: 1 },
          },
        ],
      },
    },
  ]);
  await kubectl([...at, 'wait', `pod/${name}`, '--for=condition=Ready', '--timeout=120s']);
  return {
    async stop() {
      await kubectl([...at, 'exec', name, '--', 'touch', '/tmp/enough']);
      await until(
        async () => {
          const { status } = await read<{ status: { phase: string } }>(...at, 'get', 'pod', name);
          return status.phase === 'Succeeded' ? true : undefined;
        },
        { what: 'the clients end', deadlineMs: 60_000, intervalMs: 200 },
      );
      const said = (await kubectl([...at, 'logs', name])).stdout;
      await kubectl([...at, 'delete', 'pod', name, '--wait=false']);
      return JSON.parse(said) as readonly Asked[];
    },
  };
}

/** All failures of some clients in one line each. */
export const failuresOf = (asked: readonly Asked[]): readonly string[] =>
  asked.flatMap(({ name, kept, failures }) =>
    Object.entries(failures).map(
      ([what, { count }]) => `${name}, ${kept ? 'kept' : 'new'}: ${count} × ${what}`,
    ),
  );

// --- internal ------------------------------------------------------------------------------------

const program = `
  const http = require('node:http');
  const { existsSync, writeFileSync } = require('node:fs');
  const { Client } = require('/app/node_modules/pg');
  const ways = JSON.parse(process.env.WAYS);
  const patience = Number(process.env.PATIENCE_MS);
  const pause = ms => new Promise(resolve => setTimeout(resolve, ms));
  const askHttp = ({ http: url, headers = {}, wants }, agent) => new Promise((resolve, reject) => {
    const request = http.get(url, { headers, agent, timeout: patience }, answer => {
      let text = '';
      answer.setEncoding('utf8').on('data', chunk => { text += chunk; });
      answer.on('error', reject);
      answer.on('end', () => answer.statusCode === 200 && text === wants ? resolve()
        : reject(new Error(answer.statusCode + ' ' + text.slice(0, 200))));
    });
    request.on('timeout', () => request.destroy(new Error('no answer in time')));
    request.on('error', reject);
  });
  async function client(way, kept, begun) {
    const seen = { name: way.name, kept, answered: 0, slowestMs: 0, failures: {}, gap: { ms: 0, from: Date.now() } };
    let agent = way.http && kept ? new http.Agent({ keepAlive: true, maxSockets: 1 }) : false;
    let session;
    const askSql = async () => {
      if (session === undefined) {
        session = new Client({ connectionString: way.sql, connectionTimeoutMillis: Math.max(patience, 30000), query_timeout: patience });
        session.on('error', () => {});
        await session.connect();
      }
      await session.query(way.text ?? 'select 1');
      if (!kept) { const old = session; session = undefined; await old.end(); }
    };
    let last = Date.now();
    while (!existsSync('/tmp/enough')) {
      const start = Date.now();
      try {
        if (way.http) await askHttp(way, agent);
        else await askSql();
        const now = Date.now();
        if (seen.answered > 0 && now - last > seen.gap.ms) seen.gap = { ms: now - last, from: last };
        last = now;
        seen.slowestMs = Math.max(seen.slowestMs, now - start);
        seen.answered += 1;
        begun();
      } catch (error) {
        if (session) { session.end().catch(() => {}); session = undefined; }
        // What went wrong before the first good answer is the beginning's.
        if (seen.answered > 0) {
          const what = error.code ?? error.message ?? String(error);
          const one = seen.failures[what] ??= { count: 0, first: start, last: start };
          one.count += 1;
          one.last = Date.now();
        }
      }
      await pause(way.http ? 20 : 50);
    }
    const now = Date.now();
    if (now - last > seen.gap.ms) seen.gap = { ms: now - last, from: last };
    if (agent) agent.destroy();
    if (session) await session.end().catch(() => {});
    return seen;
  }
  let missing = ways.length * 2;
  const clients = ways.flatMap(way => [false, true].map(kept => {
    let isFirst = true;
    return client(way, kept, () => {
      if (isFirst && --missing === 0) writeFileSync('/tmp/all', '');
      isFirst = false;
    });
  }));
  Promise.all(clients).then(all => { console.log(JSON.stringify(all)); process.exit(); });
`;
