/** The API in this process, on a free port and a store in memory; nothing reconciles what it is told. */

import assert from 'node:assert/strict';
import { type Answer, http } from '../../scripts/demo/http.ts';
import type { ApiContext } from '../../src/api/context.ts';
import { keyring, newKey } from '../../src/api/keys.ts';
import { startApi } from '../../src/api/server.ts';
import { storeBaseline } from '../../src/baseline/store-baseline.ts';
import { type Client, createClient } from '../../src/client/index.ts';
import type { Certificate } from '../../src/lib/certificate.ts';
import { silentLog } from '../../src/lib/log.ts';
import type { ErrorBody } from '../../src/model/errors.ts';
import type { BranchInsight } from '../../src/model/insight.ts';
import type { EngineView } from '../../src/model/view.ts';
import { createProject } from '../../src/rules/branches.ts';
import type { UnclaimedVolume } from '../../src/rules/repair.ts';
import type { Store } from '../../src/store/contract.ts';
import { memoryStore } from '../../src/store/memory.ts';

export type TestApi = AsyncDisposable & {
  readonly url: string;
  /** Known to the API, as the command line's own key is. */
  readonly apiKey: string;
  readonly store: Store;
  readonly client: Client;
  /** Of claims; may be changed. */
  readonly disks: { namespace: string; claim: string }[];
  /** Of branches by id; may be changed. */
  readonly sizes: Map<string, { bytes: number; exact: boolean }>;
  /** What the context's functions were asked for. */
  readonly asked: { readonly logs: unknown[]; readonly shutdowns: string[]; resets: number };
  /** With the key unless `headers` are given. */
  request(
    method: string,
    path: string,
    options?: { readonly body?: unknown; readonly headers?: Readonly<Record<string, string>> },
  ): Promise<Answer>;
  /** The same for a request that is refused. @returns `status code: sentence; hint` */
  refused(method: string, path: string, body?: unknown): Promise<string>;
};

export type TestApiOptions = {
  /** Of every branch; absent: no server runs. */
  readonly insight?: BranchInsight;
  /** Default: none is kept here. */
  readonly history?: NonNullable<ApiContext['branches']['history']>;
  /** Default: a new one in memory, with the project `default`. */
  readonly store?: Store;
  /** Volumes that no branch claims. */
  readonly unclaimed?: readonly UnclaimedVolume[];
  readonly port?: number;
  readonly apiKey?: string;
  readonly routed?: () => Promise<void>;
  readonly keepRevoked?: boolean;
  /** Default: a day. */
  readonly trashMs?: number;
  /** Default: there is none. */
  readonly engine?: EngineView;
  /** Lines of every log. */
  readonly log?: readonly string[];
  /** Lines of the log of every branch. */
  readonly branchLog?: readonly string[];
  /** What workloads say while they are followed. */
  readonly saying?: (signal: AbortSignal) => AsyncIterable<string>;
  /** Certificate of the authority. */
  readonly authority?: string;
  /** Gateways and sidecars may follow from elsewhere. */
  readonly feed?: boolean;
  /** Default: branches have no ports of their own. */
  readonly ports?: NonNullable<ApiContext['ports']>;
  readonly certificate?: Certificate;
  readonly clear?: () => boolean;
  readonly names?: readonly string[];
};

