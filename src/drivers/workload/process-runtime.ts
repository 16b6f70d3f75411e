/**
 * Runs workloads as local processes: every container of every pod is one process group with a log file, and every pod
 * has a network of its own, or, where the machine does not allow that, ports of its own on the loopback interface.
 * Processes outlive a daemon that dies; the next one on the same home takes them over.
 */
import { existsSync } from 'node:fs';
import { access, mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Log } from '../../lib/log.ts';
import type { LogRotation } from '../../lib/log-rotation.ts';
import { mayMount } from '../../lib/mounts.ts';
import type { FoundMounts } from '../../lib/namespaces.ts';
import { turn } from '../../lib/turns.ts';
import { delay } from '../../lib/wait.ts';
import type { Node } from '../../model/resource-field.ts';
import type { Capability, WorkloadDriver, WorkloadSeen, WorkloadSpec } from '../contract.ts';
import type { Engine } from '../engine/contract.ts';
import { pathId, pathName } from '../labels.ts';
import type { Networks } from '../network/contract.ts';
import type { Processes, Spaces } from '../processes/contract.ts';
import type { CodePlan } from './code.ts';
import { hasChanged, openCodeWatch } from './code-watch.ts';
import { openDisks } from './disks.ts';
import { type House, partsOf } from './house.ts';
import { migrating } from './migrating.ts';
import { planWorkload, type WorkloadPlan } from './plan.ts';
import { containerPart } from './pod.ts';
import { portChooser } from './ports.ts';
import { openPreparing } from './preparing.ts';
import { disksOfForks, hasState, type PodRecord, readState, type WorkloadState } from './state-file.ts';
import { removeVolumes } from './volumes.ts';
import {
  ALL_WORKLOADS,
  type Before,
  isPodFolder,
  MAX_LOG_BYTES,
  openWorkload,
  podPart,
  type Workload,
  workloadPart,
} from './workload.ts';

export type ProcessRuntimeOptions = {
  /** The data directory; ours is `workloads` in it. */
  readonly home: string;
  /** Differs between data directories, is the same for all daemons on one. */
  readonly instance: string;
  readonly processes: Processes;
  /** For images without an entry. */
  readonly engine: Engine;
  /** Absent where programs see all processes of the machine. */
  readonly spaces: Spaces | undefined;
  /** How processes get mounts of their own, or why they cannot. */
  readonly mounts: FoundMounts;
  /** All that processes get of our environment, e.g. PATH, HOME, LANG, TMPDIR, TZ. */
  readonly baseEnv: Readonly<Record<string, string>>;
  /** Absolute path of the node that `node` means. */
  readonly nodePath: string;
  /** This machine, as containers see it. */
  readonly node: Node;
  /** Absent: pods share the network of this machine. */
  readonly networks: Networks | undefined;
  /** Keeps logs small; not ours to stop. */
  readonly rotation: LogRotation;
  readonly log: Log;
};

