/**
 * `node bench/env.ts [--runs 15]`: from `offshoot env up` (the process, as a user starts it) in a new git branch to the first
 * answer of its preview, the service's own start included; the same again, when nothing has changed; and what the hooks
 * cost git, with and without them by turns.
 */
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { http } from '../scripts/demo/http.ts';
import { until } from '../src/lib/wait.ts';
import { environmentOwner } from '../src/model/environment.ts';
import { gitProject } from '../test/support/git-project.ts';
import { tempDir } from '../test/support/temp.ts';
import { benchHome } from './home.ts';
import { printRows, type Row, summarise } from './statistics.ts';

const [goalMs, gitGoalMs] = [500, 100];

export async function main(argv: readonly string[]): Promise<readonly Row[]> {
  const { values } = parseArgs({ args: [...argv], options: { runs: { type: 'string', default: '15' } } });
  const runs = Number(values.runs);
  await using bench = await benchHome();
  await using dir = await tempDir();
  await bench.cli(['branch', 'wait', 'main']);
  const { folder, git } = await gitProject(join(dir.path, 'shop'), { namespace: 'shop' });
  const ok = async (...args: readonly string[]) => {
    const done = await bench.cli(args, { cwd: folder });
    if (done.code !== 0) throw new Error(`offshoot ${args.join(' ')}: ${done.stderr}`);
    return done;
  };
  await ok('deploy', '-f', 'k8s');
  const key = (await ok('key', 'create', 'bench')).stdout.trim();
  const none = (): number[] => [];
  const times = { first: none(), again: none(), bare: none(), hooks: none(), add: none(), addHooks: none() };
  for (let i = 0; i < runs; i++) {
    await git(['checkout', '--quiet', '-b', `try/${i}`]);
    const begun = performance.now();
    const { stdout } = await ok('env', 'up', '-o', 'json');
    const { endpoints } = JSON.parse(stdout) as { endpoints: readonly { url: string }[] };
    const { status } = await http(endpoints[0]!.url, { headers: { 'signadot-api-key': key } });
    times.first.push(performance.now() - begun);
    if (status !== 200) throw new Error(`the preview answers ${status}`);
    times.again.push((await ok('env', 'up')).ms);
    await ok('env', 'down');
    await git(['checkout', '--quiet', 'main']);
  }
  const timed = async (into: number[], ...args: readonly string[]) => {
    const begun = performance.now();
    await git(args);
    into.push(performance.now() - begun);
  };
  const trees = join(dir.path, 'trees');
  for (let i = 0; i < 2 * runs; i++) {
    await timed(times.bare, 'checkout', '--quiet', 'main');
    await timed(times.add, 'worktree', 'add', '--quiet', '-b', `bare/${i}`, join(trees, `bare-${i}`));
    await ok('git', 'install-hooks');
    await timed(times.addHooks, 'worktree', 'add', '--quiet', '-b', `hooks/${i}`, join(trees, `${i}`));
    // What they make in the background has an end before anything else is timed.
    const made = async () => {
      const all = await bench.client.sandboxes.list();
      const mine = all.find(({ spec }) => environmentOwner(spec)?.branch === `hooks/${i}`);
      return mine?.status.ready || undefined;
    };
    await until(made, { what: 'its environment is ready', deadlineMs: 60_000, intervalMs: 20 });
    await timed(times.hooks, 'checkout', '--quiet', 'main');
    await ok('git', 'uninstall-hooks');
    for (const name of [`bare-${i}`, `${i}`]) await git(['worktree', 'remove', '--force', join(trees, name)]);
  }
  const [bare, add] = [summarise(times.bare), summarise(times.add)];
  const rows: Row[] = [
    {
      what: 'env up in a new git branch → first answer (command line)',
      summary: summarise(times.first),
      goal: { p50: goalMs },
    },
    { what: 'env up again, nothing changed', summary: summarise(times.again) },
    { what: 'git checkout without hooks', summary: bare },
    {
      what: 'git checkout with hooks',
      summary: summarise(times.hooks),
      goal: { p50: Math.round(bare.p50) + gitGoalMs },
    },
    { what: 'git worktree add without hooks', summary: add },
    {
      what: 'git worktree add with hooks',
      summary: summarise(times.addHooks),
      goal: { p50: Math.round(add.p50) + gitGoalMs },
    },
  ];
  printRows(rows);
  return rows;
}

if (import.meta.main) await main(process.argv.slice(2));
