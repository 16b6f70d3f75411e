/** One workload: its pods, its folder, and what is seen of it. */

import { closeSync, constants, ftruncateSync, mkdirSync, openSync, readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { Listeners } from '../../lib/listeners.ts';
import { tail } from '../../lib/log-file.ts';
import { delay } from '../../lib/wait.ts';
import type { LogLine, LogQuery } from '../../model/log.ts';
import type { Surroundings } from '../../model/surroundings.ts';
import type { WorkloadSeen } from '../contract.ts';
import { pathName } from '../labels.ts';
import type { CodePlan } from './code.ts';
import { restartPause } from './container.ts';
import type { Health } from './health.ts';
import type { House } from './house.ts';
import { type LogSource, logLines } from './logs.ts';
import { samePod, type WorkloadPlan, workloadHash } from './plan.ts';
import { keepPod, newPodRecord, type Pod } from './pod.ts';
import { nextSteps, type PodState } from './rollout.ts';
import { mayBeOlder, rolloutOf } from './rollout-plan.ts';
import { nextRunSteps, type RunPlan, type RunPod, type RunRecord, triesOf } from './run.ts';
import { disksOfForks, keptState, type PodRecord, type WorkloadState } from './state-file.ts';
import { removeVolumes } from './volumes.ts';

export type Workload = {
  /** Starts, replaces and ends pods until they are as planned. Waits for none of it. @param wish see WorkloadSpec */
  apply(owner: string, plan: WorkloadPlan, wish?: string): void;
  seen(): Promise<WorkloadSeen>;
  /** Whether something of it that is to stay runs from a folder, and was started before `at`; see ContainerRecord. */
  startedBefore(folder: string, at: number): boolean;
  /** Folders that it runs from, each with what has started there first. */
  code(): readonly { readonly plan: CodePlan; readonly startedAt: number }[];
  /** Disks of forks of this owner that it uses, as `namespace/claim`. */
  disksOf(owner: string): readonly string[];
  /** Nobody is led to these pods any more, named as in `WorkloadSeen.leaving`. */
  release(pods: readonly string[]): void;
  /** See WorkloadDriver. */
  logs(query: LogQuery, signal: AbortSignal): AsyncIterable<LogLine>;
  /** Its plan has this problem. */
  fails(reason: string): boolean;
  /** Something around it has changed that is part of what is seen. */
  tell(): void;
  inside(container: string | undefined): Promise<Surroundings | { readonly why: string }>;
  /** Returns when no process is left. The folder stays. */
  stop(): Promise<void>;
};

export type Before = {
  /** Pods of an earlier daemon; what still runs of them is taken over. */
  readonly pods: Readonly<Record<number, PodRecord>>;
  /** Ports of pods that are no more, by their number. */
  readonly ports: Readonly<Record<number, PodRecord['ports']>>;
  readonly run?: RunRecord | undefined;
};

export function openWorkload(id: string, folder: string, before: Before, house: House): Workload {
  const pods = new Map<number, Member>();
  const onPods = new Listeners<void>();
  let owner = '';
  let wanted = true;
  let lastWish: string | undefined;
  let plan: WorkloadPlan = nothing;
  let lastTold = '';
  /** Since when nothing has come of what was asked for last; undefined: it is done. */
  let waitingSince: number | undefined = performance.now();
  let run: RunRecord | undefined = before.run;
  /** After a failed pod the next one waits; milliseconds, of this daemon's clock. */
  let pauseMs: number | undefined;
  let pauseUntil = 0;
  let alarm: NodeJS.Timeout | undefined;

  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const save = keptState(folder, state);
  const fails = (reason: string) => plan.problem?.reason === reason;
  const disksOf = (asked: string) => (asked === owner ? disksOfForks(state()) : []);
  return { apply, seen, startedBefore, code, disksOf, release, logs, inside, stop, tell, fails };

  function apply(nextOwner: string, next: WorkloadPlan, wish?: string): void {
    const again = wish !== undefined && lastWish !== undefined && wish !== lastWish;
    if (again || workloadHash(next) !== workloadHash(plan)) waitingSince = performance.now();
    const isFirst = plan === nothing;
    owner = nextOwner;
    lastWish = wish;
    plan = next;
    if (isFirst) for (const [index, record] of Object.entries(before.pods)) takeOver(Number(index), record);
    for (const member of pods.values()) {
      const { record, hostsFile } = member.pod;
      if (isCurrent(member) && next.pod !== undefined) record.plan = next.pod; // it goes on under the newer one
      // Of one that ends the folder goes.
      if (house.mounts !== undefined && member.ending === undefined) writeHosts(hostsFile, record, next);
      if (again) member.pod.tryNow();
    }
    house.code.follow(
      id,
      plan.run === undefined ? (plan.pod?.containers.flatMap(({ code }) => code ?? []) ?? []) : [],
    );
    step();
    void trySave();
    tell();
  }

  function startedBefore(folder: string, at: number): boolean {
    return code().some(({ plan, startedAt }) => plan.folder === folder && startedAt <= at);
  }

  /** Not of what is about to be replaced. */
  function code(): { plan: CodePlan; startedAt: number }[] {
    const current = staying().filter(member => !isAskedAgain(member));
    return current.flatMap(({ pod: { record } }) =>
      record.plan.containers.flatMap(({ name, code }) => {
        const startedAt = record.containers[name]?.startedAt;
        return code === undefined || startedAt === undefined ? [] : [{ plan: code, startedAt }];
      }),
    );
  }

  function takeOver(index: number, record: PodRecord): void {
    const member = keep(index, record);
    if (record.leaving) leave(member, true);
  }

  function startPod(index: number): void {
    const name = plan.bare ? plan.name : `${plan.name}-${index}`;
    keep(index, newPodRecord(plan.pod!, plan.namespace, name));
  }

  function keep(index: number, record: PodRecord): Member {
    const pod = keepPod(index, record, {
      house,
      part: podPart(id, index),
      folder: podFolder(index),
      hostname: plan.hostname,
      disks: {
        baseline: claim => house.disks.baseline(plan.namespace, claim),
        fork: claim => house.disks.fork(owner, plan.namespace, claim),
        alone: house.disks.alone,
      },
      lastPorts: before.ports[index] ?? {},
      logFile: container => logFile(index, container),
      save,
      changed: () => podChanged(member),
    });
    const member: Member = { pod };
    pods.set(index, member);
    onPods.tell();
    if (house.mounts !== undefined) writeHosts(pod.hostsFile, record, plan);
    for (const { name } of record.plan.containers) house.rotation.add(logFile(index, name), MAX_LOG_BYTES);
    return member;
  }

  /** What is to be done now. One look at the clock for all of it: what is too early for this is what wakes us again. */
  function step(): void {
    if (!wanted || plan.pod === undefined) return;
    const now = performance.now();
    if (plan.run !== undefined) {
      stepRun(plan.run, now);
      return;
    }
    const states = [...pods.values()].map(member => stateOf(member, now));
    const { start, retire } = nextSteps(states, plan.replicas, plan.rollout);
    for (const index of retire) retirePod(pods.get(index)!);
    for (const index of start) startPod(index);
    if (start.length + retire.length > 0) progress();
    wakeAgain(now);
  }

  /** What runs to its end: pods that have ended stay, without processes, for what they have said. */
  function stepRun(of: RunPlan, now: number): void {
    const hash = workloadHash(plan);
    if (run !== undefined && run.of !== hash && pods.size > 0) {
      for (const member of pods.values()) endPod(member);
      return;
    }
    if (run?.of !== hash) run = { startedAt: Date.now(), of: hash };
    if (run.ended !== undefined) return;
    const ranMs = Date.now() - run.startedAt;
    const all = [...pods.values()].filter(({ ending }) => ending === undefined);
    const { start, retire, ended } = nextRunSteps(all.map(runPodOf), of, run.failures ?? 0, ranMs);
    if (ended !== undefined) {
      run.ended = ended;
      // First, so that nothing of it begins again.
      void trySave().then(() => {
        for (const { pod } of pods.values()) void pod.stop();
      });
      return;
    }
    for (const index of retire) {
      const member = pods.get(index)!;
      run.failures = (run.failures ?? 0) + triesOf(runPodOf(member), of);
      endPod(member);
    }
    const failures = (run.failures ?? 0) + all.filter(({ pod }) => pod.end() === 'failed').length;
    const free = start.filter(index => !pods.has(index));
    if (free.length > 0 && (failures === 0 || now >= pauseUntil)) {
      for (const index of free) startPod(index);
      if (failures > 0) pauseMs = restartPause(pauseMs, 0);
      pauseUntil = now + (pauseMs ?? restartPause(undefined, 0));
    }
    wakeAgain(now);
  }

  function runPodOf({ pod }: Member): RunPod {
    const exits = Object.entries(pod.record.containers).flatMap(([container, { done, exitCode }]) =>
      done === 'failed' && exitCode !== undefined ? [{ container, code: exitCode }] : [],
    );
    return { index: pod.index, end: pod.end(), restarts: restartsOf(pod), exits, problem: pod.health() };
  }

  function podChanged(member: Member): void {
    if (pods.get(member.pod.index) !== member) return;
    const { ready } = member.pod.health();
    if (ready && member.readySince === undefined) {
      member.readySince = performance.now();
      progress();
    }
    if (!ready) delete member.readySince;
    if (ready && !member.pod.record.served) {
      member.pod.record.served = true;
      void trySave();
    }
    step();
    tell();
  }

  /** Whom nobody is led to can end at once; the others when the proxies have let go. */
  function retirePod(member: Member): void {
    member.pod.record.leaving = true;
    leave(member, member.pod.health().ready);
  }

  function leave(member: Member, isServing: boolean): void {
    if (!isServing) return void endPod(member);
    // Without anybody who says so, after a while.
    member.release = setTimeout(() => endPod(member), RELEASE_MS).unref();
  }

  function release(names: readonly string[]): void {
    for (const member of pods.values())
      if (member.release !== undefined && names.includes(member.pod.record.uid)) endPod(member);
  }

  function endPod(member: Member): void {
    const { pod } = member;
    const idle = member.release === undefined ? Promise.resolve() : untilIdle(pod);
    clearTimeout(member.release);
    delete member.release;
    member.ending ??= idle
      .then(() => pod.stop())
      .then(() => removeVolumes(podFolder(pod.index)))
      .then(() => {
        pods.delete(pod.index);
        progress();
        step();
        void trySave();
        tell();
      })
      .catch(err => {
        delete member.ending;
        house.log.error({ id, pod: pod.record.name, err }, 'cannot end a pod');
        // Nobody else would come back to it.
        setTimeout(() => pods.get(pod.index) === member && endPod(member), END_AGAIN_MS).unref();
      });
  }

  function stateOf(member: Member, now: number): PodState {
    const { pod, readySince } = member;
    const { ready } = pod.health();
    const readyMs = readySince === undefined ? -1 : now - readySince;
    return {
      index: pod.index,
      current: isCurrent(member),
      again: isAskedAgain(member),
      ready,
      available: ready && readyMs >= plan.rollout.minReadyMs,
      served: pod.record.served === true,
      leaving: pod.record.leaving === true,
    };
  }

  function isCurrent({ pod }: Member): boolean {
    return plan.pod !== undefined && (pod.record.plan === plan.pod || samePod(pod.record.plan, plan.pod));
  }

  /** It is of the newest version, or need not be. */
  function isAsAsked(member: Member): boolean {
    return isCurrent(member) || (mayBeOlder(plan.rollout, member.pod.index) && !isAskedAgain(member));
  }

  /** Somebody has asked for another start since it began. */
  function isAskedAgain({ pod }: Member): boolean {
    return plan.pod !== undefined && pod.record.plan.restart !== plan.pod.restart;
  }

  function progress(): void {
    if (waitingSince !== undefined) waitingSince = performance.now();
  }

  /** Looks again when time alone changes something: a pod has been ready long enough, nothing has come for too long. */
  function wakeAgain(now: number): void {
    clearTimeout(alarm);
    const { minReadyMs, progressMs } = plan.rollout;
    const times = [...pods.values()].flatMap(({ readySince }) =>
      readySince !== undefined && readySince + minReadyMs > now ? [readySince + minReadyMs] : [],
    );
    if (pauseUntil > now) times.push(pauseUntil);
    if (plan.run?.deadlineMs !== undefined && run !== undefined && run.ended === undefined)
      times.push(now + Math.max(0, run.startedAt + plan.run.deadlineMs - Date.now()));
    if (plan.run === undefined && waitingSince !== undefined && waitingSince + progressMs > now)
      times.push(waitingSince + progressMs);
    if (times.length === 0) return;
    const look = () => {
      step();
      tell();
    };
    alarm = setTimeout(look, Math.min(...times) - performance.now() + 1).unref();
  }

  async function seen(): Promise<WorkloadSeen> {
    const { log: logOf, ...health } = summary();
    const now = {
      owner,
      specHash: workloadHash(plan),
      ...health,
      ...(endOfRun() && { ended: endOfRun()!.how }),
      serving: staying().some(({ pod }) => pod.health().ready),
      ports: ports(),
      ips: ips(),
      pods: named(),
      leaving: [...pods.values()].filter(({ release }) => release).map(({ pod }) => pod.record.uid),
    };
    const disks = Object.assign({}, ...staying().map(({ pod }) => pod.record.disks));
    // Nothing of an earlier life: what a process said before its cause was mended would mislead.
    return {
      ...now,
      log: await log(logOf),
      ...(Object.keys(disks).length > 0 && { disks }),
    };
  }

  /** Not that of something else which ran before. */
  function endOfRun(): RunRecord['ended'] {
    return run?.of === workloadHash(plan) ? run.ended : undefined;
  }

  function staying(): Member[] {
    return [...pods.values()]
      .filter(({ pod }) => !pod.record.leaving)
      .sort((a, b) => a.pod.index - b.pod.index);
  }

  /** Those that are ready; while none is, those that will be. */
  function answering(): Member[] {
    const ready = staying().filter(({ pod }) => pod.health().ready);
    return ready.length > 0 ? ready : staying();
  }

  function ports(): WorkloadSeen['ports'] {
    const ports: Record<number, { host: string; port: number }[]> = {};
    for (const { containerPorts } of plan.pod?.containers ?? [])
      for (const port of containerPorts) ports[port] = [];
    for (const { pod } of answering()) {
      for (const [port, chosen] of Object.entries(pod.record.ports)) {
        ports[Number(port)] ??= [];
        ports[Number(port)]!.push({ host: pod.record.ip ?? '127.0.0.1', port: chosen });
      }
    }
    return ports;
  }

  function ips(): readonly string[] {
    return answering().flatMap(({ pod }) => pod.record.ip ?? []);
  }

  function named(): NonNullable<WorkloadSeen['pods']> {
    return staying().flatMap(({ pod: { record } }) =>
      record.ip === undefined ? [] : [{ name: record.name, ip: record.ip }],
    );
  }

  type Summary = Health & { readonly restarts: number; readonly log?: string };

  function summary(): Summary {
    const all = staying();
    const current = all.filter(isAsAsked);
    const restarts = current.reduce((sum, { pod }) => sum + restartsOf(pod), 0);
    const ended = endOfRun();
    if (ended !== undefined) {
      const { how, reason, message } = ended;
      return { ready: how === 'succeeded', reason, message, restarts };
    }
    const found = shortcoming(current, all.length - current.length);
    if (found === undefined) {
      waitingSince = undefined;
      if (plan.replicas === 0)
        return { ready: true, reason: 'ScaledToZero', message: 'it has no replicas', restarts };
      if (plan.run !== undefined) return { ready: true, reason: 'Running', message: 'it runs', restarts };
      const { message, ...health } = current[0]!.pod.health();
      const before = current.filter(member => !isCurrent(member)).length;
      const stay =
        before > 0 ? `; ${before} of ${current.length} pods stay of the version before, as it says` : '';
      return { ...health, message: `${message}${stay}`, restarts };
    }
    const older = all.some(member => !current.includes(member) && member.pod.health().ready);
    const goesOn = older ? '; the version before goes on serving' : '';
    const { progressMs } = plan.rollout;
    const late = waitingSince !== undefined && performance.now() - waitingSince >= progressMs;
    const message = late ? `no progress for ${progressMs / 1000} s: ${found.message}` : found.message;
    return {
      ...found,
      ready: false,
      ...(late && plan.problem === undefined && { reason: 'ProgressDeadlineExceeded' }),
      message: `${message}${goesOn}`,
      restarts,
    };
  }

  /** Why it is not yet as asked for. */
  function shortcoming(current: readonly Member[], old: number): (Health & { log?: string }) | undefined {
    if (plan.problem !== undefined) return { ready: false, ...plan.problem };
    for (const { pod } of current) {
      if (plan.run !== undefined && pod.end() !== undefined) continue;
      const culprit = pod.culprit();
      const health = pod.health();
      if (!health.ready) return { ...health, ...(culprit !== undefined && { log: culprit }) };
    }
    const missing = plan.run === undefined ? plan.replicas - current.length : 0;
    if (missing > 0 || old > 0)
      return {
        ready: false,
        reason: 'Starting',
        message: 'replaced by a changed specification, one pod after the other',
      };
    if (current.some(member => !stateOf(member, performance.now()).available))
      return { ready: false, reason: 'Starting', message: 'ready, but not yet for minReadySeconds' };
    return undefined;
  }

  /** Last lines of what says most about the state, or of all containers. */
  async function log(of: string | undefined): Promise<string[]> {
    const all = sources().filter(({ file, step }) => (of === undefined ? !step : file === of));
    const each = Math.ceil(LINES_IN_STATUS / all.length);
    const found = all.map(async ({ file, container, pod, start = 0, before, behind }) => {
      let lines = await tail(file, each, { from: start });
      // While it is told how the last life ended, and the next one has said nothing yet, what that one said belongs to it.
      if (lines.length === 0 && behind) lines = await tail(file, each, { from: before, to: start });
      return all.length === 1 ? lines : lines.map(line => `[${pod} ${container}] ${line}`);
    });
    return (await Promise.all(found)).flat();
  }

  /** Steps first, which come first; one of several pods is one. */
  function sources(): (LogSource & { readonly behind: boolean; readonly step?: true })[] {
    const sorted = [...pods.values()].sort((a, b) => a.pod.index - b.pod.index);
    const steps = sorted.flatMap(({ pod: { record } }) =>
      record.plan.containers.flatMap(({ code }) =>
        (code === undefined ? [] : house.preparing.logs(code)).map(({ step, ...log }) => ({
          ...{ ...log, pod: record.name, container: step, behind: false, step: true as const },
        })),
      ),
    );
    const own = sorted.flatMap(({ pod: { index, record, isBehind } }) =>
      record.plan.containers.map(({ name }) => ({
        behind: isBehind(name),
        ...{ pod: record.name, container: name, file: logFile(index, name) },
        ...{ start: record.containers[name]?.logStart, before: record.containers[name]?.logBefore },
      })),
    );
    return [...new Map(steps.map(step => [step.file, step])).values(), ...own];
  }

  async function stop(): Promise<void> {
    wanted = false;
    house.code.follow(id, []);
    clearTimeout(alarm);
    await trySave(); // first, so that a daemon that finds us half stopped starts nothing again
    const all = [...pods.values()];
    for (const { release } of all) clearTimeout(release);
    await Promise.all(
      all.map(async ({ pod, ending }) => {
        await (ending ?? pod.stop());
        await removeVolumes(podFolder(pod.index));
      }),
    );
    await trySave();
  }

  /** That of the oldest pod that can be entered. */
  async function inside(container: string | undefined): Promise<Surroundings | { readonly why: string }> {
    let why = 'it has no pod at the moment';
    for (const { pod } of [...pods.values()].sort((a, b) => a.pod.index - b.pod.index)) {
      const there = await pod.inside(container);
      if (!('why' in there)) return there;
      why = there.why;
    }
    return { why };
  }

  function logs(query: LogQuery, signal: AbortSignal): AsyncIterable<LogLine> {
    return logLines(sources, onPods.add, query, signal);
  }

  function podFolder(index: number): string {
    return join(folder, `${POD}${index}`);
  }

  function logFile(index: number, container: string): string {
    return join(folder, `${pathName(container)}.${index}.log`);
  }

  function state(): Omit<WorkloadState, 'version'> {
    const records = Object.fromEntries([...pods].map(([index, { pod }]) => [index, pod.record]));
    return { owner, wanted, plan, ...(run && { run }), pods: records };
  }

  /** For when processes come first: a full disk must not keep them from ending, nor others from being taken over. */
  async function trySave(): Promise<void> {
    await save().catch(err => house.log.warn({ id, err }, 'cannot write the state of a workload'));
  }

  function tell(): void {
    const leaving = [...pods.values()].map(({ release }) => release !== undefined);
    const { log, ...health } = summary();
    const now = JSON.stringify([health, ports(), ips(), named(), leaving]);
    if (now === lastTold) return;
    lastTold = now;
    house.changed(id);
  }
}

/** Names of parts: where those of all workloads begin, those of one workload, and those of one pod of it. */
export const ALL_WORKLOADS = 'workload';
export const workloadPart = (id: string): string => `${ALL_WORKLOADS}/${pathName(id)}`;
export const podPart = (id: string, index: number): string => `${workloadPart(id)}/${index}`;

export const isPodFolder = (name: string): boolean => name.startsWith(POD);

// --- internal -----------------------------------------------------------------------------------

type Member = {
  readonly pod: Pod;
  /** Milliseconds, of this daemon's clock. */
  readySince?: number;
  /** It waits until nobody is led to it; then it ends, at the latest when this timer is over. */
  release?: NodeJS.Timeout;
  ending?: Promise<void>;
};

const nothing: WorkloadPlan = {
  name: '',
  namespace: '',
  replicas: 0,
  rollout: rolloutOf({ kind: '', spec: {} }),
  hosts: [],
};

/** Folders of pods begin with this; logs, which outlive them, are beside. */
const POD = 'pod.';
const LINES_IN_STATUS = 20;
/** Of a container. */
export const MAX_LOG_BYTES = 5 * 1024 * 1024;
/** After a pod could not be ended. */
const END_AGAIN_MS = 1_000;
/** Longer than proxies need to learn of it, and the loop to ask them. */
const RELEASE_MS = 15_000;
/** For what is in flight to a pod that nobody is led to any more; tunnels may be open for ever. */
const IDLE_MS = 5_000;
const LOOK_EVERY_MS = 10;

async function untilIdle(pod: Pod): Promise<void> {
  const end = performance.now() + IDLE_MS;
  while (performance.now() < end && (await pod.isConnected())) await delay(LOOK_EVERY_MS);
}

const restartsOf = ({ record }: Pod): number =>
  Object.values(record.containers).reduce((sum, { restarts }) => sum + restarts, 0);

/**
 * In place, because processes see the file through a mount of exactly this inode: new names reach them at
 * once. Never cut to nothing first, because somebody may be reading it.
 */
function writeHosts(
  path: string,
  { name, ip = '127.0.0.1' }: PodRecord,
  { hostname, hosts }: WorkloadPlan,
): void {
  const own = [{ ip, names: hostname === undefined ? [name] : [hostname, name] }, ...hosts];
  const lines = own.map(({ ip, names }) => `${ip} ${names.join(' ')}\n`).join('');
  const text = Buffer.from(`${readFileSync('/etc/hosts', 'utf8').trimEnd()}\n${lines}`);
  const file = openSync(path, constants.O_WRONLY | constants.O_CREAT, 0o644);
  try {
    writeSync(file, text, 0, text.length, 0);
    ftruncateSync(file, text.length);
  } finally {
    closeSync(file);
  }
}
