/**
 * One pod of a workload: init containers and sidecars in order, then the others together; what has run through does not
 * run again, whoever dies. Its plan is what it was started by; another plan is another pod.
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Entrance } from '../../lib/held.ts';
import { Listeners } from '../../lib/listeners.ts';
import { tcpEndsByProc } from '../../lib/tcp-ends.ts';
import { turn } from '../../lib/turns.ts';
import { backoffMs, delay, orAborted } from '../../lib/wait.ts';
import { podUid } from '../../model/container-env.ts';
import type { Surroundings } from '../../model/surroundings.ts';
import { pathName } from '../labels.ts';
import type { Networks, PodNetwork } from '../network/contract.ts';
import type { CodePlan } from './code.ts';
import { reasonsOf } from './code-inputs.ts';
import { type Container, keepContainer, restartPause, starting } from './container.ts';
import type { ContainerPlan } from './container-plan.ts';
import type { Health } from './health.ts';
import type { House } from './house.ts';
import type { Place } from './launch.ts';
import { localOnly, localOnlyWarning } from './listeners.ts';
import type { PodPlan, Problem } from './plan.ts';
import { fillIn, type Known } from './stand-in.ts';
import { StartProblem } from './start-problem.ts';
import type { PodRecord } from './state-file.ts';
import type { VolumePlan } from './volume-plan.ts';
import { type DisksOfPod, makeVolumes, placeOf as placeOfVolume } from './volumes.ts';

export type Pod = {
  readonly index: number;
  readonly record: PodRecord;
  readonly hostsFile: string;
  health(): Health;
  /** The log that says why it is not ready. */
  culprit(): string | undefined;
  /** What `health` says of this container is of the life before the one that it has. */
  isBehind(container: string): boolean;
  /** Where a container runs, default: the first. @returns or why nobody can enter there */
  inside(container: string | undefined): Promise<Surroundings | { readonly why: string }>;
  /** How it has ended, when all that was to run in it has run to its end. */
  end(): 'succeeded' | 'failed' | undefined;
  /** Ends pauses after failures; what was seen of those is forgotten. */
  tryNow(): void;
  /** Whether somebody is connected to one of its ports. Linux only; elsewhere nobody is seen. */
  isConnected(): Promise<boolean>;
  /** Returns when no process is left. */
  stop(): Promise<void>;
};

export type PodKeeper = {
  readonly house: House;
  readonly part: string;
  /** Of this pod alone. */
  readonly folder: string;
  readonly disks: DisksOfPod;
  /** Default: the pod's name. */
  readonly hostname: string | undefined;
  /** Ports of an earlier life that it gets again when nobody has them. */
  readonly lastPorts: Readonly<Record<number, number>>;
  logFile(container: string): string;
  /** Resolves when the record is on disk as it is now. Rejects with the system's error. */
  save(): Promise<void>;
  changed(): void;
};

export function newPodRecord(plan: PodPlan, namespace: string, name: string): PodRecord {
  return {
    plan,
    name,
    uid: podUid(namespace, `${name} ${Date.now()} ${Math.random()}`),
    ports: {},
    containers: {},
  };
}