/** Opens the runtime and takes over what an earlier daemon left running; starts again what it left and has died. */
export async function openProcessRuntime(options: ProcessRuntimeOptions): Promise<WorkloadDriver> {
  const { instance, processes, engine, spaces, mounts, networks, baseEnv, nodePath, node, log } = options;
  const parts = partsOf(processes, engine);
  const root = join(options.home, 'workloads');
  const disks = openDisks(options.home);
  // Of all pods and branches: a container sees what is mounted for it.
  const hidden = ['workloads', 'disks', 'disks-of-forks', 'volumes'].map(name => join(options.home, name));
  const workloads = new Map<string, Workload>();
  /** As asked for last. */
  const specs = new Map<string, WorkloadSpec>();
  const listeners = new Set<(id: string) => void>();
  const codeListeners = new Set<(id: string) => void>();
  const house: House = {
    instance,
    processes,
    engine,
    parts,
    baseEnv,
    nodePath,
    mounts: 'why' in mounts ? undefined : mounts,
    networks,
    spaces,
    disks,
    nothing: join(options.home, 'nothing'),
    hidden: mounts =>
      mounts.some(({ path }) => isWithin(path, options.home)) ? [] : hidden.filter(existsSync),
    ports: portChooser(),
    preparing: await openPreparing(options.home, processes, options.rotation, () => house),
    code: openCodeWatch({
      changed: (id, folder, at) => {
        if (workloads.get(id)?.startedBefore(folder, at)) for (const listener of codeListeners) listener(id);
      },
      troubled: id => workloads.get(id)?.tell(),
    }),
    rotation: options.rotation,
    log,
    changed: id => {
      for (const listener of listeners) listener(id);
    },
  };
  await mkdir(house.nothing, { recursive: true, mode: 0o555 });
  const folderOf = (id: string) => join(root, pathName(id));

  await takeOver();
  await untilLookedAt();
  const stopHearing = engine.onChange(() => {
    for (const [id, workload] of workloads) {
      const spec = specs.get(id);
      // What is asked for may run now.
      if (spec !== undefined && workload.fails('ImageUnknown'))
        workload.apply(spec.owner, planOf(spec), spec.wish);
      else workload.tell();
    }
  });

  return {
    name: 'process',

    async capabilities() {
      return [...capabilitiesOf(mounts, await mayMount()), ...engine.capabilities()];
    },

    async observe(id) {
      const workload = workloads.get(id);
      if (workload !== undefined) return await workload.seen();
      return (await exists(folderOf(id))) ? leftover(readState(folderOf(id))) : undefined;
    },

    async ensure(id, spec) {
      await turn(); // planning, hosts files and the state on disk are a millisecond or two for each
      const workload = workloads.get(id) ?? (await open(id));
      specs.set(id, spec);
      workload.apply(spec.owner, planOf(spec), spec.wish);
      return await workload.seen();
    },

    release(id, pods) {
      workloads.get(id)?.release(pods);
    },

    async remove(id) {
      await workloads.get(id)?.stop();
      await killAll(workloadPart(id));
      const { owner } = specs.get(id) ?? readState(folderOf(id)) ?? {};
      house.rotation.remove(folderOf(id));
      await removeVolumes(folderOf(id));
      if (owner !== undefined) await removeUnusedDisks(owner);
      specs.delete(id);
      if (workloads.delete(id)) house.changed(id);
    },

    disks: { list: disks.list, bytes: disks.bytes, remove: disks.remove },

    async list() {
      const running = parts.list(ALL_WORKLOADS).map(part => part.split('/')[1]!);
      return [...new Set([...(await folders()), ...running].map(pathId).filter(id => id !== undefined))];
    },

    onChange(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },

    code: {
      onChange(listener) {
        codeListeners.add(listener);
        return () => codeListeners.delete(listener);
      },
      async changed(ids) {
        const looks = new Map<string, Promise<boolean>>();
        const look = (plan: CodePlan, at: number) => {
          const key = JSON.stringify([plan.folder, plan.watch, plan.reload, at]);
          const found = looks.get(key) ?? hasChanged(plan, at);
          looks.set(key, found);
          return found;
        };
        const found = ids.map(async id => {
          const all = workloads.get(id)?.code() ?? [];
          const changed = await Promise.all(all.map(({ plan, startedAt }) => look(plan, startedAt)));
          return changed.includes(true) ? [id] : [];
        });
        return (await Promise.all(found)).flat();
      },
    },

    migrations: migrating(house.preparing),

    async *logs(id, query, { signal }) {
      const workload = workloads.get(id);
      if (workload !== undefined) yield* workload.logs(query, signal);
    },

    inside: async (id, container) =>
      (await workloads.get(id)?.inside(container)) ?? { why: 'nothing of it runs here' },

    async close() {
      stopHearing();
      await Promise.all([...workloads.values()].map(workload => workload.stop()));
      house.code.close();
      await house.preparing.close();
      workloads.clear();
      await killAll(ALL_WORKLOADS); // what was being removed, or has lost its state, when a daemon died
    },
  };

  function planOf(spec: WorkloadSpec): WorkloadPlan {
    const why = engine.away() ?? 'there is one now';
    return planWorkload(spec, { node, networks: networks !== undefined, engine: engine.last() ?? { why } });
  }

  async function takeOver(): Promise<void> {
    for (const name of await folders()) {
      // Also of pods that have ended.
      for (const file of await readdir(join(root, name)).catch(() => []))
        if (file.endsWith('.log')) house.rotation.add(join(root, name, file), MAX_LOG_BYTES);
      const [id, state] = [pathId(name), readState(join(root, name))];
      if (id === undefined || !state?.wanted) continue;
      const planned = new Set(plannedParts(id, state.pods, spaces));
      for (const part of parts.list(workloadPart(id))) if (!planned.has(part)) await parts.kill(part);
      start(id, { pods: state.pods, ports: {}, run: state.run }).apply(state.owner, state.plan);
    }
    for (const owner of await disks.owners()) await removeUnusedDisks(owner);
  }

  /** What an earlier daemon has left running is not said to have just started: who is led to it would be turned away. */
  async function untilLookedAt(): Promise<void> {
    using stack = new DisposableStack();
    const running = [...workloads].filter(([id]) => parts.list(workloadPart(id)).length > 0);
    const looked = running.map(([id, workload]) => {
      const { promise, resolve } = Promise.withResolvers<void>();
      const look = (changed: string) => {
        if (changed !== id) return;
        workload.seen().then(
          ({ serving, reason }) => (serving || reason !== 'Starting') && resolve(),
          () => resolve(),
        );
      };
      listeners.add(look);
      stack.defer(() => void listeners.delete(look));
      look(id);
      return promise;
    });
    const enough = new AbortController();
    stack.defer(() => enough.abort());
    await Promise.race([Promise.all(looked), delay(LOOK_MS, enough.signal).catch(() => {})]);
  }

  /** Those of forks that no workload of their owner has any more; none while we do not know that of each. */
  async function removeUnusedDisks(owner: string): Promise<void> {
    const used = new Set<string>();
    for (const name of await folders()) {
      const workload = workloads.get(pathId(name) ?? '');
      const state = workload === undefined ? readState(join(root, name)) : undefined;
      // One without any is not there yet, or no more.
      if (workload === undefined && state === undefined && hasState(join(root, name))) return;
      const found = workload?.disksOf(owner) ?? (state?.owner === owner ? disksOfForks(state) : []);
      for (const disk of found) used.add(disk);
    }
    await disks.removeForks(owner, used);
  }

  /** A workload whose folder may hold something half made or half removed: of that only the ports are kept. */
  async function open(id: string): Promise<Workload> {
    const ports: Record<number, PodRecord['ports']> = {};
    if (await exists(folderOf(id))) {
      await killAll(workloadPart(id));
      for (const name of await readdir(folderOf(id)))
        if (isPodFolder(name)) await removeVolumes(join(folderOf(id), name));
      for (const [index, pod] of Object.entries(readState(folderOf(id))?.pods ?? {}))
        ports[Number(index)] = pod.ports;
    }
    return start(id, { pods: {}, ports });
  }

  function start(id: string, before: Before): Workload {
    const workload = openWorkload(id, folderOf(id), before, house);
    workloads.set(id, workload);
    return workload;
  }

  /** Processes that nobody supervises. */
  async function killAll(name: string): Promise<void> {
    await Promise.all(parts.list(name).map(parts.kill));
  }

  async function folders(): Promise<string[]> {
    return await readdir(root).catch(() => []);
  }
}

