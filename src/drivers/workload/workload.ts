/** One workload: its processes, its folder, and what is seen of it. */
import { closeSync, constants, ftruncateSync, mkdirSync, openSync, readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { tail } from '../../lib/log-file.ts';
import type { WorkloadSeen } from '../contract.ts';
import { pathName } from '../labels.ts';
import type { Health } from './health.ts';
import type { House } from './house.ts';
import type { Place } from './launch.ts';
import { type ProcessPlan, type WorkloadPlan, workloadHash } from './plan.ts';
import { type ProcessRecord, processKey, writeState } from './state-file.ts';
import { type Supervised, supervise } from './supervise.ts';

export type Workload = {
  /** Starts, replaces and ends processes until they are as planned. Waits for none of it. @param wish see WorkloadSpec */
  apply(owner: string, plan: WorkloadPlan, wish?: string): void;
  seen(): Promise<WorkloadSeen>;
  logs(lines: number): Promise<string[]>;
  /** Returns when no process is left. The folder stays. */
  stop(): Promise<void>;
};

/** @param before what an earlier daemon knew of its processes, by `processKey`; one that still runs is taken over */
export function openWorkload(
  id: string,
  folder: string,
  before: Readonly<Record<string, ProcessRecord>>,
  house: House,
): Workload {
  const records = new Map(Object.entries(before));
  const processes = new Map<string, Supervised>();
  const places = new Map<string, Place>();
  const hostsFile = join(folder, 'hosts');
  let owner = '';
  let wanted = true;
  let lastWish: string | undefined;
  let plan: WorkloadPlan = { processes: [], hosts: [] };
  let lastTold = '';

  mkdirSync(folder, { recursive: true, mode: 0o700 });
  return { apply, seen, logs: lines => tails(lines), stop };

  function apply(nextOwner: string, next: WorkloadPlan, wish?: string): void {
    const again = wish !== undefined && lastWish !== undefined && wish !== lastWish;
    owner = nextOwner;
    lastWish = wish;
    plan = next;
    if (house.mounts !== undefined) writeHosts(hostsFile, next.hosts);
    const planned = new Map(next.processes.map(p => [processKey(p), p]));
    for (const [key, process] of processes) {
      process.change(planned.get(key));
      if (again) process.tryNow();
    }
    for (const [key, process] of planned) if (!processes.has(key)) begin(key, process);
    trySave();
    tell();
  }

  function begin(key: string, process: ProcessPlan): void {
    const record = records.get(key) ?? { ports: {}, restarts: 0 };
    records.set(key, record);
    const place = { part: processPart(id, process), logFile: logFile(key), hostsFile };
    places.set(key, place);
    house.rotation.add(place.logFile, MAX_LOG_BYTES);
    processes.set(key, supervise(process, record, { place, house, save, changed: tell }));
  }

  async function seen(): Promise<WorkloadSeen> {
    // Nothing of an earlier life: what a process said before its cause was mended would mislead.
    const log = await tails(LINES_IN_STATUS, key => records.get(key)?.logStart ?? 0);
    return { owner, specHash: workloadHash(plan), ...summary(), ports: ports(), log };
  }

  function ports(): WorkloadSeen['ports'] {
    const ports: Record<number, { host: string; port: number }[]> = {};
    for (const process of plan.processes) {
      const chosen = records.get(processKey(process))!.ports;
      for (const port of process.containerPorts) {
        ports[port] ??= [];
        if (chosen[port] !== undefined) ports[port].push({ host: '127.0.0.1', port: chosen[port] });
      }
    }
    return ports;
  }

  function summary(): Health & { restarts: number } {
    const restarts = [...records.values()].reduce((sum, record) => sum + record.restarts, 0);
    if (plan.problem !== undefined) return { ready: false, ...plan.problem, restarts };
    if (plan.processes.length === 0)
      return { ready: true, reason: 'ScaledToZero', message: 'it has no replicas', restarts };
    const all = plan.processes.map(process => healthOf(processKey(process)));
    return { ...(all.find(health => !health.ready) ?? all[0]!), restarts };
  }

  function healthOf(key: string): Health {
    const health = processes.get(key)!.health();
    if (!health.ready || house.processes.find(places.get(key)!.part) !== undefined) return health;
    return { ready: false, reason: 'CrashLoopBackOff', message: 'it has just ended' };
  }

  async function tails(lines: number, from?: (key: string) => number): Promise<string[]> {
    const keys = plan.processes.map(processKey);
    if (keys.length === 1) return await tail(logFile(keys[0]!), lines, from?.(keys[0]!));
    const each = Math.ceil(lines / keys.length);
    const all = keys.map(async key =>
      (await tail(logFile(key), each, from?.(key))).map(line => `[${key}] ${line}`),
    );
    return (await Promise.all(all)).flat();
  }

  async function stop(): Promise<void> {
    wanted = false;
    trySave(); // first, so that a daemon that finds us half stopped starts nothing again
    await Promise.all([...processes.values()].map(process => process.stop()));
    for (const { logFile } of places.values()) house.rotation.remove(logFile);
    trySave();
  }

  function logFile(key: string): string {
    return join(folder, `${pathName(key)}.log`);
  }

  function save(): void {
    writeState(folder, { owner, wanted, plan, processes: Object.fromEntries(records) });
  }

  /** For when processes come first: a full disk must not keep them from ending, nor others from being taken over. */
  function trySave(): void {
    try {
      save();
    } catch (err) {
      house.log.warn({ id, err }, 'cannot write the state of a workload');
    }
  }

  function tell(): void {
    const now = JSON.stringify([summary(), ports()]);
    if (now === lastTold) return;
    lastTold = now;
    house.changed(id);
  }
}

/** Names of parts: where those of all workloads begin, those of one workload, and one process of it. */
export const ALL_WORKLOADS = 'workload';
export const workloadPart = (id: string): string => `${ALL_WORKLOADS}/${pathName(id)}`;
export const processPart = (id: string, { container, replica }: ProcessPlan): string =>
  `${workloadPart(id)}/${pathName(container)}/${replica}`;

// --- internal -----------------------------------------------------------------------------------

const LINES_IN_STATUS = 20;
const MAX_LOG_BYTES = 5 * 1024 * 1024;

/**
 * In place, because processes see the file through a mount of exactly this inode: new names reach them at
 * once. Never cut to nothing first, because somebody may be reading it.
 */
function writeHosts(path: string, hosts: WorkloadPlan['hosts']): void {
  const own = hosts.map(({ ip, names }) => `${ip} ${names.join(' ')}\n`).join('');
  const text = Buffer.from(`${readFileSync('/etc/hosts', 'utf8').trimEnd()}\n${own}`);
  const file = openSync(path, constants.O_WRONLY | constants.O_CREAT, 0o644);
  try {
    writeSync(file, text, 0, text.length, 0);
    ftruncateSync(file, text.length);
  } finally {
    closeSync(file);
  }
}
