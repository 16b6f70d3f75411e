/**
 * What `offshoot logs -f` of many workloads costs: processor time of the command, and what it adds to the daemon, beside
 * the same seconds without it: `node bench/logs.ts [--workloads 20] [--lines 1000] [--seconds 20]` (lines a second, of all together).
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { benchHome, root } from './home.ts';

const goal = 0.05;

export type LogsFigures = {
  /** Lines a second that arrived. */
  readonly lines: number;
  /** Shares of one core. */
  readonly command: number;
  readonly daemon: { readonly without: number; readonly during: number };
};

export async function main(argv: readonly string[]): Promise<LogsFigures> {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      workloads: { type: 'string', default: '20' },
      lines: { type: 'string', default: '1000' },
      seconds: { type: 'string', default: '20' },
    },
  });
  const [workloads, lines, seconds] = [
    Number(values.workloads),
    Number(values.lines),
    Number(values.seconds),
  ];
  await using folder = await folderOf(workloads, lines / workloads);
  await using bench = await benchHome();
  await bench.cli(['deploy', '-f', 'all.yaml'], { cwd: folder.path });
  await sleep(2000); // the start of the workloads is not part of it
  const without = await shareOf(bench.pid, seconds);

  const child = spawn(join(root, 'offshoot'), ['logs', '-f', '--tail', '0', '-n', 'talk'], {
    env: { ...process.env, OFFSHOOT_HOME: bench.home },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = once(child, 'exit');
  let arrived = 0;
  child.stdout.on('error', () => {});
  child.stdout.on('data', (chunk: Buffer) => {
    for (let at = chunk.indexOf(10); at !== -1; at = chunk.indexOf(10, at + 1)) arrived++;
  });
  await sleep(2000); // nor is that of the command
  const from = arrived;
  const [command, during] = await Promise.all([shareOf(child.pid!, seconds), shareOf(bench.pid, seconds)]);
  const figures = { lines: (arrived - from) / seconds, command, daemon: { without, during } };
  child.kill('SIGINT');
  await ended;

  const share = (of: number) => `${(100 * of).toFixed(1)} %`;
  const both = command + during - without;
  console.log(`${figures.lines.toFixed(0)} lines a second of ${workloads} workloads arrived (${lines} said)`);
  console.log(
    `the command: ${share(command)} of a core; the daemon: ${share(during)}, without it ${share(without)}`,
  );
  console.log(`together ${share(both)} (goal ≤ ${share(goal)}: ${both <= goal ? 'reached' : 'NOT reached'})`);
  return figures;
}

// --- internal -----------------------------------------------------------------------------------

/** What part of a core the process used in the next seconds. proc_pid_stat(5), fields 14 and 15, in ticks of 10 ms. */
async function shareOf(pid: number, seconds: number): Promise<number> {
  const ticks = async () => {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return Number(fields[11]) + Number(fields[12]);
  };
  const [before, at] = [await ticks(), performance.now()];
  await sleep(seconds * 1000);
  return ((await ticks()) - before) / 100 / ((performance.now() - at) / 1000);
}

async function folderOf(workloads: number, linesASecond: number) {
  const path = await mkdtemp(join(tmpdir(), 'offshoot-bench-'));
  const pause = 1 / linesASecond;
  const line = 'GET /users/$i HTTP/1.1 200 1532 a client of some name';
  const script = `$| = 1; my $i = 0; while (1) { $i++; print "${line}\\n"; select(undef, undef, undef, ${pause}) }`;
  await writeFile(
    join(path, 'offshoot.yaml'),
    `images:\n  talk: { dir: ., command: [perl, -e, ${JSON.stringify(script)}] }\n`,
  );
  await writeFile(
    join(path, 'all.yaml'),
    Array.from({ length: workloads }, (_, i) => manifest(i)).join('---\n'),
  );
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

const manifest = (i: number): string => `apiVersion: apps/v1
kind: Deployment
metadata: { name: talk-${i}, namespace: talk }
spec:
  selector: { matchLabels: { app: talk-${i} } }
  template:
    metadata: { labels: { app: talk-${i} } }
    spec:
      containers:
        - { name: main, image: talk }
`;

if (import.meta.main) await main(process.argv.slice(2));