/** @param record of a pod of an earlier daemon, or a new one; changed as the pod lives */
export function keepPod(index: number, record: PodRecord, keeper: PodKeeper): Pod {
  const { house, part, folder } = keeper;
  const hostname = hostNameOf(keeper.hostname ?? record.name);
  const containers = new Map<string, Container>();
  const hostsFile = join(folder, 'hosts');
  const networks = record.plan.hostNetwork ? undefined : house.networks;
  let network: PodNetwork | undefined;
  let spaces = record.plan.hostPID ? undefined : house.spaces;
  let looked = 0; // when, of this daemon's clock in milliseconds
  const volumesFolder = join(folder, 'volumes');
  const stopped = new AbortController();
  let problem: Health | undefined;
  /** While the folders of its containers are made ready, or cannot be. */
  let unprepared: { readonly health: Health; readonly code: CodePlan } | undefined;
  const again = new Listeners<void>();
  let stopping = false;
  let end: 'succeeded' | 'failed' | undefined;

  mkdirSync(folder, { recursive: true, mode: 0o700 });
  if (networks === undefined) for (const port of Object.values(record.ports)) house.ports.keep(port);
  else record.ip = addressOf(networks, part);
  const life = Promise.resolve()
    .then(live)
    .catch(err => {
      if (!stopping) house.log.error({ part, err }, 'cannot keep a pod');
    });

  const isBehind = (name: string) => containers.get(name)?.isBehind() === true;
  return {
    index,
    record,
    hostsFile,
    health,
    culprit,
    isBehind,
    inside,
    end: () => end,
    tryNow,
    isConnected,
    stop,
  };

  async function inside(wanted: string | undefined): Promise<Surroundings | { readonly why: string }> {
    const [first] = record.plan.containers.filter(({ role }) => role === 'main');
    const container = wanted ?? first?.name ?? '';
    const names = record.plan.containers.map(({ name }) => name);
    if (!names.includes(container))
      return { why: `it has no container "${container}"; there are: ${names.join(', ')}` };
    const there = await containers.get(container)?.inside();
    if (there === undefined) return { why: `its container "${container}" has not been started yet` };
    return 'why' in there ? there : { pod: record.name, container, ...there };
  }

  async function live(): Promise<void> {
    const { containers: plans, restartPolicy } = record.plan;
    const prepared = prepareCode();
    prepared.catch(() => {}); // it is waited for below
    await makeOwnVolumes();
    await turn(); // the kernel makes a network while we wait
    await enterNetwork();
    await settleSpace();
    await choosePorts(plans.flatMap(plan => plan.containerPorts).filter(port => !(port in record.ports)));
    await prepared;
    for (const { name, role } of plans) {
      if (role === 'main') continue;
      const container = begin(name);
      if (record.initialised) continue;
      if (role === 'sidecar') await container.started;
      else if ((await container.done) === 'failed') return await ended('failed');
    }
    if (stopping) return;
    record.initialised = true;
    const mains = plans.filter(({ role }) => role === 'main').map(({ name }) => begin(name));
    keeper.changed();
    if (restartPolicy === 'Always') return;
    const ends = await Promise.all(mains.map(container => container.done));
    await ended(ends.includes('failed') ? 'failed' : 'succeeded');
  }

  /** What runs already is left alone. */
  async function prepareCode(): Promise<void> {
    if (record.initialised || house.processes.list(part).length > 0) return;
    for (const { code } of record.plan.containers) {
      if (code === undefined || code.steps.length === 0) continue;
      const prepare = (since: number) =>
        house.preparing.prepare(code, since, now => notPrepared(code, now), stopped.signal);
      const since = Date.now();
      await prepare(since).catch(error => mended(code, since, prepare, error));
    }
    unprepared = undefined;
  }

  /** What has failed is tried again when the folder has changed, when it went well for others, or when somebody asks. */
  async function mended(
    code: CodePlan,
    asked: number,
    prepare: (since: number) => Promise<void>,
    first: unknown,
  ): Promise<void> {
    const look = house.code.look(code);
    let since = asked;
    let error = first;
    let news = Promise.withResolvers<void>();
    const tell = () => news.resolve();
    const stops = [
      look.onChange(tell),
      house.preparing.onDone(folder => folder === code.folder && tell()),
      again.add(() => {
        since = Date.now();
        tell();
      }),
    ];
    void look.ready.then(tell); // what has changed until then was not seen
    try {
      for (;;) {
        if (!(error instanceof StartProblem) && !stopping)
          house.log.error({ part, err: error }, 'cannot make a folder ready');
        notPrepared(code, error instanceof StartProblem ? error.problem : notKnown(error));
        await orAborted(news.promise, stopped.signal);
        news = Promise.withResolvers<void>();
        try {
          await prepare(since);
          return;
        } catch (thrown) {
          stopped.signal.throwIfAborted();
          error = thrown;
        }
      }
    } finally {
      for (const stop of stops) stop();
      look.close();
    }
  }

  function notPrepared(code: CodePlan, now: Problem): void {
    unprepared = { health: { ready: false, ...now }, code };
    keeper.changed();
  }

  /** What runs elsewhere than it is to, of an earlier daemon, cannot be led there. */
  async function enterNetwork(): Promise<void> {
    if (networks !== undefined) network = await ensureNetwork(networks);
    const livesThere = network === undefined ? record.ip === undefined : !network.isNew;
    if (livesThere) return;
    await Promise.all(house.parts.list(part).map(house.parts.kill));
    record.ports = {};
    delete record.localOnly;
    if (network === undefined) delete record.ip;
    else record.ip = network.ip;
  }

  /**
   * What an earlier daemon has started among the machine's processes stays there, and so does what comes to it. Where
   * nothing of it runs any more, what that has left behind goes.
   */
  async function settleSpace(): Promise<void> {
    const parts = record.plan.containers.map(({ name }) => containerPart(part, name));
    const isRunning = parts.some(one => house.parts.find(one) !== undefined);
    if (!isRunning) await spaces?.end(part);
    else if (spaces?.has(part) === false) spaces = undefined;
  }

  async function enter(): Promise<Entrance | undefined> {
    return spaces === undefined ? network : await spaces.enter(part, network);
  }

  async function ensureNetwork(from: Networks): Promise<PodNetwork> {
    const members = house.parts.list(part).flatMap(one => house.parts.find(one)?.leader.pid ?? []);
    for (let attempt = 0; ; attempt++) {
      try {
        const found = await from.ensure(part, { members, reached: record.localOnly?.v4 ?? [] });
        problem = undefined;
        return found;
      } catch (err) {
        house.log.warn({ part, err }, 'a pod gets no network');
        problem = { ready: false, reason: 'NetworkFailed', message: `no network: ${(err as Error).message}` };
        keeper.changed();
        await delay(backoffMs(attempt, ...NETWORK_PAUSES), stopped.signal);
      }
    }
  }

  /** What this machine lacks may be there later. */
  async function makeOwnVolumes(): Promise<void> {
    if (record.plan.volumes.length === 0) return;
    for (let pauseMs: number | undefined; ; ) {
      try {
        record.disks = await makeVolumes(volumes(), volumesFolder, keeper.disks);
        problem = undefined;
        return;
      } catch (error) {
        const why = error instanceof StartProblem ? error.problem : undefined;
        const message = `its volumes cannot be made: ${(error as Error).message}`;
        problem = { ready: false, ...(why ?? { reason: 'VolumeFailed', message }) };
        if (why === undefined) house.log.warn({ part, err: error }, 'cannot make volumes');
        keeper.changed();
        pauseMs = restartPause(pauseMs, 0);
        await delay(pauseMs, stopped.signal);
      }
    }
  }

  /** Not all the time: a program that starts is asked often. */
  async function unreached(leader: number): Promise<boolean> {
    if (network === undefined || performance.now() - looked < LOOK_EVERY_MS) return false;
    return await lookAtListeners(leader);
  }

  async function lookAtListeners(leader: number): Promise<boolean> {
    if (network === undefined) return false;
    looked = performance.now();
    const before = record.localOnly ?? { v4: [], v6: [] };
    const ends = await network.ends('listening', leader);
    const found = localOnly(ends, Object.keys(record.ports).map(Number));
    if (JSON.stringify(found) === JSON.stringify(before) || stopping) return false;
    try {
      network.reach(found.v4);
      record.localOnly = found;
      await keeper.save();
    } catch (err) {
      house.log.warn({ part, err }, 'how a pod listens cannot be noted');
    }
    keeper.changed();
    return true;
  }

  function volumes(): readonly VolumePlan[] {
    return fillIn(record.plan.volumes, knownOf(index, record));
  }

  function begin(name: string): Container {
    if (stopping) throw new Error('it is stopped');
    record.containers[name] ??= { restarts: 0 };
    let lives = 0;
    const container = keepContainer(record.containers[name], {
      place: placeOf(name),
      house,
      restartPolicy: record.plan.restartPolicy,
      graceMs: record.plan.graceMs,
      current: () => ({ plan: filledIn(name), ports: record.ports }),
      async prepare() {
        // Somebody may have taken its ports while it was down.
        if (lives++ > 0) await choosePorts(ownPorts(name));
        record.containers[name]!.startedAt = Date.now();
        return { plan: filledIn(name), ports: record.ports };
      },
      unreached,
      listens: async leader => void (await lookAtListeners(leader)),
      save: keeper.save,
      changed: keeper.changed,
    });
    containers.set(name, container);
    return container;
  }

  async function ended(how: 'succeeded' | 'failed'): Promise<void> {
    await stopSidecars(record.plan.graceMs);
    await spaces?.end(part);
    end = how;
    keeper.changed();
  }

  async function choosePorts(ports: readonly number[]): Promise<void> {
    if (network !== undefined) {
      for (const port of ports) record.ports[port] = port;
      return;
    }
    const before = { ...record.ports };
    for (const port of new Set(ports))
      record.ports[port] = await house.ports.choose(before[port] ?? keeper.lastPorts[port]);
    const now = Object.values(record.ports);
    for (const port of Object.values(before)) if (!now.includes(port)) house.ports.release(port);
  }

  /** A pod has each port once: it is the container's that names it first. */
  function ownPorts(name: string): readonly number[] {
    const owner = (port: number) => record.plan.containers.find(plan => plan.containerPorts.includes(port));
    return planOf(name).containerPorts.filter(port => owner(port)?.name === name);
  }

  function planOf(name: string): ContainerPlan {
    return record.plan.containers.find(plan => plan.name === name)!;
  }

  function filledIn(name: string): ContainerPlan {
    return fillIn(planOf(name), { ...record.ports, ...knownOf(index, record) });
  }

  function placeOf(name: string): Place {
    return {
      part: containerPart(part, name),
      logFile: keeper.logFile(name),
      hostsFile,
      ...(!record.plan.hostNetwork && { hostname }),
      ...(network && { network }),
      ownProcesses: spaces !== undefined,
      hostPID: record.plan.hostPID === true,
      enter,
      volume: volume =>
        placeOfVolume(volumes().find(one => one.name === volume)!, volumesFolder, keeper.disks),
      viewFolder: join(folder, 'view', pathName(name)),
      exitFile: join(folder, `${pathName(name)}.exit`),
    };
  }

  function health(): Health {
    if (problem !== undefined) return problem;
    if (unprepared !== undefined) return unprepared.health;
    const inits = record.plan.containers.filter(({ role }) => role === 'init').length;
    let ran = 0;
    for (const { name, role } of record.plan.containers) {
      const { ready, reason, message } = healthOf(name);
      if (role === 'init') {
        ran++;
        if (record.containers[name]?.done === 'succeeded' || record.initialised) continue;
        if (reason === starting.reason || reason === 'Completed')
          return {
            ready,
            reason: 'PodInitializing',
            message: `init container "${name}" runs (${ran} of ${inits})`,
          };
        return {
          ready,
          reason: `Init:${reason}`,
          message: message.replace(/^container /, 'init container '),
        };
      }
      if (!ready) return { ready, reason, message: warned(message) };
    }
    return { ready: true, reason: 'Running', message: warned('ready') };
  }

  function warned(message: string): string {
    const troubles = record.plan.containers.map(({ code }) => code && house.code.trouble(code));
    const warnings = [record.localOnly && localOnlyWarning(record.localOnly), engineWarning(), ...troubles];
    return [message, ...new Set(warnings.filter(one => one !== undefined))].join('; ');
  }

  /** What runs goes on without it. */
  function engineWarning(): string | undefined {
    const away = house.engine.away();
    if (away === undefined || record.plan.containers.every(({ image }) => image === undefined))
      return undefined;
    return `its container engine is away: ${away}`;
  }

  function healthOf(name: string): Health {
    const health = containers.get(name)?.health() ?? starting;
    if (!health.ready || house.parts.find(containerPart(part, name)) !== undefined) return health;
    return { ready: false, reason: 'CrashLoopBackOff', message: 'it has just ended' };
  }

  function culprit(): string | undefined {
    if (unprepared !== undefined) {
      const { code, health } = unprepared;
      return house.preparing.logs(code).find(({ step }) => reasonsOf[step].includes(health.reason))?.file;
    }
    const container = record.plan.containers.find(
      ({ name, role }) => !(role === 'init' && record.containers[name]?.done) && !healthOf(name).ready,
    );
    return container && keeper.logFile(container.name);
  }

  function tryNow(): void {
    again.tell();
    for (const container of containers.values()) container.tryNow();
  }

  async function isConnected(): Promise<boolean> {
    const [pid] = house.parts.list(part).flatMap(one => house.parts.find(one)?.leader.pid ?? []);
    const ports = Object.values(record.ports);
    if (pid === undefined || ports.length === 0) return false;
    const ends = await (network?.ends('connected', pid) ?? tcpEndsByProc(pid, 'connected'));
    return ends.some(({ port }) => ports.includes(port));
  }

  async function stop(): Promise<void> {
    stopping = true;
    stopped.abort(new Error('it is stopped'));
    const { graceMs, containers: plans } = record.plan;
    const until = performance.now() + graceMs;
    const others = plans.filter(({ role }) => role !== 'sidecar');
    await Promise.all(others.map(({ name }) => containers.get(name)?.stop(graceMs)));
    await stopSidecars(Math.max(Math.min(graceMs, SIDECAR_MS), until - performance.now()));
    await life;
    // What began in the meantime, or what nobody keeps.
    await Promise.all([...containers.values()].map(container => container.stop(0)));
    await Promise.all(house.parts.list(part).map(house.parts.kill));
    await spaces?.end(part);
    if (networks === undefined) for (const port of Object.values(record.ports)) house.ports.release(port);
    networks?.remove(part);
  }

  /** After the others, and backwards, because those before may be needed by those behind. */
  async function stopSidecars(graceMs: number): Promise<void> {
    const sidecars = record.plan.containers.filter(({ role }) => role === 'sidecar');
    for (const { name } of sidecars.reverse()) await containers.get(name)?.stop(graceMs);
  }
}

/** Name of the part that a container is. @param part of its pod */
export const containerPart = (part: string, container: string): string => `${part}/${pathName(container)}`;

// --- internal -----------------------------------------------------------------------------------

const notKnown = (error: unknown): Problem => ({
  reason: 'ConfigError',
  message: `its folder cannot be made ready: ${(error as Error).message}`,
});

/** What is left for each sidecar when the other containers have taken all of the grace. */
const SIDECAR_MS = 2_000;

/** At once, for its /etc/hosts. @returns undefined when there is none left, which is told when it is to be used */
function addressOf(networks: Networks, part: string): string | undefined {
  try {
    return networks.address(part);
  } catch {
    return undefined;
  }
}

/** Milliseconds. */
const NETWORK_PAUSES = [100, 5_000] as const;
const LOOK_EVERY_MS = 25;

/** As the kubelet cuts it (RFC 1123: a label has at most 63 characters). */
const hostNameOf = (name: string): string => name.slice(0, 63).replace(/[-.]+$/, '');

const knownOf = (index: number, { name, uid, ip = '127.0.0.1' }: PodRecord): Known => ({
  name,
  uid,
  ip,
  index: String(index),
});
