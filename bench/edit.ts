/**
 * From an edit of a watched folder to the first answer that shows it, through the address of its Service, beside the same
 * program started by hand until it answers, by turns: `node bench/edit.ts [--runs 20] [--files 200]`. A Node service of that
 * many modules, all of which it loads.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { http } from '../scripts/demo/http.ts';
import { until } from '../src/lib/wait.ts';
import { type BenchHome, benchHome } from './home.ts';
import { printRows, type Row, summarise } from './statistics.ts';

const goals = { servedMs: 1000, overOwnStartMs: 300 };

export async function main(argv: readonly string[]): Promise<readonly Row[]> {
  const { values } = parseArgs({
    args: [...argv],
    options: { runs: { type: 'string', default: '20' }, files: { type: 'string', default: '200' } },
  });
  await using service = await serviceOf(Number(values.files));
  await using bench = await benchHome();
  await bench.cli(['deploy', '-f', 'k8s.yaml'], { cwd: service.path });
  const key = (await bench.cli(['key', 'create', 'bench'])).stdout.trim();
  const url = await preview(bench, service.path);
  const shows = (said: string) => ({ url, headers: { 'signadot-api-key': key }, said });
  await answered(shows('0'));
  const [edits, starts]: [number[], number[]] = [[], []];
  const edit = async (i: number) => {
    const started = performance.now();
    await service.say(String(i));
    await answered(shows(String(i)));
    edits.push(performance.now() - started);
  };
  const start = async (i: number) => starts.push(await byHand(service.path, String(i)));
  for (let i = 1; i <= Number(values.runs); i++) {
    if (i % 2 === 0) await start(i - 1);
    await edit(i);
    if (i % 2 !== 0) await start(i);
  }
  const rows: Row[] = [
    {
      what: `edit → served, ${values.files} files`,
      summary: summarise(edits),
      goal: { p50: goals.servedMs },
    },
    { what: 'its own start → first answer', summary: summarise(starts) },
  ];
  printRows(rows);
  const over = rows[0]!.summary.p50 - rows[1]!.summary.p50;
  console.log(
    `over its own start: ${over.toFixed(0)} ms (goal ≤ ${goals.overOwnStartMs}: ${over <= goals.overOwnStartMs ? 'reached' : 'NOT reached'})`,
  );
  return rows;
}

// --- internal -----------------------------------------------------------------------------------

/** A fork, since that is what somebody edits. */
async function preview({ cli }: BenchHome, cwd: string): Promise<string> {
  const { stdout } = await cli(['sandbox', 'apply', '-f', 'sandbox.yaml', '-o', 'json'], { cwd });
  return (JSON.parse(stdout) as { endpoints: readonly { readonly url: string }[] }).endpoints[0]!.url;
}

type Question = { readonly url: string; readonly headers?: Record<string, string>; readonly said: string };

/** Asked again at once: a request takes longer than any pause that would spare the machine. */
async function answered({ url, headers, said }: Question): Promise<void> {
  const asked = async () => {
    const answer = await http(url, { ...(headers !== undefined && { headers }) }).catch(() => undefined);
    return answer?.body === said ? true : undefined;
  };
  await until(asked, { what: `${url} says ${said}`, deadlineMs: 60_000, intervalMs: 2 });
}

/** Milliseconds. */
async function byHand(cwd: string, said: string): Promise<number> {
  const port = 20_000 + (process.pid % 10_000);
  const started = performance.now();
  const child = spawn(process.execPath, ['app.js'], {
    ...{ cwd: join(cwd, 'app'), stdio: 'ignore' },
    env: { PATH: process.env.PATH, PORT: String(port) },
  });
  const ended = once(child, 'exit');
  try {
    await answered({ url: `http://127.0.0.1:${port}/`, said });
    return performance.now() - started;
  } finally {
    child.kill('SIGKILL');
    await ended;
  }
}

async function serviceOf(files: number) {
  const path = await mkdtemp(join(tmpdir(), 'offshoot-bench-'));
  const app = join(path, 'app');
  await mkdir(join(app, 'lib'), { recursive: true });
  const say = (text: string) =>
    writeFile(join(app, 'says.js'), `module.exports = ${JSON.stringify(text)};\n`);
  await say('0');
  const names = Array.from({ length: files - 2 }, (_, i) => `module-${i}.js`);
  for (const [i, name] of names.entries())
    await writeFile(join(app, 'lib', name), `exports.part = ${i};\n${`// line of module ${i}\n`.repeat(40)}`);
  await writeFile(
    join(app, 'app.js'),
    `${names.map(name => `require('./lib/${name}');`).join('\n')}
const says = require('./says.js');
require('node:http').createServer((_, response) => response.end(says)).listen(process.env.PORT);
`,
  );
  await writeFile(
    join(path, 'offshoot.yaml'),
    'images:\n  edited: { dir: app, command: [node, app.js], watch: ["**"] }\n',
  );
  await writeFile(join(path, 'k8s.yaml'), manifests);
  await writeFile(join(path, 'sandbox.yaml'), sandbox);
  return { path, say, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

const manifests = `apiVersion: apps/v1
kind: Deployment
metadata: { name: edited, namespace: bench }
spec:
  selector: { matchLabels: { app: edited } }
  template:
    metadata: { labels: { app: edited } }
    spec:
      containers:
        - { name: main, image: edited, ports: [{ containerPort: 8080 }] }
---
apiVersion: v1
kind: Service
metadata: { name: edited, namespace: bench }
spec:
  selector: { app: edited }
  ports: [{ port: 80, targetPort: 8080 }]
`;

const sandbox = `name: edit
spec:
  cluster: local
  forks:
    - forkOf: { kind: Deployment, namespace: bench, name: edited }
  defaultRouteGroup:
    endpoints:
      - { name: edited, target: "http://edited.bench.svc:80" }
`;

if (import.meta.main) await main(process.argv.slice(2));
