/** Opens all drivers of the embedded mode on one data directory. Used by the daemon, by `down` after a crash, and by `doctor`. */
import { mkdir } from 'node:fs/promises';
import { availableParallelism, hostname, totalmem } from 'node:os';
import { basename, dirname } from 'node:path';
import { logRotation } from '../lib/log-rotation.ts';
import { findPrivateMounts } from '../lib/namespaces.ts';
import type { ChosenPostgres } from '../model/branch.ts';
import type { BranchNode, Capability, StepDriver, WorkloadDriver } from './contract.ts';
import { type EngineOptions, openEngine } from './engine/containers.ts';
import type { Engine } from './engine/contract.ts';
import { makeEnterable } from './enterable.ts';
import { guard } from './guarded.ts';
import type { Networks } from './network/contract.ts';
import { openNetworks } from './network/networks.ts';
import { type BranchOptions, openBranches } from './open-branches.ts';
import type { Processes } from './processes/contract.ts';
import { openProcesses } from './processes/registry.ts';
import { openSpaces } from './processes/spaces.ts';
import { openStepRunner } from './step/script-runner.ts';
import { openProcessRuntime } from './workload/process-runtime.ts';

export type DriverOptions = BranchOptions & {
  /** What processes get of our environment. */
  readonly baseEnv: Readonly<Record<string, string>>;
  readonly nodePath: string;
  /** Directory of a control group that we may use. */
  readonly cgroup: string | undefined;
  /** See `EngineOptions.sockets`. */
  readonly engine: EngineOptions['sockets'];
  /** See `NetworksOptions`. */
  readonly network: string;
  readonly shared: readonly number[];
};

export type Drivers = {
  readonly branches: BranchNode;
  readonly workloads: WorkloadDriver;
  readonly steps: StepDriver;
  /** Absent where pods cannot have networks of their own. */
  readonly networks: Networks | undefined;
  /** Runs what has an image and no entry. */
  readonly engine: Engine;
  /** All that the others have started, and for what else is to outlive us. */
  readonly processes: Processes;
  /** See drivers/postgres/installations.ts. */
  choosePostgres(wanted: string): Promise<ChosenPostgres | undefined>;
  readonly why: { readonly volumes: string; readonly user: string; readonly postgres: string };
  capabilities(): Promise<readonly (Capability & { readonly area: string })[]>;
  /** Stops processes and servers, unmounts. What was stored stays. */
  close(): Promise<void>;
};

const minute = 60_000;
/** Of the logs of workloads, of pods that have ended, and of steps together. Those of servers have their own. */
const MAX_LOGS_BYTES = 512 * 2 ** 20;

/** What somebody needs before; it is his to close. */
export type Early = {
  readonly processes: Processes;
  readonly networks: Promise<Networks | { readonly why: string }>;
};

export async function openDrivers(options: DriverOptions, early?: Early): Promise<Drivers> {
  const { home, runtimeDir, instance, baseEnv, nodePath, log } = options;
  await using opened = new AsyncDisposableStack();
  await mkdir(home, { recursive: true });
  await makeEnterable(runtimeDir);

  const { cgroup } = options;
  const processes =
    early?.processes ?? (await openProcesses({ home, instance, path: baseEnv.PATH ?? '', cgroup, log }));
  if (early === undefined) opened.defer(() => processes.close());
  const branches = openBranches(options, processes);
  opened.defer(() => branches.then(({ close }) => close(), nothing));
  // As root all instances have their mounts in one directory; see decision 6.
  const hide = basename(dirname(runtimeDir)) === 'offshoot' ? dirname(runtimeDir) : runtimeDir;
  const engineOpening = openEngine({ home, instance, sockets: options.engine, log });
  opened.defer(() => engineOpening.then(({ close }) => close(), nothing));
  const mounting = findPrivateMounts(baseEnv.PATH ?? '', processes.shells, { hide });
  // Before the others: what it tries holds a copy of their mounts.
  opened.defer(() => mounting.then(nothing, nothing));
  const [
    {
      node,
      why,
      areas: { volumes, postgres },
      choosePostgres,
    },
    mounts,
    engine,
  ] = await Promise.all([branches, mounting, engineOpening]);
  const outpost = { processes, runtimeDir, path: baseEnv.PATH ?? '' };
  const networks = await (early?.networks ?? openNetworks({ ...options, outpost }));
  if (early === undefined && !('why' in networks)) opened.defer(() => networks.close());
  const networksOrNot = 'why' in networks ? undefined : networks;
  const spaces = openSpaces(instance, processes, mounts);
  const rotation = logRotation(MAX_LOGS_BYTES, err => log.warn({ err }, 'cannot rotate logs'));
  opened.defer(() => rotation.stop());
  const own = { home, instance, processes, spaces, mounts, baseEnv, nodePath };
  const processOptions = { ...own, rotation, log };
  const workloads = await openProcessRuntime({
    ...processOptions,
    engine,
    networks: networksOrNot,
    node: { name: hostname(), cpus: availableParallelism(), memoryBytes: totalmem() },
  });
  opened.defer(() => workloads.close());
  const steps = await openStepRunner({ ...processOptions, engine });

  const quick = { observe: minute, list: minute };
  const drivers: Drivers = {
    branches: node,
    workloads: guard(workloads, { log, deadlines: { ...quick, ensure: minute, remove: minute } }),
    steps,
    networks: networksOrNot,
    engine,
    processes,
    choosePostgres,
    why,
    async capabilities() {
      const areas = { processes, volumes, postgres, workloads, steps };
      const all = await Promise.all(
        Object.entries(areas).map(async ([area, driver]) =>
          (await driver.capabilities()).map(capability => ({ area, ...capability })),
        ),
      );
      return [...all.flat(), ...networkCapabilities(networks)];
    },
    close: () => closing.disposeAsync(),
  };
  const closing = opened.move();
  return drivers;
}

// --- internal -----------------------------------------------------------------------------------

/** For what did not open. */
const nothing = (): void => {};

function networkCapabilities(networks: Networks | { readonly why: string }) {
  const detail = (why: string) =>
    `pods share the network of this machine (${why}): programs must listen at the port that $PORT says`;
  const found =
    'why' in networks
      ? [{ name: 'network/pods', ok: false, detail: detail(networks.why) }]
      : networks.capabilities();
  return found.map(capability => ({ area: 'network', ...capability }));
}
