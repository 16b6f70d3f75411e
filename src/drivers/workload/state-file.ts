/** What one workload's folder says about it, so that the next daemon can go on. Holds secrets: mode 0600. */
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
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

/**
 * Synchronous and by rename: a reader, or the next daemon, finds the old content or the new one.
 * @param last what is there
 * @returns what is there now
 */
export function writeState(folder: string, state: Omit<WorkloadState, 'version'>, last?: string): string {
  const file = join(folder, FILE);
  // Most pods are as the workload is planned now; that is written once.
  const pods = Object.entries(state.pods).map(([index, { plan, ...pod }]) => [
    index,
    plan === state.plan.pod ? pod : { ...pod, plan },
  ]);
  const text = JSON.stringify({ version: STATE_VERSION, ...state, pods: Object.fromEntries(pods) });
  if (text === last) return last;
  writeFileSync(`${file}.new`, text, { mode: 0o600 });
  renameSync(`${file}.new`, file);
  return text;
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

/** Also when we cannot read it. */
export const hasState = (folder: string): boolean => existsSync(join(folder, FILE));

// --- internal -----------------------------------------------------------------------------------

const FILE = 'state.json';
