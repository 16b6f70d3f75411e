/** Opens what makes branches on one data directory: volumes, PostgreSQL's programs, and the node that is made of them. */
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { programFile } from '../lib/checkout.ts';
import { keptSecret } from '../lib/kept-secret.ts';
import type { Log } from '../lib/log.ts';
import { randomSecret } from '../lib/random.ts';
import type { ChosenPostgres } from '../model/branch.ts';
import { openImports } from './branch/imports.ts';
import { openBranchNode } from './branch/node.ts';
import type { BranchNode, Capability, NodeRoom } from './contract.ts';
import { guard } from './guarded.ts';
import { findPostgres } from './postgres/binaries.ts';
import { choosePostgres } from './postgres/installations.ts';
import { openServers } from './postgres/server.ts';
import { letGoOn, standstill } from './postgres/standstill.ts';
import { chooseServerUser, type ServerUser } from './postgres/user.ts';
import type { Processes } from './processes/contract.ts';
import { sealKeyIn } from './seal-key.ts';
import { openVolumes, type VolumeKind, type VolumeOptions } from './volume/choose.ts';

export type BranchOptions = {
  readonly home: string;
  readonly runtimeDir: string;
  readonly instance: string;
  readonly volumes: VolumeKind | undefined;
  readonly poolBytes: number | undefined;
  readonly minFreeBytes: number;
  readonly reserveBytes: number | undefined;
  readonly postgresBin: string | undefined;
  /** The most that are prepared; default 0. */
  readonly preparedServers?: number;
  readonly log: Log;
};

type Capable = { capabilities(): Promise<readonly Capability[]> };

export type Branches = {
  readonly node: BranchNode;
  readonly why: { readonly volumes: string; readonly user: string; readonly postgres: string };
  readonly areas: { readonly volumes: Capable; readonly postgres: Capable };
  /** See drivers/postgres/installations.ts. */
  choosePostgres(wanted: string): Promise<ChosenPostgres | undefined>;
  /** Stops servers, unmounts. What was stored stays. */
  close(): Promise<void>;
};

/** @param processes by which servers are started; it is somebody else's to close */
export async function openBranches(options: BranchOptions, processes: Processes): Promise<Branches> {
  const { home, runtimeDir, instance, log } = options;
  await using opened = new AsyncDisposableStack();
  const user = await chooseServerUser();
  await letGoOn(processes);
  // At once: each waits mostly for programs that it starts.
  const opening = {
    postgres: findPostgres({
      searchFrom: import.meta.url,
      runtimeDir,
      user,
      ...(options.postgresBin !== undefined && { configured: options.postgresBin }),
    }),
    volumes: openVolumes(volumeOptions(options, user, processes)),
  };
  opened.defer(() => opening.postgres.then(({ close }) => close(), nothing));
  opened.defer(() => opening.volumes.then(({ driver }) => driver.close(), nothing));
  const [postgres, found] = await Promise.all([opening.postgres, opening.volumes]);
  // Kept in a file of its own, so that clusters can still be opened when the store is lost.
  const adminSecret = await keptSecret(join(home, 'admin-secret'), () => randomSecret(40));
  const sealKey = await sealKeyIn(home);
  const { bin, version } = postgres;
  const where = { instance, processes, home, runtimeDir };
  const keptWalBytes = keptWalOf(await found.driver.room());
  const servers = await openServers({ ...where, bin, version, user, adminSecret, keptWalBytes, log });
  opened.defer(() => servers.close());
  const quick = { observe: minute, list: minute };
  // A copy takes as long as its bytes need.
  const volumes = guard(found.driver, {
    log,
    deadlines: { ...quick, ensure: 60 * minute, remove: 10 * minute },
  });
  const imports = openImports({
    ...{ home, instance, processes, volumes, servers, adminSecret, sealKey, log },
    command: [process.execPath, programFile('importer')],
    minFreeBytes: options.minFreeBytes,
  });
  const node = openBranchNode({
    ...{ volumes, imports },
    servers: guard(servers, { log, deadlines: { ...quick, ensure: 10 * minute, remove: 2 * minute } }),
    // A start is work for the processor, and some twenty waits for the disk: fewer would leave processors idle.
    startsAtOnce: Math.max(8, 4 * availableParallelism()),
    preparedServers: options.preparedServers ?? 0,
    log,
  });
  const closing = opened.move();
  return {
    node,
    why: { volumes: found.why, user: user.name, postgres: `PostgreSQL ${version}, run as ${user.name}` },
    areas: { volumes: found.driver, postgres: servers },
    choosePostgres: wanted => choosePostgres(wanted, { ours: postgres, user, runtimeDir }),
    close: () => closing.disposeAsync(),
  };
}

// --- internal -----------------------------------------------------------------------------------

const minute = 60_000;

/** While nobody reads its slots, one server does not take more than that for them: a sixteenth, 256 MiB to 4 GiB. */
const keptWalOf = ({ totalBytes }: NodeRoom): number =>
  Math.min(4096 * MIB, Math.max(256 * MIB, Math.floor(totalBytes / 16)));

const MIB = 2 ** 20;

/** For what did not open. */
const nothing = (): void => {};

function volumeOptions(
  { home, runtimeDir, log, volumes: force, poolBytes, minFreeBytes, reserveBytes }: BranchOptions,
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
