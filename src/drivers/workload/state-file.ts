/** What one workload's folder says about it, so that the next daemon can go on. Holds secrets: mode 0600. */
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { WorkloadPlan } from './plan.ts';

export type ProcessRecord = {
  /** containerPort → local port; kept over restarts. */
  ports: Record<number, number>;
  restarts: number;
  /** `processHash` of the plan that the process was started by, or may go on under. */
  fits?: string;
  /** Size of the log when the process was started, in bytes: what comes later is its own. */
  logStart?: number;
};

export type WorkloadState = {
  readonly version: typeof STATE_VERSION;
  readonly owner: string;
  /** false while it is being stopped or removed: nothing starts again by itself. */
  readonly wanted: boolean;
  readonly plan: WorkloadPlan;
  /** By `processKey`. */
  readonly processes: Readonly<Record<string, ProcessRecord>>;
};

/** Raised whenever the shape changes: an older daemon's state is then not read, and its processes are replaced. */
const STATE_VERSION = 2;

export const processKey = (process: { readonly container: string; readonly replica: number }): string =>
  `${process.container}.${process.replica}`;

/** Synchronous and by rename: a reader, or the next daemon, finds the old content or the new one. */
export function writeState(folder: string, state: Omit<WorkloadState, 'version'>): void {
  const file = join(folder, FILE);
  writeFileSync(`${file}.new`, JSON.stringify({ version: STATE_VERSION, ...state }), { mode: 0o600 });
  renameSync(`${file}.new`, file);
}

/** @returns undefined when there is none that we can read */
export function readState(folder: string): WorkloadState | undefined {
  try {
    const state = JSON.parse(readFileSync(join(folder, FILE), 'utf8')) as WorkloadState;
    return state.version === STATE_VERSION ? state : undefined;
  } catch {
    return undefined;
  }
}

// --- internal -----------------------------------------------------------------------------------

const FILE = 'state.json';
