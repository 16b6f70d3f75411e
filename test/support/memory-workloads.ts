/** Workloads in memory: a container's log is what its command `echo WORD…` says, its ports are made up. */
import type { WorkloadDriver, WorkloadSeen, WorkloadSpec } from '../../src/drivers/contract.ts';
import { Listeners } from '../../src/lib/listeners.ts';
import { claimsOf } from '../../src/model/claims.ts';
import type { Trouble } from './trouble.ts';

export type MemoryWorkloads = {
  readonly workloads: WorkloadDriver;
  readonly workloadsOf: Map<string, MemoryWorkload>;
  /** Disks of the baseline: `namespace/claim` → bytes. Those of workloads are there when they have been started. */
  readonly disksOf: Map<string, number>;
  /** Images that this machine cannot run yet. */
  readonly unknownImages: Set<string>;
  /** Changes what is seen of a workload. */
  become(id: string, change: Partial<WorkloadSeen>): void;
  /** What workloads are like from now on when they have just been started; at first: ready. */
  startAs(seen: Born): void;
};

export type MemoryWorkload = { readonly spec: WorkloadSpec; seen: WorkloadSeen; readonly starts: number };

type Born = Pick<WorkloadSeen, 'ready' | 'reason' | 'message'>;

export function memoryWorkloads(trouble: Trouble): MemoryWorkloads {
  const workloadsOf: MemoryWorkloads['workloadsOf'] = new Map();
  const unknownImages = new Set<string>();
  const disksOf: MemoryWorkloads['disksOf'] = new Map();
  const changes = new Listeners<string>();
  let born: Born = { ready: true, reason: 'Running', message: 'all containers are ready' };
  let port = 20_000;

  const start = (id: string, spec: WorkloadSpec): WorkloadSeen => {
    const { containers } = spec.workload.spec.template.spec;
    const unknown = containers.map(c => c.image).filter(image => unknownImages.has(image));
    const { wish, ...rest } = spec;
    const specHash = JSON.stringify({ spec: rest, unknown });
    const there = workloadsOf.get(id);
    const again = there !== undefined && there.spec.wish !== wish && !there.seen.ready;
    if (there?.seen.specHash === specHash && !again) {
      workloadsOf.set(id, { ...there, spec });
      return there.seen;
    }
    const declared = containers.flatMap(c => c.ports ?? []).map(p => p.containerPort);
    // A port stays the same over restarts.
    const ports = Object.fromEntries(
      declared.map(p => [p, there?.seen.ports[p] ?? [{ host: '127.0.0.1', port: ++port }]]),
    );
    const state =
      unknown.length === 0
        ? born
        : { ready: false, reason: 'ImageUnknown', message: `nothing runs ${unknown}` };
    const log = containers.flatMap(({ command: [program, ...words] = [] }) =>
      program === 'echo' ? [words.join(' ')] : [],
    );
    const seen = {
      ...{
        owner: spec.owner,
        specHash,
        ...state,
        serving: state.ready,
        restarts: 0,
        ports,
        leaving: [],
        log,
      },
    };
    workloadsOf.set(id, { spec, seen, starts: (there?.starts ?? 0) + 1 });
    const { namespace = 'default' } = spec.workload.metadata;
    if (spec.owner === 'baseline')
      for (const claim of claimsOf(spec.workload)) disksOf.set(`${namespace}/${claim}`, 0);
    changes.tell(id);
    return seen;
  };

  const workloads: WorkloadDriver = {
    name: 'memory',
    capabilities: async () => [],
    onChange: changes.add,
    release() {},
    disks: {
      list: async () => [...disksOf.keys()].map(diskAt),
      bytes: async ({ namespace, claim }) => disksOf.get(`${namespace}/${claim}`),
      async remove(namespace, claim, ctx) {
        await trouble.meet('workloads.disks.remove', `${namespace}/${claim}`, ctx);
        disksOf.delete(`${namespace}/${claim}`);
      },
    },
    close: async () => workloadsOf.clear(),
    async *logs(id, { lines }) {
      const { log = [] } = workloadsOf.get(id)?.seen ?? {};
      for (const text of log.slice(Math.max(0, log.length - lines)))
        yield { pod: `${id}-0`, container: 'main', text };
    },
    async observe(id, ctx) {
      await trouble.meet('workloads.observe', id, ctx);
      return workloadsOf.get(id)?.seen;
    },
    async ensure(id, spec, ctx) {
      await trouble.meet('workloads.ensure', id, ctx);
      return start(id, spec);
    },
    async remove(id, ctx) {
      await trouble.meet('workloads.remove', id, ctx);
      workloadsOf.delete(id);
    },
    async list(ctx) {
      await trouble.meet('workloads.list', '', ctx);
      return [...workloadsOf.keys()];
    },
  };
  return {
    workloads,
    workloadsOf,
    disksOf,
    unknownImages,
    become(id, change) {
      const workload = workloadsOf.get(id)!;
      workload.seen = {
        ...workload.seen,
        ...(change.ready !== undefined && { serving: change.ready }),
        ...change,
      };
      changes.tell(id);
    },
    startAs(seen) {
      born = seen;
    },
  };
}

function diskAt(path: string) {
  const [namespace = '', claim = ''] = path.split('/');
  return { namespace, claim };
}
