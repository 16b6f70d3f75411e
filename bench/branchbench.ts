/**
 * BranchBench's five workflows (arXiv 2604.17180): workers that grow branches from branches, change and ask them, and delete some:
 * `node bench/branchbench.ts [WORKFLOW…] [--share 1] [--seed 1]`. Written from the description of what a step is; the tables are
 * CH-benCHmark's. Beyond it each branch has to know the steps of its ancestors and no others.
 */
import { parseArgs } from 'node:util';
import pg from 'pg';
import type { Client } from '../src/client/index.ts';
import { type Chance, chance } from '../test/support/random.ts';
import { load } from './branchbench/schema.ts';
import { type Node, type Tree, treeOf } from './branchbench/tree.ts';
import { type Workflow, workflows } from './branchbench/workflows.ts';
import { benchHome } from './home.ts';
import { printRows, type Row, summarise } from './statistics.ts';

const project = 'default';
/** A step whose branch cannot be reached for so long has failed. */
const patienceMs = 10 * 60_000;
/** What a gateway answers to a login that comes while too many others wait, or that has waited as long as one may. */
const later = new Set(['53300', '57P03', '57P05', '08006']);

export async function main(argv: readonly string[]): Promise<readonly Row[]> {
  const { values, positionals } = parseArgs({
    args: [...argv],
    allowPositionals: true,
    options: { share: { type: 'string', default: '1' }, seed: { type: 'string', default: '1' } },
  });
  const rows: Row[] = [];
  for (const [name, workflow] of Object.entries(workflows))
    if (positionals.length === 0 || positionals.includes(name))
      rows.push(...(await perform(name, shareOf(workflow, Number(values.share)), Number(values.seed))));
  printRows(rows);
  return rows;
}

// --- internal ------------------------------------------------------------------------------------

type Run = {
  readonly client: Client;
  readonly workflow: Workflow;
  readonly tree: Tree;
  readonly dice: Chance;
  readonly times: Record<'branch' | 'mutate' | 'evaluate' | 'delete' | 'step', number[]>;
  readonly failures: string[];
  retries: number;
};

/** Fewer workers, or where there is one, fewer steps. */
function shareOf(workflow: Workflow, share: number): Workflow {
  const part = (n: number) => Math.max(1, Math.round(n * share));
  if (workflow.workers > workflow.steps) return { ...workflow, workers: part(workflow.workers) };
  return { ...workflow, steps: part(workflow.steps) };
}

async function perform(name: string, workflow: Workflow, seed: number): Promise<readonly Row[]> {
  await using bench = await benchHome();
  const { client } = bench;
  await bench.cli(['branch', 'wait', 'main']);
  await withSession(client, 'main', load);
  const times = { branch: [], mutate: [], evaluate: [], delete: [], step: [] };
  const run: Run = {
    ...{ client, workflow, tree: treeOf(workflow), dice: chance(seed), times },
    ...{ failures: [], retries: 0 },
  };
  const begun = performance.now();
  await Promise.all(Array.from({ length: workflow.workers }, (_, worker) => work(run, worker)));
  const worked = performance.now();
  await compare(run);
  const ended = performance.now();
  const most = workflow.workers * workflow.steps;
  const branches = await client.branches.list(project);
  const written = branches.flatMap(({ parent, size }) =>
    parent === null || size === undefined ? [] : [size.bytes],
  );
  console.log(
    `${name}: ${run.times.step.length} of ${most} steps in ${((worked - begun) / 1000).toFixed(1)} s, ` +
      `compared in ${((ended - worked) / 1000).toFixed(1)} s; ${run.tree.size() - 1} branches stay, ` +
      `${run.retries} logins were tried again, seed ${seed}`,
  );
  for (const failure of run.failures.slice(0, 5)) console.log(`  ${failure}`);
  if (run.failures.length > 0) process.exitCode = 1;
  return [
    ...(['branch', 'mutate', 'evaluate', 'delete', 'step'] as const).flatMap((what): Row[] =>
      run.times[what].length === 0 ? [] : [{ what: `${name}: ${what}`, summary: summarise(run.times[what]) }],
    ),
    ...(written.length === 0
      ? []
      : [
          {
            what: `${name}: written by a branch`,
            unit: 'MB' as const,
            summary: summarise(written.map(n => n / 1e6)),
          },
        ]),
  ];
}