// --- internal -----------------------------------------------------------------------------------

/** Milliseconds that a new daemon looks at what runs before it says how it is. */
const LOOK_MS = 2_000;

const isWithin = (folder: string, path: string): boolean => path === folder || path.startsWith(`${folder}/`);

const plannedParts = (
  id: string,
  pods: Readonly<Record<number, PodRecord>>,
  spaces: Spaces | undefined,
): readonly string[] =>
  Object.entries(pods).flatMap(([index, { plan }]) => {
    const pod = podPart(id, Number(index));
    return [
      ...(spaces ? [spaces.holder(pod)] : []),
      ...plan.containers.map(({ name }) => containerPart(pod, name)),
    ];
  });

/** What is seen of a folder that no workload lives in any more, or not yet again. */
function leftover(state: WorkloadState | undefined): WorkloadSeen {
  return {
    owner: state?.owner ?? '',
    specHash: '',
    ready: false,
    reason: 'Stopped',
    message: 'it was left behind by an earlier daemon',
    restarts: 0,
    serving: false,
    ports: {},
    leaving: [],
    log: [],
  };
}

function capabilitiesOf(mounts: FoundMounts, inMemory: boolean): readonly Capability[] {
  const named = !('why' in mounts);
  const whyNot = 'why' in mounts ? mounts.why : 'why' in mounts.processes && mounts.processes.why;
  return [
    { name: 'workload/process', ok: true, detail: 'containers run as local processes' },
    {
      name: 'workload/volumes',
      ok: named,
      detail: named
        ? 'volumes are mounted where containers see them, and nobody else'
        : `volumes are not mounted (${mounts.why}); init containers and the rest run without them`,
    },
    {
      name: 'workload/memory-volumes',
      ok: inMemory,
      detail: inMemory
        ? 'an emptyDir with the medium Memory is in memory, up to its limit'
        : 'an emptyDir with the medium Memory is on the disk, without a limit: only root may mount what several containers share',
    },
    {
      name: 'workload/processes',
      ok: whyNot === false,
      detail:
        whyNot === false
          ? 'programs see the processes of their pod and no others'
          : `programs see all processes of this machine, and what those of the same user have in their environment (${whyNot})`,
    },
    {
      name: 'workload/names',
      ok: named,
      detail: named
        ? 'each process has an /etc/hosts of its own'
        : `names like users-service.demo.svc do not resolve (${mounts.why}); use $USERS_SERVICE_SERVICE_HOST and _PORT`,
    },
  ];
}

const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  );
