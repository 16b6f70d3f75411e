/** The switch: store changes and driver signals in, keys to the right reconciler, route tables out. */
import type { ServerDriver, StepDriver, VolumeDriver, WorkloadDriver } from '../drivers/contract.ts';
import type { Log } from '../lib/log.ts';
import type { PreviewSite } from '../model/endpoint.ts';
import { namespaceOf } from '../model/manifest-name.ts';
import { type Address, emptyRouteTable, type RouteSource, type RouteTable } from '../model/route.ts';
import { branchesOf, deleteBranchesOf, ensureRoot } from '../rules/branches.ts';
import { usersOfWorkload } from '../rules/manifests.ts';
import type { Kind, Kinds, Store, Stored } from '../store/contract.ts';
import { type BaselineDeps, baselineReconciler, dependents } from './baseline.ts';
import { type BranchReconciler, branchReconciler } from './branch.ts';
import { branchActions } from './branch-action.ts';
import { collect, type Leftovers } from './collect.ts';
import { forkEnvironment, forkRunner } from './forks.ts';
import { createQueue, type Queue, type Result } from './queue.ts';
import { resourceRunner } from './resource.ts';
import { resume } from './resume.ts';
import { computeRoutes } from './routes.ts';
import { sandboxReconciler } from './sandbox.ts';
import { baselineId } from './workload-spec.ts';

export type LoopDeps = {
  readonly store: Store;
  readonly volumes: VolumeDriver;
  readonly servers: ServerDriver;
  readonly workloads: WorkloadDriver;
  readonly steps: StepDriver;
  readonly dropSessions: (branch: string) => void;
  readonly gateway: () => Address;
  readonly site: () => PreviewSite;
  readonly scriptEnv: () => Readonly<Record<string, string>>;
  readonly keep: readonly string[];
  /** Milliseconds that a plugin's step may take. */
  readonly stepMs: number;
  readonly allocate: BaselineDeps['allocate'];
  readonly listenProblem: BaselineDeps['listenProblem'];
  readonly retry: { readonly baseMs: number; readonly maxMs: number };
  readonly collectEveryMs: number;
  readonly now: () => Date;
  readonly log: Log;
};

export type Loop = {
  /** Looks at everything once, removes leftovers, and from then on follows changes. */
  start(): Promise<void>;
  readonly routes: RouteSource;
  readonly awake: BranchReconciler['awake'];
  /** See reconcile/forks.ts. */
  environment(sandbox: Stored<'sandbox'>, workload: string | undefined): Readonly<Record<string, string>>;
  /** Result of the newest collection. */
  leftovers(): Leftovers;
  /** Asks for a look at an object soon. */
  enqueue(kind: Kind, name: string): void;
  close(): Promise<void>;
};

