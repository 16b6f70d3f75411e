/** Opens all drivers of the embedded mode on one data directory. Used by the daemon, by `down` after a crash, and by `doctor`. */
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { availableParallelism, hostname, totalmem } from 'node:os';
import { basename, dirname, join } from 'node:path';
import type { Log } from '../lib/log.ts';
import { findPrivateMounts } from '../lib/namespaces.ts';
import { randomSecret } from '../lib/random.ts';
import { openBranchNode } from './branch/node.ts';
import type { BranchNode, Capability, StepDriver, WorkloadDriver } from './contract.ts';
import { makeEnterable } from './enterable.ts';
import { guard } from './guarded.ts';
import type { Networks } from './network/contract.ts';
import { openNetworks } from './network/networks.ts';
import { findPostgres } from './postgres/binaries.ts';
import { openServers } from './postgres/server.ts';
import { letGoOn, standstill } from './postgres/standstill.ts';
import { chooseServerUser, type ServerUser } from './postgres/user.ts';
import type { Processes } from './processes/contract.ts';
import { openProcesses } from './processes/registry.ts';
import { openSpaces } from './processes/spaces.ts';
import { openStepRunner } from './step/script-runner.ts';
import { openVolumes, type VolumeKind, type VolumeOptions } from './volume/choose.ts';
import { openProcessRuntime } from './workload/process-runtime.ts';

export type DriverOptions = {
  readonly home: string;
  readonly runtimeDir: string;
  readonly instance: string;
  readonly volumes: VolumeKind | undefined;
  readonly poolBytes: number | undefined;
  readonly minFreeBytes: number;
  readonly reserveBytes: number | undefined;
  readonly postgresBin: string | undefined;
  /** What processes get of our environment. */
  readonly baseEnv: Readonly<Record<string, string>>;
  readonly nodePath: string;
  /** Directory of a control group that we may use. */
  readonly cgroup: string | undefined;
  /** See `NetworksOptions`. */
  readonly network: string;
  readonly shared: readonly number[];
  readonly log: Log;
};

export type Drivers = {
  readonly branches: BranchNode;
  readonly workloads: WorkloadDriver;
  readonly steps: StepDriver;
  /** Absent where pods cannot have networks of their own. */
  readonly networks: Networks | undefined;
  /** All that the others have started, and for what else is to outlive us. */
  readonly processes: Processes;
  readonly why: { readonly volumes: string; readonly user: string; readonly postgres: string };
  capabilities(): Promise<readonly (Capability & { readonly area: string })[]>;
  /** Stops processes and servers, unmounts. What was stored stays. */
  close(): Promise<void>;
};

const minute = 60_000;

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
  const user = await chooseServerUser();
  await letGoOn(processes);
  // As root all instances have their mounts in one directory; see decision 6.
  const hide = basename(dirname(runtimeDir)) === 'offshoot' ? dirname(runtimeDir) : runtimeDir;
  // At once: each waits mostly for programs that it starts.
  const opening = {
    postgres: findPostgres({
      searchFrom: import.meta.url,
      runtimeDir,
      user,
      ...(options.postgresBin !== undefined && { configured: options.postgresBin }),
    }),
    volumes: openVolumes(volumeOptions(options, user, processes)),
    mounts: findPrivateMounts(baseEnv.PATH ?? '', processes.shells, { hide }),
  };
  opened.defer(() => opening.postgres.then(({ close }) => close(), nothing));
  opened.defer(() => opening.volumes.then(({ driver }) => driver.close(), nothing));
  // Before the others: what it tries holds a copy of their mounts.
  opened.defer(() => opening.mounts.then(nothing, nothing));
  const [postgres, found, mounts] = await Promise.all([opening.postgres, opening.volumes, opening.mounts]);
  const adminSecret = await secretIn(join(home, 'admin-secret'));
  const { bin, version } = postgres;
  const servers = await openServers({
    instance,
    processes,
    home,
    runtimeDir,
    bin,
    version,
    user,
    adminSecret,
    log,
  });
  opened.defer(() => servers.close());
  const outpost = { processes, runtimeDir, path: baseEnv.PATH ?? '' };
  const networks = await (early?.networks ?? openNetworks({ ...options, outpost }));
  if (early === undefined && !('why' in networks)) opened.defer(() => networks.close());
  const networksOrNot = 'why' in networks ? undefined : networks;
  const spaces = openSpaces(instance, processes, mounts);
  const processOptions = { home, instance, processes, spaces, mounts, baseEnv, nodePath, log };
  const workloads = await openProcessRuntime({
    ...processOptions,
    networks: networksOrNot,
    node: { name: hostname(), cpus: availableParallelism(), memoryBytes: totalmem() },
  });
  opened.defer(() => workloads.close());
  const steps = await openStepRunner(processOptions);

  const quick = { observe: minute, list: minute };
  const drivers: Drivers = {
    branches: openBranchNode({
      // A copy takes as long as its bytes need.
      volumes: guard(found.driver, {
        log,
        deadlines: { ...quick, ensure: 60 * minute, remove: 10 * minute },
      }),
      servers: guard(servers, { log, deadlines: { ...quick, ensure: 10 * minute, remove: 2 * minute } }),
      // More would only make each of them slower: a start is mostly work for the processor.
      startsAtOnce: Math.max(4, 2 * availableParallelism()),
      log,
    }),
    workloads: guard(workloads, { log, deadlines: { ...quick, ensure: minute, remove: minute } }),
    steps,
    networks: networksOrNot,
    processes,
    why: { volumes: found.why, user: user.name, postgres: `PostgreSQL ${version}, run as ${user.name}` },
    async capabilities() {
      const areas = { processes, volumes: found.driver, postgres: servers, workloads, steps };
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

function volumeOptions(
  { home, runtimeDir, log, volumes: force, poolBytes, minFreeBytes, reserveBytes }: DriverOptions,
  owner: ServerUser,
  processes: Processes,
): VolumeOptions {
  return {
    ...{ home, runtimeDir, minFreeBytes, owner, keep: true, log },
    standstill: work => standstill(processes, work),
    ...(force !== undefined && { force }),
    ...(poolBytes !== undefined && { poolBytes }),
    ...(reserveBytes !== undefined && { reserveBytes }),
  };
}

function networkCapabilities(networks: Networks | { readonly why: string }) {
  const detail = (why: string) =>
    `pods share the network of this machine (${why}): programs must listen at the port that $PORT says`;
  const found =
    'why' in networks
      ? [{ name: 'network/pods', ok: false, detail: detail(networks.why) }]
      : networks.capabilities();
  return found.map(capability => ({ area: 'network', ...capability }));
}

/** Kept in a file of its own, so that clusters can still be opened when the store is lost. */
async function secretIn(file: string): Promise<string> {
  try {
    return (await readFile(file, 'utf8')).trim();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    const secret = randomSecret(40);
    // Whole or not at all: half a secret would lock us out of all clusters.
    await writeFile(`${file}.new`, `${secret}\n`, { mode: 0o600, flush: true });
    await rename(`${file}.new`, file);
    return secret;
  }
}
