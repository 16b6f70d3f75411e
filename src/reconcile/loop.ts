/**
 * The reconcilers together: store changes and driver signals in, keys to the right reconciler. A loop looks at what it
 * has drivers for; the rest is looked at by another one on the same store, and what that has seen comes as status.
 */
import type { Baseline } from '../baseline/contract.ts';
import type { BranchNode, StepDriver, WorkloadDriver } from '../drivers/contract.ts';
import type { Clock } from '../lib/clock.ts';
import type { Log } from '../lib/log.ts';
import type { Repeated } from '../lib/repeat.ts';
import type { PreviewSite } from '../model/endpoint.ts';
import type { Address, NodeDoor } from '../model/route.ts';
import type { UnclaimedVolume } from '../rules/repair.ts';
import type { Store, Stored } from '../store/contract.ts';
import { awakeByStatus } from './awake-by-status.ts';
import { type BaselineDeps, baselineReconciler } from './baseline.ts';
import { A_DAY_MS, type BranchReconciler, branchReconciler } from './branch.ts';
import { branchActions } from './branch-action.ts';
import { restarter } from './changed-code.ts';
import { collect, type Leftovers } from './collect.ts';
import { forkEnvironment, forkRunner, rootUsesOf } from './forks.ts';
import { giverUp } from './give-up.ts';
import type { Uses } from './idle.ts';
import { migrationRunner, migrationsOf, type SandboxMigration } from './migrations.ts';
import type { Pauses } from './patience.ts';
import { isHere } from './placed.ts';
import { type Placement, placementTopic } from './placement.ts';
import { projectReconciler } from './project.ts';
import { resourceRunner } from './resource.ts';
import { resume } from './resume.ts';
import type { Routers } from './routers.ts';
import { sandboxReconciler } from './sandbox.ts';
import { createScheduler, type Key, type KindOptions, type Result, type Scheduler } from './scheduler.ts';
import { watchSilentNodes } from './silent-nodes.ts';
import { unclaimed } from './unclaimed.ts';
import { keyOf, kindOf, type ReconciledKind, wake } from './wake.ts';

export type LoopDeps = {
  readonly store: Store;
  readonly baseline: Baseline;
  /** The node whose branches are looked at; undefined: they are elsewhere. */
  readonly branches?: BranchNode | undefined;
  /** Which of several such nodes this is: it looks at branches of the projects that are placed on it, no others. */
  readonly door?: NodeDoor | undefined;
  /** Chooses among several for projects that have none yet; undefined: there is but one, or somebody else does. */
  readonly placement?: Placement | undefined;
  /** See BranchDeps. */
  readonly unheardMs?: number;
  /** What runs sandboxes and the baseline; undefined: somebody else looks at these, and at projects. */
  readonly programs?: Programs | undefined;
  /** Waits until the data path does what the store says now; see data-path.ts. @returns false when that took too long */
  readonly routed: () => Promise<unknown>;
  /** Who uses which branch; undefined: nobody tells. */
  readonly uses?: Uses | undefined;
  /** See BranchDeps. */
  readonly clock?: Clock;
  /** Whether requests to workloads are led by their keys; undefined: a router stands before every Service. */
  readonly routers?: Routers | undefined;
  /** What still runs is known, and nothing was started yet: from here on the data path follows the store. */
  readonly resumed: () => Promise<void>;
  readonly gateway: () => Address;
  readonly site: () => PreviewSite;
  readonly scriptEnv: () => Readonly<Record<string, string>>;
  readonly keep: readonly string[];
  /** Milliseconds that a plugin's step may take. */
  readonly stepMs: number;
  readonly addresses: BaselineDeps['addresses'];
  readonly listening: BaselineDeps['listening'];
  /** Milliseconds for which the key of a deleted sandbox leads nowhere. */
  readonly deletedKeysMs: number;
  readonly pauses: Pauses;
  /** See BranchDeps. */
  readonly trashMs?: number;
  readonly collectEveryMs: number;
  readonly now: () => Date;
  readonly log: Log;
};

export type Programs = { readonly workloads: WorkloadDriver; readonly steps: StepDriver };

export type Loop = {
  /** Looks at everything once, removes leftovers, and from then on follows changes. */
  start(): Promise<void>;
  readonly awake: BranchReconciler['awake'];
  /** See reconcile/forks.ts. */
  environment(sandbox: Stored<'sandbox'>, workload: string | undefined): Readonly<Record<string, string>>;
  /** What to tell whoever applies a sandbox. @throws OffshootError fork/*, when it cannot be derived */
  warnings(sandbox: Stored<'sandbox'>): readonly string[];
  /** What brings the branches of a sandbox up to date. */
  migrations(sandbox: Stored<'sandbox'>): readonly SandboxMigration[];
  /** Result of the newest collection. */
  leftovers(): Leftovers;
  /** Complete volumes that no branch claims; see rules/repair.ts. */
  unclaimed(): Promise<readonly UnclaimedVolume[]>;
  /** Asks for a look at an object soon. */
  look(kind: ReconciledKind, name: string): void;
  /** What the scheduler does. */
  readonly counts: Scheduler['counts'];
  close(): Promise<void>;
};

/** Looked at at a time: each waits for disks and servers nearly all of its time, and what is limited of that is so elsewhere. */
const BRANCHES = 64;

