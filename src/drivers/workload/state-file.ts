/** What one workload's folder says about it, so that the next daemon can go on. Holds secrets: mode 0600. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { keptFile } from '../../lib/kept-file.ts';
import type { LocalOnly } from './listeners.ts';
import type { PodPlan, Problem, WorkloadPlan } from './plan.ts';
import type { RunRecord } from './run.ts';
import type { DiskStart } from './volumes.ts';

export type ContainerRecord = {
  restarts: number;
  /** When its process was started last, in milliseconds since 1970: what changed in its folder later, it may not know. */
  startedAt?: number;
  /** Size of the log when it was started, in bytes: what comes later is its own. */
  logStart?: number;
  /** The same of the life before. */
  logBefore?: number;
  /** It has run to its end and does not start again. */
  done?: 'succeeded' | 'failed';
  /** How that came. */
  why?: Problem;
  /** With which code. */
  exitCode?: number;
};

export type PodRecord = {
  /** By which it was started, or may go on. */
  plan: PodPlan;
  readonly name: string;
  /** Differs from all other pods, also those that had its name before. */
  readonly uid: string;
  /** Of its own network; absent: it shares the one of this machine. */
  ip?: string | undefined;
  /** Ports at which it listens at 127.0.0.1 alone, or at ::1 alone, as was seen last. */
  localOnly?: LocalOnly;
  /** containerPort → local port, the same in a network of its own; kept over restarts. */
  ports: Record<number, number>;
  readonly containers: Record<string, ContainerRecord>;
  /** Its init containers have run through, and the others were started. */
  initialised?: boolean;
  /** What disks of a fork began as, by claim. */
  disks?: Readonly<Record<string, DiskStart>>;
  /** It was ready once. */
  served?: boolean;
  /** Nobody is to be led to it any more; it ends as soon as nobody is. */
  leaving?: boolean;
};

export type WorkloadState = {
  readonly version: typeof STATE_VERSION;
  readonly owner: string;
  /** false while it is being stopped or removed: nothing starts again by itself. */
  readonly wanted: boolean;
  readonly plan: WorkloadPlan;
  /** Of what runs to its end. */
  readonly run?: RunRecord;
  /** By number. */
  readonly pods: Readonly<Record<number, PodRecord>>;
};

/** Raised whenever the shape changes: an older daemon's state is then not read, and its processes are replaced. */
const STATE_VERSION = 4;

/** @returns saves what `state` says then, see `keptFile` */
export function keptState(folder: string, state: () => Omit<WorkloadState, 'version'>): () => Promise<void> {
  return keptFile(join(folder, FILE), () => {
    const now = state();
    // Most pods are as the workload is planned now; that is written once.
    const pods = Object.entries(now.pods).map(([index, { plan, ...pod }]) => [
      index,
      plan === now.plan.pod ? pod : { ...pod, plan },
    ]);
    return JSON.stringify({ version: STATE_VERSION, ...now, pods: Object.fromEntries(pods) });
  });
}

/** @returns undefined when there is none that we can read */
export function readState(folder: string): WorkloadState | undefined {
  try {
    const state = JSON.parse(readFileSync(join(folder, FILE), 'utf8')) as WorkloadState;
    if (state.version !== STATE_VERSION) return undefined;
    for (const pod of Object.values(state.pods)) pod.plan ??= state.plan.pod!;
    return state;
  } catch {
    return undefined;
  }
}

/** Disks of forks that it mounts, as `namespace/claim`. */
export const disksOfForks = ({ plan, pods }: Pick<WorkloadState, 'plan' | 'pods'>): readonly string[] =>
  [plan.pod, ...Object.values(pods).map(pod => pod.plan)]
    .flatMap(one => one?.volumes ?? [])
    .flatMap(volume =>
      volume.kind === 'disk' && volume.of === 'fork' ? [`${plan.namespace}/${volume.claim}`] : [],
    );

/** Also when we cannot read it. */
export const hasState = (folder: string): boolean => existsSync(join(folder, FILE));

// --- internal -----------------------------------------------------------------------------------

const FILE = 'state.json';
