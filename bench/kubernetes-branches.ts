/**
 * A branch in a cluster, from the call of the API until `select 1` is answered through the gateway's Service, as a program in
 * the cluster sees it; and what memory a branch costs that nobody uses.
 */
import { apply } from '../test/support/cluster.ts';
import type { Installation } from '../test/support/installation.ts';
import { type Row, summarise } from './statistics.ts';

const goalMs = 150;

export async function branchRows(c: Installation, runs: number): Promise<readonly Row[]> {
  const metadata = { name: 'bench', namespace: c.namespace };
  const spec = { database: 'app', role: 'app' };
  await apply([{ apiVersion: 'offshoot.dev/v1alpha1', kind: 'Project', metadata, spec }]);
  const script = [
    'exec',
    'deployment/offshoot-controller',
    '--',
    'node',
    '--input-type=module',
    '-e',
    program,
  ];
  const said = await c.kubectl(...script, String(runs));
  const { create, login, remove } = JSON.parse(said.trim().split('\n').at(-1)!) as Record<string, number[]>;
  const memory = await c.kubectl('exec', 'offshoot-branches-0', '--', 'sh', '-c', MEMORY);
  const [servers = 0, kib = 0] = memory.trim().split(' ').map(Number);
  console.log(`${servers} servers take ${Math.round(kib / 1024 / servers)} MB each (PSS)`);
  return [
    {
      what: 'branch create → select 1, in a cluster (pool)',
      summary: summarise(create!),
      goal: { p50: goalMs },
    },
    { what: 'login and select 1 of a branch that is there', summary: summarise(login!) },
    { what: 'branch delete → gone', summary: summarise(remove!) },
  ];
}

// --- internal ------------------------------------------------------------------------------------

/** Runs in the controller's pod: it has a key of the API, and the gateway is a Service to it as to any other pod. */
const program = `
  import { readFileSync } from 'node:fs';
  import pg from '/app/node_modules/pg/esm/index.mjs';
  const { url, apiKey } = JSON.parse(readFileSync('/var/lib/offshoot/client.json', 'utf8'));
  const call = async (method, path, body) => {
    const answer = await fetch(url + '/api/v1/projects/bench/branches' + path, {
      method,
      headers: { authorization: 'Bearer ' + apiKey, ...(body && { 'content-type': 'application/json' }) },
      ...(body && { body: JSON.stringify(body) }),
    });
    if (answer.status >= 400 && answer.status !== 404) throw new Error(method + path + ': ' + (await answer.text()));
    return answer.status === 404 ? undefined : answer.json();
  };
  const select = async connectionString => {
    const client = new pg.Client({ connectionString });
    await client.connect();
    await client.query('select 1');
    await client.end();
  };
  const until = async probe => {
    while (!(await probe())) await new Promise(next => setTimeout(next, 5));
  };
  await until(async () => (await call('GET', '/main'))?.state === 'ready');
  const times = { create: [], login: [], remove: [] };
  const lap = async (name, work) => {
    const begun = performance.now();
    await work();
    times[name].push(performance.now() - begun);
  };
  const runs = Number(process.argv[1]);
  for (let run = -3; run < runs; run++) {
    const name = 'bench-' + (run + 3);
    let connectionString;
    await lap('create', async () => {
      await call('POST', '', { name, parent: 'main' });
      ({ connectionString } = await call('GET', '/' + name + '/credentials'));
      await select(connectionString);
    });
    await lap('login', () => select(connectionString));
    if (run % 2 === 0) continue; // some stay
    await lap('remove', async () => {
      await call('DELETE', '/' + name + '?now=true');
      await until(async () => (await call('GET', '/' + name)) === undefined);
    });
  }
  // The first few warm caches and code up.
  for (const name of ['create', 'login']) times[name].splice(0, 3);
  console.log(JSON.stringify(times));
  process.exit(0);
`;

/** Postmasters, and proportional set sizes of all processes of PostgreSQL, in kB. */
const MEMORY = `n=0; sum=0; for p in /proc/[0-9]*; do case "$(head -1 $p/status 2>/dev/null)" in *postgres*) ;; *) continue;; esac; [ "$(grep PPid $p/status | cut -f2)" = 1 ] && n=$((n+1)); sum=$((sum + $(grep '^Pss:' $p/smaps_rollup | tr -s ' ' | cut -d' ' -f2))); done; echo $n $sum`;