export function createLoop(deps: LoopDeps): Loop {
  const { store, log } = deps;
  const { workloads, steps } = deps.programs ?? {};
  const drivers = { branches: deps.branches, workloads, steps };
  const stop = new AbortController();
  let leftovers: Leftovers = { removed: [], orphans: [] };
  let collector: NodeJS.Timeout | undefined;
  let silent: Repeated | undefined;

  const branches =
    deps.branches &&
    branchReconciler({
      ...{ ...deps, branches: deps.branches },
      add: (id, wish) => scheduler.add(keyOf('branch', id), wish),
      tell: (topic, most) => scheduler.tell(topic, most),
    });
  const doorOf = (node: string) => deps.placement?.alive().find(({ name }) => name === node)?.door;
  const elsewhere = branches === undefined ? awakeByStatus(store, doorOf) : undefined;

  const tombstone = async (key: string): Promise<Result> => {
    const found = store.get('tombstone', key);
    if (found === undefined) return;
    const leftMs = Date.parse(found.createdAt) + deps.deletedKeysMs - deps.now().getTime();
    if (leftMs > 0) return { again: leftMs };
    await store.remove('tombstone', key);
    return;
  };

  const programKinds = (programs: Programs) => {
    const { workloads, steps } = programs;
    const trash = { keepMs: deps.trashMs ?? A_DAY_MS, now: deps.now };
    const all = { ...deps, workloads, steps, trash };
    const actions = branchActions({ store, gateway: deps.gateway, trash, stock: deps.branches });
    const resources = resourceRunner({ ...all, actions });
    const migrations = migrationRunner({ ...deps, migrations: workloads.migrations });
    const sandbox = sandboxReconciler({ ...all, resources, migrations, forks: forkRunner(all) });
    return {
      project: { reconcile: projectReconciler(deps), concurrency: 16 },
      manifest: { reconcile: baselineReconciler(all), concurrency: 16 },
      // Sandboxes mostly wait, for scripts and branches; none may keep another from beginning.
      sandbox: { reconcile: sandbox, concurrency: Number.POSITIVE_INFINITY },
      tombstone: { reconcile: tombstone, concurrency: 16 },
    } satisfies Record<Exclude<ReconciledKind, 'branch'>, KindOptions>;
  };

  const kinds: Readonly<Partial<Record<ReconciledKind, KindOptions>>> = {
    ...(branches && { branch: { reconcile: branches.reconcile, concurrency: BRANCHES } }),
    ...(deps.programs && programKinds(deps.programs)),
  };
  const scheduler = createScheduler({ kinds, pauses: deps.pauses, log });
  const waking = wake(store, deps.baseline, {
    add(key, wish) {
      if (kindOf(key) in kinds && isOurs(key)) scheduler.add(key, wish);
    },
    tell: scheduler.tell,
  });
  const node = deps.door?.node;
  const isOurs = (key: Key) => {
    if (node === undefined || kindOf(key) !== 'branch') return true;
    const branch = store.get('branch', key.slice('branch '.length));
    return branch !== undefined && isHere(store, node, branch.spec.project);
  };

  const collectNow = async (): Promise<void> => {
    try {
      leftovers = await collect({ store, ...drivers }, { signal: stop.signal, log });
    } catch (err) {
      if (!stop.signal.aborted) log.warn({ err }, 'collecting leftovers failed');
    }
  };

  const stopListening: (() => void)[] = [];
  return {
    awake: branches?.awake ?? elsewhere!.awake,
    environment: (sandbox, workload) => forkEnvironment(deps, sandbox, workload),
    warnings: sandbox => rootUsesOf(deps, sandbox),
    migrations: sandbox => migrationsOf(deps, sandbox),
    leftovers: () => leftovers,
    async unclaimed() {
      if (deps.branches === undefined) return [];
      const found = await unclaimed(store, deps.branches, { signal: stop.signal, log });
      return found
        .filter(({ halfMade }) => !halfMade)
        .map(({ id, seen }) => ({ id, ...(seen?.record && { record: seen.record }) }));
    },
    look(kind, name) {
      if (kind in kinds) scheduler.add(keyOf(kind, name));
    },
    counts: scheduler.counts,
    async start() {
      await collectNow();
      await resume({ store, ...drivers, node }, { signal: stop.signal, log });
      // Nothing is started at an address to which somebody may still be led.
      await deps.resumed();
      stopListening.push(store.onChange(waking.change), deps.baseline.watch(waking.baseline));
      if (branches !== undefined) stopListening.push(branches.close);
      if (workloads !== undefined) stopListening.push(workloads.onChange(waking.workload));
      if (workloads?.code !== undefined) stopListening.push(workloads.code.onChange(restarter(store, log)));
      if (deps.branches !== undefined) stopListening.push(deps.branches.onShort(giverUp(store, log, node)));
      if (deps.placement !== undefined) {
        silent = watchSilentNodes({ store, log, placement: deps.placement, now: deps.now });
        stopListening.push(
          deps.placement.onChange(() => {
            scheduler.tell(placementTopic);
            silent?.now();
          }),
        );
      }
      waking.all();
      collector = setInterval(() => void collectNow(), deps.collectEveryMs);
      collector.unref();
    },
    async close() {
      stop.abort(new Error('the daemon stops'));
      clearInterval(collector);
      for (const stopOne of stopListening) stopOne();
      await silent?.stop();
      elsewhere?.close();
      await scheduler.close();
    },
  };
}