async function work(run: Run, worker: number): Promise<void> {
  for (let step = 0; step < run.workflow.steps; step++) {
    const id = `${worker}_${step}`;
    const { parent, child } = run.tree.grow(id, run.dice);
    try {
      run.times.step.push(await timed(() => perStep(run, id, parent, child)));
    } catch (error) {
      run.tree.cut(child, parent);
      run.failures.push(`${id} from ${parent.name}: ${error instanceof Error ? error.message : error}`);
    }
  }
}

async function perStep(run: Run, id: string, parent: Node, child: Node): Promise<void> {
  const { client, workflow, tree, dice, times } = run;
  const begun = performance.now();
  await client.branches.create(project, { name: child.name, parent: parent.name });
  const session = await connect(run, child.name);
  times.branch.push(performance.now() - begun);
  try {
    times.mutate.push(
      await timed(async () => {
        for (const statement of workflow.mutate(id, dice)) await session.query(statement);
        await session.query('INSERT INTO trail (step) VALUES ($1)', [id]);
      }),
    );
    times.evaluate.push(
      await timed(async () => {
        for (const question of workflow.evaluate(id)) await session.query(question);
      }),
    );
    await check(session, child);
  } finally {
    await session.end();
  }
  tree.grown(child);
  if (dice.often(workflow.prune) && tree.cut(child, parent))
    times.delete.push(await timed(() => client.branches.delete(project, child.name, { now: true })));
}

/** @throws Error when it knows other steps than those that led to it */
async function check(session: pg.Client, { name, path }: Node): Promise<void> {
  const { rows } = await session.query<{ readonly step: string }>('SELECT step FROM trail ORDER BY at');
  const held = rows.map(row => row.step).join(' ');
  if (held !== path.join(' ')) throw new Error(`${name} holds "${held}" instead of "${path.join(' ')}"`);
}

/** One after the other: what is asked is how quick branches that may sleep answer. */
async function compare(run: Run): Promise<void> {
  if (run.workflow.compare.length === 0) return;
  for (const leaf of run.tree.leaves()) {
    const session = await connect(run, leaf.name);
    try {
      for (const question of run.workflow.compare) await session.query(question);
      await check(session, leaf);
    } catch (error) {
      run.failures.push(`compare ${leaf.name}: ${error instanceof Error ? error.message : error}`);
    } finally {
      await session.end();
    }
  }
}

/** As a program does it that is told to come back. */
async function connect(run: Run, branch: string): Promise<pg.Client> {
  const { connectionString } = await run.client.branches.credentials(project, branch);
  for (const until = performance.now() + patienceMs; ; run.retries++) {
    const session = new pg.Client({ connectionString });
    session.on('error', () => {});
    try {
      await session.connect();
      return session;
    } catch (error) {
      const { code } = error as { readonly code?: string };
      if (code === undefined || !later.has(code) || performance.now() > until) throw error;
      await new Promise(resolve => setTimeout(resolve, 200 + run.dice.below(800)));
    }
  }
}

async function withSession(client: Client, branch: string, work: (session: pg.Client) => Promise<void>) {
  const { connectionString } = await client.branches.credentials(project, branch);
  const session = new pg.Client({ connectionString });
  await session.connect();
  try {
    await work(session);
  } finally {
    await session.end();
  }
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const begun = performance.now();
  await work();
  return performance.now() - begun;
}

if (import.meta.main) await main(process.argv.slice(2));
