/**
 * `setup` and `build` of folders, and `migrate` for a database: each when what it is made from has changed, one at a time
 * in a folder, however many wait for it. What was done is on record in our data directory, by content, so it is done once
 * for all of them.
 */
import { appendFileSync, closeSync, mkdirSync, openSync } from 'node:fs';
import { readdir, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { findProgram } from '../../lib/find-program.ts';
import { Listeners } from '../../lib/listeners.ts';
import { logSize, tail } from '../../lib/log-file.ts';
import type { LogRotation } from '../../lib/log-rotation.ts';
import { orAborted } from '../../lib/wait.ts';
import { labels } from '../labels.ts';
import type { Processes } from '../processes/contract.ts';
import type { CodePlan, PreparationStep } from './code.ts';
import {
  areThere,
  digestOf,
  failed,
  foldersOf,
  hash,
  identityOf,
  inputsOf,
  reasonsOf,
} from './code-inputs.ts';
import type { House } from './house.ts';
import { checkRuntime, pathOf } from './launch.ts';
import type { Problem } from './plan.ts';
import { copiesOf, doneElsewhere } from './setup-of-copies.ts';
import { readStamps, writeStamp } from './stamps.ts';
import { StartProblem } from './start-problem.ts';

export type Preparing = {
  /**
   * Returns when all steps are done for what the folder holds.
   * @param since when that was asked for, in milliseconds since 1970: what has failed after that is not tried again for it
   * @param tell what is going on
   * @throws StartProblem SetupFailed, BuildFailed, MigrationFailed; the signal's reason. A step that nobody waits for any more is ended.
   */
  prepare(plan: CodePlan, since: number, tell: (now: Problem) => void, signal: AbortSignal): Promise<void>;
  /** Whether `prepare` would have nothing to do. */
  isDone(plan: CodePlan): Promise<boolean>;
  /** Calls `listener` with a folder in which a step has been done. @returns the way to stop that */
  onDone(listener: (folder: string) => void): () => void;
  /** Where the steps of a plan write, and where in it what they said last begins. */
  logs(plan: CodePlan): readonly StepLog[];
  /** Ids of databases of which something is on record. */
  databases(): Promise<readonly string[]>;
  /** Ends what runs for a database, and forgets what was done. */
  forget(database: string): Promise<void>;
  /** Ends what runs. */
  close(): Promise<void>;
};

export type StepLog = {
  readonly step: PreparationStep['name'];
  readonly file: string;
  readonly start?: number | undefined;
  readonly before?: number | undefined;
};

/** @param house is asked when there is something to do */
export async function openPreparing(
  home: string,
  processes: Processes,
  rotation: LogRotation,
  house: () => House,
): Promise<Preparing> {
  const root = join(home, PARTS);
  // Of an earlier daemon: nobody waits for those any more.
  await Promise.all(processes.list(PARTS).map(processes.kill));
  for (const file of await readdir(root, { recursive: true }).catch(() => []))
    if (file.endsWith('.log')) rotation.add(join(root, file), MAX_LOG_BYTES);
  /** By folder: the last of those that wait. */
  const turns = new Map<string, Promise<unknown>>();
  const tasks = new Map<string, Task>();
  const done = new Listeners<string>();
  const taskOf = (plan: CodePlan): Task => {
    const key = keyOf(plan);
    const found = tasks.get(key) ?? newTask(key, join(root, key));
    tasks.set(key, found);
    return found;
  };

  return {
    async prepare(plan, since, tell, signal) {
      if (plan.steps.length === 0) return;
      signal.throwIfAborted();
      const task = taskOf(plan);
      task.since = Math.max(task.since, since);
      task.tell.add(tell);
      if (task.now !== undefined) tell(task.now);
      task.queued ??= queue(plan, task);
      try {
        await orAborted(task.queued, signal);
      } finally {
        task.tell.delete(tell);
        if (task.tell.size === 0) task.running?.abort(new Error('nobody waits for it any more'));
      }
    },

    onDone: done.add,

    async isDone(plan) {
      try {
        let made = await identityOf(plan);
        for (const step of plan.steps) {
          const digest = digestOf(plan, step, made, await inputsOf(plan, step));
          const stamp = readStamps(taskOf(plan).folder)[step.name];
          if (stamp?.digest !== digest || !(await areThere(plan, stamp.results))) return false;
          made = digest;
        }
        return true;
      } catch (error) {
        if (error instanceof StartProblem) return false;
        throw error;
      }
    },

    logs: plan =>
      plan.steps.map(({ name }) => {
        const task = taskOf(plan);
        return { step: name, file: logFile(task, name), ...task.logs.get(name) };
      }),

    async databases() {
      const names = await readdir(root).catch((): string[] => []);
      return [...new Set(names.flatMap(name => databaseIn(name) ?? []))];
    },

    async forget(database) {
      const names = (await readdir(root).catch((): string[] => [])).filter(
        name => databaseIn(name) === database,
      );
      for (const name of names) {
        tasks.get(name)?.running?.abort(new Error('its database is gone'));
        await processes.kill(`${PARTS}/${name}`);
        tasks.delete(name);
        rotation.remove(join(root, name));
        await rm(join(root, name), { recursive: true, force: true });
      }
    },

    async close() {
      for (const { running } of tasks.values()) running?.abort(new Error('the daemon stops'));
      await Promise.allSettled(turns.values());
      await Promise.all(processes.list(PARTS).map(processes.kill));
    },
  };

  /** Who comes while it waits for its turn shares it; who comes later may have changed something, and gets another. */
  function queue(plan: CodePlan, task: Task): Promise<void> {
    const before = turns.get(plan.folder) ?? Promise.resolve();
    const mine = before
      .catch(() => {})
      .then(async () => {
        task.queued = undefined;
        if (task.tell.size > 0) await steps(plan, task); // else those who waited have left
      });
    mine.catch(() => {}); // those who wait have it
    turns.set(plan.folder, mine);
    return mine;
  }

  async function steps(plan: CodePlan, task: Task): Promise<void> {
    task.running = new AbortController();
    const { signal } = task.running;
    try {
      let made = await identityOf(plan);
      for (const step of plan.steps) {
        signal.throwIfAborted();
        made = await oneStep(plan, step, task, made, signal);
      }
    } finally {
      task.running = undefined;
      task.now = undefined;
    }
  }

  /** @param madeFrom of what the steps before have made @returns the same with what this one has made */
  async function oneStep(
    plan: CodePlan,
    step: PreparationStep,
    task: Task,
    madeFrom: string,
    signal: AbortSignal,
  ): Promise<string> {
    let inputs = await inputsOf(plan, step);
    const digest = () => digestOf(plan, step, madeFrom, inputs);
    const stamp = readStamps(task.folder)[step.name];
    if (stamp?.digest === digest() && (await areThere(plan, stamp.results))) return digest();
    const failed = task.failures.get(step.name);
    if (failed?.digest === digest() && failed.at >= task.since) throw new StartProblem(...failed.why);
    const elsewhere = await doneElsewhere(root, plan, step, inputs);
    if (elsewhere !== undefined) {
      const { results, ...copies } = elsewhere;
      note(
        task,
        step,
        `${results.join(', ')} is what ${step.name} has made in ${copies.folder}; there is nothing to do`,
      );
      writeStamp(task.folder, step.name, {
        digest: digest(),
        results,
        copies: { ...copies, folder: plan.folder },
      });
      done.tell(plan.folder);
      return digest();
    }
    const before = await foldersOf(plan.folder);
    const since = Date.now();
    for (let again = false; ; again = true) {
      try {
        await run(plan, step, task, signal);
      } catch (error) {
        if (error instanceof StartProblem) {
          const why = [error.problem.reason, error.problem.message] as const;
          task.failures.set(step.name, { at: Date.now(), digest: digest(), why });
        }
        throw error;
      }
      // Somebody may have gone on editing: what was read before that is stale. What the step itself writes stays.
      const now = await inputsOf(plan, step);
      const edited = [...inputs.files].some(([path, state]) => now.files.get(path) !== state);
      inputs = now;
      if (again || !edited) break;
    }
    task.failures.delete(step.name);
    const after = await foldersOf(plan.folder);
    const made = [...after].flatMap(([name, ino]) => (before.get(name) === ino ? [] : [name]));
    const kept = [...(stamp?.results ?? []), ...USUAL_RESULTS[step.name]].filter(name => after.has(name));
    // What a migration makes is in its database.
    const results = step.name === 'migrate' ? [] : [...new Set([...made, ...kept])];
    const copies = await copiesOf(plan, step, inputs, { results, since });
    writeStamp(task.folder, step.name, { digest: digest(), results, ...(copies && { copies }) });
    done.tell(plan.folder);
    return digest();
  }

  /** Says it where the step would have said something. */
  function note(task: Task, step: PreparationStep, text: string): void {
    const file = logFile(task, step.name);
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
    task.logs.set(step.name, { start: logSize(file), before: task.logs.get(step.name)?.start });
    rotation.add(file, MAX_LOG_BYTES);
    appendFileSync(file, `${text}\n`, { mode: 0o600 });
  }

  async function run(plan: CodePlan, step: PreparationStep, task: Task, signal: AbortSignal): Promise<void> {
    const { instance, baseEnv } = house();
    const part = `${PARTS}/${task.key}`;
    const own = { ...baseEnv, ...plan.env, ...(step.name === 'migrate' && plan.database?.variables) };
    const env: Record<string, string> = {
      ...own,
      PATH: pathOf(plan.runtime, own.PATH, house()),
      ...labels(instance, part),
    };
    const [name = '', ...args] = step.command;
    const told =
      step.command[0] === 'sh' && step.command[1] === '-c' ? step.command[2]! : step.command.join(' ');
    await checkRuntime(plan.runtime, plan.folder);
    const program = await findProgram(name, env.PATH!, plan.folder);
    if (program === undefined)
      throw failed(step, `its program "${name}" was not found, or is not executable (${env.PATH})`);
    const file = logFile(task, step.name);
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
    const { start } = task.logs.get(step.name) ?? {};
    task.logs.set(step.name, { start: logSize(file), before: start });
    const startedAt = performance.now();
    const tell = async () => {
      const last = (await tail(file, 1, { from: task.logs.get(step.name)?.start ?? 0 })).at(-1);
      const sofar = `${step.name} runs: ${told} (${seconds(performance.now() - startedAt)})`;
      task.now = {
        reason: reasonsOf[step.name][0],
        message: last === undefined ? sofar : `${sofar}: ${last.slice(0, MOST_OF_LINE)}`,
      };
      for (const listener of task.tell) listener(task.now);
    };
    await tell();
    rotation.add(file, MAX_LOG_BYTES);
    const output = openSync(file, 'a', 0o600);
    const running = await processes
      .start(part, { argv: [program, ...args], cwd: plan.folder, env, stdout: output, stderr: output })
      .catch((error: NodeJS.ErrnoException) => {
        throw failed(step, `"${told}" cannot be started in ${plan.folder}: ${error.code ?? error.message}`);
      })
      .finally(() => closeSync(output));
    const limitMs = step.timeoutMs ?? USUAL_MS;
    const deadline = AbortSignal.timeout(limitMs);
    const end = () => void processes.end(part, [['SIGTERM', GRACE_MS]]).catch(() => {});
    const either = AbortSignal.any([deadline, signal]);
    either.addEventListener('abort', end, { once: true });
    if (either.aborted) end();
    const progress = setInterval(() => void tell().catch(() => {}), PROGRESS_MS);
    try {
      const { code, signal: killed } = await running.ended;
      signal.throwIfAborted();
      if (code === 0 && !deadline.aborted) return;
      const [last] = (await tail(file, 1, { from: task.logs.get(step.name)?.start ?? 0 })).slice(-1);
      const how = deadline.aborted
        ? `did not end within ${seconds(limitMs)}`
        : killed === undefined
          ? `ended with exit code ${code}`
          : `was killed by ${killed}`;
      throw failed(
        step,
        `"${told}" in ${plan.folder} ${how}${last === undefined ? '' : `: ${last.slice(0, MOST_OF_LINE)}`}`,
      );
    } finally {
      clearInterval(progress);
      either.removeEventListener('abort', end);
      await processes.kill(part); // what it has left running must not write on
    }
  }
}

// --- internal -----------------------------------------------------------------------------------

type Task = {
  readonly key: string;
  readonly folder: string;
  since: number;
  /** What runs of it. */
  running: AbortController | undefined;
  now: Problem | undefined;
  /** Of those who wait. */
  readonly tell: Set<(now: Problem) => void>;
  /** It waits for its turn. */
  queued: Promise<void> | undefined;
  readonly failures: Map<
    string,
    { readonly at: number; readonly digest: string; readonly why: readonly [string, string] }
  >;
  readonly logs: Map<string, { readonly start?: number | undefined; readonly before?: number | undefined }>;
};

/** First word of the names of parts, and the folder of what is on record. */
const PARTS = 'prepared';
const USUAL_MS = 15 * 60_000;
const GRACE_MS = 2_000;
const PROGRESS_MS = 2_000;
const MOST_OF_LINE = 300;
const MAX_LOG_BYTES = 5 * 1024 * 1024;

/** What is written into although it was there already; somebody who removes it wants it made again. */
const USUAL_RESULTS = {
  setup: ['node_modules', '.venv', 'venv', 'vendor'],
  build: ['dist', 'build', 'out', 'target', '.next'],
  migrate: [],
} as const;

const newTask = (key: string, folder: string): Task => ({
  ...{ key, folder, since: 0, running: undefined, now: undefined, queued: undefined },
  ...{ tell: new Set(), failures: new Map(), logs: new Map() },
});

function keyOf({ folder, steps, env, runtime, database }: CodePlan): string {
  const key = hash([folder, JSON.stringify([steps, env ?? {}, runtime ?? null])]).slice(0, 24);
  return database === undefined ? key : `${database.id}${OF_DATABASE}${key}`;
}

/** Between the id of a database and the rest of a key, which has no such sign. */
const OF_DATABASE = '.';

const databaseIn = (key: string): string | undefined =>
  key.includes(OF_DATABASE) ? key.slice(0, key.lastIndexOf(OF_DATABASE)) : undefined;

const seconds = (ms: number): string => `${Math.round(ms / 1000)} s`;

const logFile = (task: Task, step: string): string => join(task.folder, `${step}.log`);
