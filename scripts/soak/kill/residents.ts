/** Who stays there from beginning to end: the baseline and some sandboxes, each with two forks and a branch. */
import assert from 'node:assert/strict';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import type { Client } from '../../../src/client/index.ts';
import { until } from '../../../src/lib/wait.ts';
import { deployEcho, echoSandbox } from '../../../test/support/crowd.ts';
import type { TestDaemon } from '../../../test/support/daemon.ts';
import { askOnce, openHttp, openSql, openStream, openWebSocket } from './links.ts';
import type { Subject } from './passers.ts';
import type { Traffic } from './traffic.ts';

export type Residents = {
  /** The Service whose sandboxes come and go. */
  readonly echoUrl: string;
  readonly subjects: readonly Subject[];
  /** Everybody asks everybody, by every kind of connection. */
  hold(traffic: Traffic): void;
  /** Waits until all of them answer at new connections of every kind. */
  untilWell(): Promise<void>;
  /** Rows that a branch has acknowledged and that are not in it, and such as are in it and not its own. */
  rows(): Promise<{ readonly acknowledged: number; readonly lost: number; readonly strange: number }>;
};

export async function residents(daemon: TestDaemon, count: number): Promise<Residents> {
  const { cli } = daemon;
  const run = async (...args: readonly string[]) => {
    const { code, stdout, stderr } = await cli(args, { cwd: talkFolder });
    assert.equal(code, 0, `offshoot ${args.join(' ')}: ${stderr}`);
    return stdout.trim();
  };
  const apiKey = await deployEcho(daemon);
  await run('deploy', '-f', 'talk.yaml');
  const echoUrl = await run('service', 'url', 'echo', '-n', 'crowd');
  const talkUrl = await run('service', 'url', 'talk', '-n', 'talk');
  await run(
    'sql',
    'main',
    '-c',
    "CREATE TABLE kept (n int, name text); CREATE TABLE who AS SELECT 'main'::text AS name",
  );
  const names = Array.from({ length: count }, (_, i) => `resident-${i}`);
  const all = await Promise.all(names.map(name => resident(daemon.client, name)));
  const databases: Database[] = [];
  for (const branch of ['main', ...names.map(name => `sb-${name}`)]) {
    const { connectionString } = await daemon.client.branches.credentials('default', branch);
    await query(connectionString, `UPDATE who SET name = '${branch}'`);
    databases.push(database(branch, connectionString));
  }
  const everybody = [{ name: 'baseline', key: undefined, previews: undefined }, ...all];
  const headersOf = (key: string | undefined) =>
    key === undefined ? {} : { baggage: `sd-routing-key=${key}` };

  return {
    echoUrl,
    subjects: all.map(({ name, key }) => ({ name, key, phase: 'ready' })),
    hold(traffic) {
      for (const { name, key } of everybody) {
        traffic.hold('http', name, () => openHttp(talkUrl, headersOf(key)));
        traffic.hold('stream', name, () => openStream(talkUrl, headersOf(key)));
        traffic.hold('websocket', name, () => openWebSocket(talkUrl, headersOf(key)));
      }
      for (const { branch, connectionString, row } of databases)
        traffic.hold('sql', branch, () => openSql(connectionString, row));
    },
    async untilWell() {
      const askAll = () =>
        Promise.all([
          ...everybody.flatMap(({ name, key, previews }) => [
            complaint(name, () => askOnce(echoUrl, headersOf(key))),
            complaint(name, () => askOnce(talkUrl, headersOf(key))),
            ...(previews ?? []).map(url =>
              complaint(name, () => askOnce(url, { 'signadot-api-key': apiKey })),
            ),
          ]),
          ...databases.map(({ branch, connectionString }) =>
            complaint(branch, async () => {
              const [row] = await query(connectionString, 'SELECT name FROM who');
              return { status: 200, body: String(row?.name) };
            }),
          ),
        ]);
      let last: readonly string[] = [];
      const well = async () => {
        last = (await askAll()).filter(found => found !== undefined);
        return last.length === 0 ? true : undefined;
      };
      await until(well, { what: 'all residents answer', deadlineMs: wellMs, intervalMs: 20 }).catch(cause => {
        throw new Error(`not all residents answer: ${last.join('; ')}`, { cause });
      });
    },
    async rows() {
      const found = await Promise.all(databases.map(d => d.check()));
      const sum = (pick: (f: (typeof found)[number]) => number) => found.reduce((s, f) => s + pick(f), 0);
      return { acknowledged: sum(f => f.acknowledged), lost: sum(f => f.lost), strange: sum(f => f.strange) };
    },
  };
}

// --- internal -----------------------------------------------------------------------------------

const talkFolder = fileURLToPath(new URL('../../../test/support/talk', import.meta.url));
/** Milliseconds until everybody answers again, after all that may have been killed. */
const wellMs = 60_000;

type Database = {
  readonly branch: string;
  readonly connectionString: string;
  readonly row: { next(): number; acknowledged(n: number): void };
  check(): Promise<{ readonly acknowledged: number; readonly lost: number; readonly strange: number }>;
};

async function resident(client: Client, name: string) {
  const { spec } = echoSandbox(name, { branch: true });
  const [echo] = spec.forks!;
  const talk = {
    forkOf: { kind: 'Deployment', namespace: 'talk', name: 'talk' },
    customizations: { env: [{ name: 'WHO', value: name }] },
  } as const;
  const endpoints = [
    ...spec.endpoints!,
    { name: 'talk', host: 'talk.talk.svc', port: 80, protocol: 'http' } as const,
  ];
  const { routingKey } = await client.sandboxes.apply({
    name,
    spec: { ...spec, forks: [echo!, talk], endpoints },
  });
  const view = await until(
    async () => {
      const found = await client.sandboxes.get(name);
      assert.notEqual(found.status.failed, true, found.status.message);
      return found.status.ready ? found : undefined;
    },
    { what: `${name} is ready`, deadlineMs: 60_000, intervalMs: 20 },
  );
  return { name, key: routingKey, previews: view.endpoints.map(e => e.url) };
}

function database(branch: string, connectionString: string): Database {
  let last = 0;
  const acknowledged: number[] = [];
  return {
    ...{ branch, connectionString },
    row: { next: () => last++, acknowledged: n => void acknowledged.push(n) },
    async check() {
      const rows = await query(connectionString, 'SELECT n, name FROM kept');
      const there = new Set(rows.map(({ n }) => Number(n)));
      return {
        acknowledged: acknowledged.length,
        lost: acknowledged.filter(n => !there.has(n)).length,
        strange: rows.filter(({ name }) => name !== branch).length,
      };
    },
  };
}

async function query(connectionString: string, text: string): Promise<Record<string, unknown>[]> {
  const session = new pg.Client({ connectionString, connectionTimeoutMillis: 20_000, query_timeout: 20_000 });
  session.on('error', () => {});
  try {
    await session.connect();
    return (await session.query(text)).rows;
  } finally {
    await session.end().catch(() => {});
  }
}

/** What is wrong with an answer that should be `name`. */
const complaint = (
  name: string,
  ask: () => Promise<{ readonly status: number; readonly body: string }>,
): Promise<string | undefined> =>
  ask().then(
    ({ status, body }) => (status === 200 && body === name ? undefined : `${name}: ${status} ${body}`),
    error => `${name}: ${error}`,
  );