export async function testApi(options: TestApiOptions = {}): Promise<TestApi> {
  const store = options.store ?? (await storeWithProject());
  const apiKey = options.apiKey ?? newKey();
  const sizes: TestApi['sizes'] = new Map();
  const asked = { logs: [] as unknown[], shutdowns: [] as string[], resets: 0 };
  const gateway = { host: '127.0.0.1', port: 7432 };
  const disks: TestApi['disks'] = [];
  const context: ApiContext = {
    store,
    baseline: storeBaseline(store),
    keys: keyring(store, [apiKey]),
    branches: {
      volumes: () => ({ driver: 'copy', copyOnWrite: false, why: 'a test' }),
      space: async () => ({
        room: { where: '/', totalBytes: 2 ** 40, freeBytes: 2 ** 39, reserveBytes: 2 ** 29, low: false },
        sizes,
      }),
      unclaimed: async () => options.unclaimed ?? [],
      orphans: () => [],
      async *logs(id, query) {
        asked.logs.push({ branch: id, ...query });
        yield* options.branchLog ?? ['ready'];
      },
      insight: async () => options.insight,
      ...(options.history && { history: options.history }),
    },
    ...(options.ports && { ports: options.ports }),
    programs: {
      keeps: ['memory', 'cpu', 'ports', 'volumes', 'processes'],
      disks: {
        list: async () => [...disks],
        bytes: async () => 4096,
        async remove(namespace, claim) {
          const at = disks.findIndex(disk => disk.namespace === namespace && disk.claim === claim);
          if (at >= 0) disks.splice(at, 1);
        },
      },
      async *logs({ workload, sandbox }, query, signal) {
        asked.logs.push({ ...(sandbox && { sandbox }), workload, ...query });
        const names = { pod: `${workload.name}-0`, container: 'main' };
        for (const text of options.log ?? ['one', 'two']) yield { ...names, text };
        for await (const text of query.follow ? (options.saying?.(signal) ?? []) : [])
          yield { ...names, text };
      },
      engine: () => options.engine,
      inside: async ({ workload }, container) =>
        container === 'closed'
          ? { why: 'it does not run at the moment' }
          : {
              ...{
                pod: `${workload.name}-0`,
                container: container ?? 'main',
                cwd: '/',
                env: { SECRET: 'x' },
              },
              ...{ pid: 1, startTime: '0', boot: 'another', mounts: true },
            },
      changed: async () => [],
      migrationDue: async () => false,
      async *migrationLogs() {},
      stepPathProblem: async path => (path.startsWith('/proc/') ? '/proc is no place for files' : undefined),
    },
    gateway: () => gateway,
    authority: () => options.authority,
    identity: name => (name === 'gateway' ? 'PEM' : undefined),
    visits: { link: ({ preview }) => `link-of-${preview}`, ownKey: 'own' },
    trash: { keepMs: options.trashMs ?? 86_400_000 },
    info: () => ({
      version: '0.0.0',
      pid: process.pid,
      home: '/nowhere',
      startedAt: '2026-01-01T00:00:00.000Z',
      volumes: { driver: 'copy', copyOnWrite: false, why: 'a test' },
      listen: '127.0.0.1',
      api: { host: '127.0.0.1', port: api.port, scheme: 'http' },
      preview: { domain: 'localhost', scheme: 'http', port: 7480 },
      postgres: gateway,
      proxies: [
        {
          ...{ version: '0.0.0', pid: 7, startedAt: '2026-01-01T00:00:00.000Z' },
          connections: { http: 2, sql: 1, tcp: 0 },
        },
      ],
      ...(options.feed && { feed: { host: '127.0.0.1', port: 7490, followers: [] } }),
      log: '/nowhere/daemon.log',
      leftovers: [],
    }),
    metrics: {
      read: () => ({
        since: `reset ${asked.resets} times`,
        loopDelay: { p50: 10, p99: 11, max: 12 },
        cpuMs: 13,
        scheduler: {},
      }),
      reset: () => void asked.resets++,
    },
    doctor: async () => [{ area: 'volumes', name: 'copy', ok: true, detail: 'always' }],
    warnings: sandbox => (sandbox.spec.description === 'shares' ? ['it shares'] : []),
    environment: (sandbox, workload) => ({
      OF: `${sandbox.name} ${workload ?? 'first'}`,
      QUOTED: "it's \x1b[1m",
    }),
    routed: options.routed ?? (async () => {}),
    keepRevoked: options.keepRevoked ?? false,
    shutdown: end => void asked.shutdowns.push(end),
  };
  const { certificate, clear, names } = options;
  const api = await startApi(context, {
    ...{ host: '127.0.0.1', port: options.port ?? 0, log: silentLog },
    ...(certificate && { certificate: () => certificate }),
    ...(clear && { clear }),
    ...(names && { names }),
  });
  const url = `http://127.0.0.1:${api.port}`;
  const request: TestApi['request'] = (
    method,
    path,
    { body, headers = { 'offshoot-api-key': apiKey } } = {},
  ) => http(`${url}${path}`, { method, headers, ...(body !== undefined && { body }) });
  return {
    url,
    apiKey,
    store,
    client: createClient({ url, apiKey }),
    sizes,
    disks,
    asked,
    request,
    async refused(method, path, body) {
      const answer = await request(method, path, { body });
      assert.ok(answer.status >= 400, `${method} ${path} was not refused`);
      const { code, error, hint } = answer.json() as ErrorBody;
      return `${answer.status} ${code}: ${error}${hint === undefined ? '' : `; ${hint}`}`;
    },
    [Symbol.asyncDispose]: () => api.close(),
  };
}

// --- internal -----------------------------------------------------------------------------------

async function storeWithProject(): Promise<Store> {
  const store = memoryStore();
  await createProject(store, 'default', { database: 'app', role: 'app' });
  return store;
}
