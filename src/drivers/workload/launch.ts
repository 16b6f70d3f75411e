/** Starts one process that outlives us, or takes over one that did. */
import { spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { findProgram, pathWith } from '../../lib/find-program.ts';
import { withPrivateMounts } from '../../lib/namespaces.ts';
import { identify, isAlive, killGroup, type ProcessId } from '../../lib/process.ts';
import { delay } from '../../lib/wait.ts';
import { labels } from '../labels.ts';
import type { House } from './house.ts';
import type { Problem, ProcessPlan } from './plan.ts';

export type Running = {
  /** The program itself, leader of a process group of its own. */
  readonly leader: ProcessId;
  /** Rejects only when the signal given to `adopt` aborts. */
  readonly ended: Promise<Exit>;
};

export type Exit = { readonly how: string; readonly completed: boolean };

export type Place = {
  readonly part: string;
  readonly logFile: string;
  /** Becomes /etc/hosts where the machine allows. */
  readonly hostsFile: string;
};

/** Why a process could not be started. */
export class StartProblem extends Error {
  readonly problem: Problem;

  constructor(reason: string, message: string) {
    super(message);
    this.name = 'StartProblem';
    this.problem = { reason, message };
  }
}

/** The environment of a process and of its exec probes. @param plan with its ports */
export function environmentOf(plan: ProcessPlan, part: string, house: House): Record<string, string> {
  const env = { ...house.baseEnv, ...plan.network, ...plan.env };
  const path = pathWith(dirname(house.nodePath), env.PATH);
  return { ...env, PATH: path, ...labels(house.instance, part) };
}

/**
 * @param plan with its ports
 * @throws StartProblem when folder or program are not there, or the system refuses; the signal's reason, and then
 *   nothing was started
 */
export async function launch(
  plan: ProcessPlan,
  place: Place,
  house: House,
  signal: AbortSignal,
): Promise<Running> {
  const env = environmentOf(plan, place.part, house);
  const program = await findIn(plan, env.PATH!);
  signal.throwIfAborted(); // from here to the pid nothing waits
  const own = [program, ...plan.argv.slice(1)];
  const [file, ...args] =
    house.mounts === undefined
      ? own
      : withPrivateMounts(house.mounts, [{ source: place.hostsFile, target: '/etc/hosts' }], own);
  // A file rather than a pipe: the process goes on writing when we are gone.
  const output = openSync(place.logFile, 'a', 0o600);
  try {
    const child = spawn(file!, args, {
      cwd: plan.cwd,
      env,
      detached: true,
      stdio: ['ignore', output, output],
    });
    const { pid } = child;
    if (pid === undefined) throw await new Promise<Error>(resolve => child.once('error', resolve));
    child.on('error', () => {}); // can only be about a signal, and we send those to the group
    const ended = new Promise<Exit>(resolve => {
      child.once('exit', (exitCode, exitSignal) => {
        killGroup(pid, 'SIGKILL'); // what the leader leaves behind would keep its ports
        resolve(exitOf(exitCode, exitSignal));
      });
    });
    // One that ended already has no start time; it then counts as dead, which it is.
    return { leader: identify(pid) ?? { pid, startTime: 'ended' }, ended };
  } catch (error) {
    // Only the code: the sentence may quote arguments or variables.
    const { code } = error as NodeJS.ErrnoException;
    throw new StartProblem('StartFailed', `the command "${plan.argv[0]}" cannot be started: ${code}`);
  } finally {
    closeSync(output);
  }
}

/** Watches a process that an earlier daemon started. */
export function adopt(leader: ProcessId, signal: AbortSignal): Running {
  const ended = async (): Promise<Exit> => {
    while (isAlive(leader)) await delay(ADOPTED_POLL_MS, signal);
    return { how: 'how is unknown, because an earlier daemon had started it', completed: false };
  };
  return { leader, ended: ended() };
}

// --- internal -----------------------------------------------------------------------------------

const ADOPTED_POLL_MS = 250;

async function findIn(plan: ProcessPlan, path: string): Promise<string> {
  const folder = await stat(plan.cwd).catch(() => undefined);
  if (!folder?.isDirectory())
    throw new StartProblem(
      'ConfigError',
      `the folder ${plan.cwd} of container "${plan.container}" does not exist`,
    );
  const name = plan.argv[0]!;
  const program = await findProgram(name, path, plan.cwd);
  if (program === undefined)
    throw new StartProblem(
      'CommandNotFound',
      `the command "${name}" of container "${plan.container}" was not found or is not executable`,
    );
  return program;
}

function exitOf(code: number | null, signal: NodeJS.Signals | null): Exit {
  return { how: signal === null ? `exit code ${code}` : `killed by ${signal}`, completed: code === 0 };
}