export function createLoop(deps: LoopDeps): Loop {
  const { store, workloads, log } = deps;
  const stop = new AbortController();
  const routes = routeSource();
  let leftovers: Leftovers = { removed: [], orphans: [] };
  let collector: NodeJS.Timeout | undefined;

  const enqueue = (kind: Kind, name: string) => queues[kind]?.add(name);
  const branches = branchReconciler({ ...deps, enqueue: id => enqueue('branch', id) });
  const actions = branchActions({ store, gateway: deps.gateway });
  const resources = resourceRunner({ ...deps, actions });
  const sandbox = sandboxReconciler({ ...deps, resources, forks: forkRunner(deps) });
  const baseline = baselineReconciler(deps);

  const project = async (name: string): Promise<Result> => {
    const found = store.get('project', name);
    if (found === undefined) return;
    if (found.deletedAt === undefined) return void (await ensureRoot(store, name));
    // A project is only the tree of its branches: it goes when the last of them has gone.
    await deleteBranchesOf(store, name);
    if (branchesOf(store, name).length === 0) await store.remove('project', name);
    return;
  };

  const queueOf = (
    kind: Kind,
    reconcile: (name: string, signal: AbortSignal) => Promise<Result>,
    concurrency = 16,
  ) => createQueue({ reconcile, concurrency, backoff: deps.retry, log: log.child({ kind }) });
  // One for each kind: sandboxes that wait for their branches must not stand in the way of these.
  const queues: Partial<Record<Kind, Queue>> = {
    project: queueOf('project', project),
    branch: queueOf('branch', branches.reconcile),
    manifest: queueOf('manifest', baseline),
    // Sandboxes mostly wait, for scripts and branches; none may keep another, or its delete, from beginning.
    sandbox: queueOf('sandbox', sandbox, Number.POSITIVE_INFINITY),
  };

  /** Specs, secrets and deletions wake the object itself; its status, which we wrote, does not. */
  const seen = new Map<string, string>();
  const onChange: Parameters<Store['onChange']>[0] = change => {
    if (change.type === 'event') return;
    const key = `${change.kind} ${change.name}`;
    if (change.type === 'gone') {
      seen.delete(key);
      if (change.kind === 'branch') onBranchGone();
    } else {
      const { deletedAt, spec } = change.object;
      const mark = intentMark(change.object);
      const changed = seen.get(key) !== mark;
      seen.set(key, mark);
      // A delete does not wait for the end of a create that may take minutes.
      if (changed) queues[change.kind]?.add(change.name, { interrupt: deletedAt !== undefined });
      if (change.kind === 'manifest') onManifest(spec as never, changed, change.name);
      if (change.kind === 'image' && changed) {
        for (const m of store.list('manifest')) if (m.spec.kind === 'Deployment') enqueue('manifest', m.name);
        for (const s of store.list('sandbox')) enqueue('sandbox', s.name);
      }
    }
    if (change.kind === 'manifest' || change.kind === 'sandbox') publish();
  };

  /** Those that are to go wait for their last branch, or for the last child of it. */
  const onBranchGone = (): void => {
    for (const kind of ['project', 'sandbox'] as const) {
      for (const object of store.list(kind)) if (object.deletedAt) enqueue(kind, object.name);
    }
  };

  const addressesSeen = new Map<string, string>();
  const onManifest = (manifest: Parameters<typeof dependents>[1], changed: boolean, name: string): void => {
    if (manifest.kind === 'Service') {
      const addresses = JSON.stringify(store.get('manifest', name)?.status?.addresses ?? null);
      if (addressesSeen.get(name) === addresses && !changed) return;
      addressesSeen.set(name, addresses);
    } else if (!changed) return;
    for (const dependent of dependents(store, manifest)) enqueue('manifest', dependent);
    if (manifest.kind === 'Namespace') return;
    const forked =
      manifest.kind === 'Deployment'
        ? usersOfWorkload(store, namespaceOf(manifest), manifest.metadata.name)
        : store.list('sandbox').map(s => s.name);
    for (const name of forked) enqueue('sandbox', name);
  };

  const publish = (): void => {
    routes.swap(
      computeRoutes(
        { manifests: store.list('manifest'), sandboxes: store.list('sandbox') },
        routes.current().version + 1,
      ),
    );
  };

  const onWorkload = (id: string): void => {
    for (const m of store.list('manifest')) {
      if (m.spec.kind === 'Deployment' && baselineId(namespaceOf(m.spec), m.spec.metadata.name) === id)
        enqueue('manifest', m.name);
    }
    const [owner = ''] = id.split('.');
    if (owner.startsWith('sb-')) enqueue('sandbox', owner.slice('sb-'.length));
  };

  const collectNow = async (): Promise<void> => {
    try {
      leftovers = await collect(deps, { signal: stop.signal, log });
    } catch (err) {
      if (!stop.signal.aborted) log.warn({ err }, 'collecting leftovers failed');
    }
  };

  const stopListening: (() => void)[] = [];
  return {
    routes,
    awake: branches.awake,
    environment: (sandbox, workload) => forkEnvironment(store, sandbox, workload),
    leftovers: () => leftovers,
    enqueue,
    async start() {
      await collectNow();
      await resume(deps, { signal: stop.signal, log });
      stopListening.push(store.onChange(onChange), workloads.onChange(onWorkload));
      for (const kind of Object.keys(queues) as Kind[]) {
        for (const object of store.list(kind)) {
          seen.set(`${kind} ${object.name}`, intentMark(object));
          enqueue(kind, object.name);
        }
      }
      publish();
      collector = setInterval(() => void collectNow(), deps.collectEveryMs);
      collector.unref();
    },
    async close() {
      stop.abort(new Error('the daemon stops'));
      clearInterval(collector);
      for (const stopOne of stopListening) stopOne();
      await Promise.all(Object.values(queues).map(queue => queue.close()));
    },
  };
}

// --- internal -----------------------------------------------------------------------------------

/** Differs when what is asked for differs; a reconciler's own writes (status, journal) leave it as it is. */
function intentMark(object: Stored<Kind>): string {
  const secret = object.secret as Partial<Kinds['branch']['secret'] & Kinds['sandbox']['secret']> | null;
  return [object.generation, object.deletedAt, secret?.password, secret?.force, secret?.tries].join(' ');
}

function routeSource(): RouteSource & { swap(table: RouteTable): void } {
  let table = emptyRouteTable;
  const listeners = new Set<(table: RouteTable) => void>();
  return {
    current: () => table,
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    swap(next) {
      table = next;
      for (const listener of listeners) listener(next);
    },
  };
}
