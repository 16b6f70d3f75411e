/** Starts one process that outlives us, and says how one ended. */
import { closeSync, openSync } from 'node:fs';
import { rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { findProgram, pathWith } from '../../lib/find-program.ts';
import { type Entrance, type HeldProgram, HeldVariableError } from '../../lib/held.ts';
import type { Bind } from '../../lib/namespaces.ts';
import { programsOfRuntime, type Runtime } from '../../model/image.ts';
import { labels } from '../labels.ts';
import type { PodNetwork } from '../network/contract.ts';
import type { Exit, Running } from '../processes/contract.ts';
import type { ContainerPlan } from './container-plan.ts';
import type { House } from './house.ts';
import type { Problem } from './plan.ts';
import { StartProblem } from './start-problem.ts';
import { makeView, seenFrom } from './view.ts';

export type Place = {
  readonly part: string;
  readonly logFile: string;
  /** Becomes /etc/hosts where the machine allows. */
  readonly hostsFile: string;
  /** Absent: it shares the network of this machine. */
  readonly network?: PodNetwork;
  /** Absent: that of this machine. */
  readonly hostname?: string;
  /** It sees the processes of its pod, and no others. */
  readonly ownProcesses: boolean;
  /** A container of an engine sees all processes of this machine. */
  readonly hostPID: boolean;
  /** The way to its pod's network and processes, which are there then; undefined: it shares those of this machine. */
  enter(): Promise<Entrance | undefined>;
  /** Where a volume of its pod is. */
  volume(name: string): string;
  /** Ours, for places that the machine lacks. */
  readonly viewFolder: string;
  /** Says how it ended, when it runs to its end. */
  readonly exitFile: string;
};

/** The environment of a container and of its exec probes. @param plan with everything filled in */
export function environmentOf(plan: ContainerPlan, part: string, house: House): Record<string, string> {
  const env = { ...house.baseEnv, ...plan.network, ...plan.env };
  return { ...env, PATH: pathOf(plan.runtime, env.PATH, house), ...labels(house.instance, part) };
}

/** The user's own runtime goes before ours. */
export function pathOf(runtime: Runtime | undefined, path: string | undefined, house: House): string {
  const ours = pathWith(dirname(house.nodePath), path);
  return runtime?.folder === undefined ? ours : pathWith(runtime.folder, ours);
}

/** @throws StartProblem when the runtime is there no more: another one must not take its place in silence */
export async function checkRuntime(runtime: Runtime | undefined, who: string): Promise<void> {
  if (runtime?.folder === undefined) return;
  const names = programsOfRuntime(runtime.name);
  const found = await Promise.all(names.map(name => findProgram(name, runtime.folder!, '/')));
  if (found.some(one => one !== undefined)) return;
  throw new StartProblem(
    'CommandNotFound',
    `the runtime "${runtime.name}" of ${who} is not in ${runtime.folder} any more: deploy or apply again from a shell that has it`,
  );
}

/**
 * @param plan with everything filled in
 * @param toItsEnd it is to end by itself, which is to be known also when no daemon is there
 * @throws StartProblem when folder or program are not there, or the system refuses; the signal's reason, and then
 *   nothing was started
 */
export async function launch(
  plan: ContainerPlan,
  place: Place,
  house: House,
  signal: AbortSignal,
  toItsEnd: boolean,
): Promise<Running> {
  const env = environmentOf(plan, place.part, house);
  await checkRuntime(plan.runtime, `container "${plan.name}"`);
  const program = await findIn(plan, env.PATH!, path =>
    seenFrom(path, plan.mounts, place.volume, keptOf(plan, house)),
  );
  const [view, inside] = await Promise.all([viewOf(plan, place, house), place.enter()]);
  signal.throwIfAborted();
  // A file rather than a pipe: the process goes on writing when we are gone.
  const output = openSync(place.logFile, 'a', 0o600);
  try {
    const held = await house.processes.hold(place.part, {
      argv: [program, ...plan.argv.slice(1)],
      cwd: view === undefined ? plan.cwd : '/',
      env,
      stdout: output,
      stderr: output,
      ...(plan.limits && { limits: plan.limits }),
      ...(inside && { inside }),
      ...(toItsEnd && { exitFile: place.exitFile }),
      ...(view && { mounts: view }),
    });
    if (!signal.aborted) return held.go();
    await held.drop();
  } catch (error) {
    throw startProblem(plan, error);
  } finally {
    closeSync(output);
  }
  throw signal.reason;
}

/** How a process ended, in the words of `WorkloadSeen`. */
export function problemOf({ name, limits }: ContainerPlan, exit: Exit): Problem {
  if (exit.outOfMemory) {
    const limit = limits?.memoryBytes === undefined ? '' : ` of ${inMebibytes(limits.memoryBytes)}`;
    return {
      reason: 'OOMKilled',
      message: `container "${name}" was killed: it needed more memory than its limit${limit}`,
      exitCode: 137,
    };
  }
  const how =
    exit.signal !== undefined
      ? `killed by ${exit.signal}`
      : exit.code !== undefined
        ? `exit code ${exit.code}`
        : 'how is unknown, because an earlier daemon had started it';
  return {
    reason: exit.code === 0 ? 'Completed' : 'CrashLoopBackOff',
    message: `container "${name}" ended: ${how}`,
    ...(exit.code !== undefined && { exitCode: exit.code }),
  };
}

// --- internal -----------------------------------------------------------------------------------

function bindsOf({ hostsFile, network }: Place, { networks }: House): readonly Bind[] {
  const resolvConf = network && networks?.resolvConf();
  return [
    { source: hostsFile, target: '/etc/hosts' },
    ...(resolvConf === undefined ? [] : [{ source: resolvConf, target: '/etc/resolv.conf' }]),
  ];
}

async function viewOf(
  plan: ContainerPlan,
  place: Place,
  house: House,
): Promise<HeldProgram['mounts'] | undefined> {
  const { mounts: how } = house;
  if (how === undefined) return undefined;
  const own = bindsOf(place, house);
  // What is another pod's is nobody's business; last, because it hides what volumes are taken from.
  const hide = (at: string) =>
    house
      .hidden(plan.mounts)
      .map(folder => ({ source: house.nothing, target: join(at, folder), readOnly: true }));
  const named = {
    ...(place.hostname !== undefined && { hostname: place.hostname }),
    ...(place.ownProcesses && { processes: true }),
  };
  if (plan.mounts.length === 0) return { how, binds: [...own, ...hide('/')], cwd: plan.cwd, ...named };
  await rm(place.viewFolder, { recursive: true, force: true }); // of an earlier life
  const { binds, root } = await makeView(plan.mounts, place.volume, place.viewFolder, keptOf(plan, house));
  return {
    how,
    // First, because what is mounted may lie over it, and a view of another root takes it along.
    binds: [...own, ...binds, ...hide(root ?? '/')],
    cwd: plan.cwd,
    ...named,
    ...(root !== undefined && { root }),
  };
}

/** What it has to see, whatever is mounted over it. */
const keptOf = ({ cwd, runtime }: ContainerPlan, { nodePath }: House): readonly string[] => [
  ...[cwd, dirname(nodePath)],
  ...(runtime?.folder === undefined ? [] : [runtime.folder]),
];

/** @param seen where a path of the container is on this machine */
async function findIn(plan: ContainerPlan, path: string, seen: (path: string) => string): Promise<string> {
  const folder = await stat(seen(plan.cwd)).catch(() => undefined);
  if (!folder?.isDirectory())
    throw new StartProblem(
      'ConfigError',
      `the folder ${plan.cwd} of container "${plan.name}" does not exist`,
    );
  const name = plan.argv[0]!;
  const own = seen(name);
  // A program in a volume is called by the name that the container has for it.
  const program =
    own === name
      ? await findProgram(name, path, seen(plan.cwd))
      : (await findProgram(own, path, '/')) && name;
  if (program === undefined)
    throw new StartProblem(
      'CommandNotFound',
      `the command "${name}" of container "${plan.name}" was not found or is not executable`,
    );
  return program;
}

function startProblem(plan: ContainerPlan, error: unknown): StartProblem {
  if (error instanceof HeldVariableError)
    return new StartProblem('ConfigError', `container "${plan.name}": ${error.message}`);
  // Only the code: the sentence may quote arguments or variables.
  const { code } = error as NodeJS.ErrnoException;
  return new StartProblem('StartFailed', `the command "${plan.argv[0]}" cannot be started: ${code}`);
}

const inMebibytes = (bytes: number): string => `${Math.round((bytes / 2 ** 20) * 10) / 10}Mi`;
