/**
 * All containers that we start. Each is on record before its program runs, and known by the record: that its program
 * lives is seen without the engine, which may go and come back under it.
 */
import { join } from 'node:path';
import { ExecError } from '../../lib/exec.ts';
import type { Log } from '../../lib/log.ts';
import { logSize } from '../../lib/log-file.ts';
import { identify, isAlive, type ProcessId, signal as sendSignal } from '../../lib/process.ts';
import { DeadlineError, delay, orAborted, until } from '../../lib/wait.ts';
import type { Capability } from '../contract.ts';
import { partKey } from '../labels.ts';
import type { Exit, Running, Stage } from '../processes/contract.ts';
import { type ContainerState, type EngineApi, EngineRefusal, isAway } from './api.ts';
import { type ContainerWish, type Engine, EngineProblem, type News } from './contract.ts';
import { createBody, instanceLabel } from './create-body.ts';
import { hasDoors, openDoor } from './door.ts';
import { pulls } from './image-pull.ts';
import { copyLog, type LogCopy } from './log-copy.ts';
import { openPresence, type There } from './presence.ts';
import { type ContainerRecord, readRecords, removeRecord, writeRecord } from './record.ts';

export type EngineOptions = {
  /** The data directory; ours is `containers` in it. */
  readonly home: string;
  /** Differs between data directories, is the same for all daemons on one. */
  readonly instance: string;
  /** Where to look for one; the first that answers counts. `why`: there is to be none. */
  readonly sockets: readonly string[] | { readonly why: string };
  readonly log: Log;
};

/** Opens the registry, and takes over the containers that an earlier daemon has left. */
export async function openEngine({ home, instance, sockets, log }: EngineOptions): Promise<Engine> {
  const folder = join(home, 'containers');
  const parts = new Map<string, Part>();
  let ticking: NodeJS.Timeout | undefined;
  let left = false;
  const warn = (part: string) => (err: unknown) => log.warn({ part, err }, 'trouble with a container');

  for (const record of readRecords(folder))
    if (record.unwanted) void (record.leader && sendSignal(record.leader, 'SIGKILL'));
    else adopt(record);
  const presence = await openPresence({
    ...{ sockets, file: join(home, 'engine.json'), log, arrived },
    hasDoors: api => hasDoors(api, instance),
  });
  const pull = pulls();

  return {
    current: presence.current,
    last: presence.last,
    away: presence.away,
    whenThere: presence.whenThere,
    looked: presence.looked,
    onChange: presence.onChange,
    find,
    list: name => [...parts.keys()].filter(part => part === name || part.startsWith(`${name}/`)),
    start,
    exec,
    end,
    kill,

    async endOf(part, signal) {
      const known = parts.get(part);
      const exit = known && (await orAborted(known.ended.promise, signal));
      return known?.neverRan ? undefined : exit;
    },

    capabilities: () => capabilitiesOf(presence),

    leave() {
      left = true;
      presence.stop();
      clearTimeout(ticking);
      for (const { copy } of parts.values()) copy?.stop();
    },

    async close() {
      await Promise.all([...parts.keys()].map(kill));
      left = true;
      presence.stop();
      clearTimeout(ticking);
    },
  };

  function find(part: string): Running | undefined {
    const known = parts.get(part);
    const { leader } = known?.record ?? {};
    if (known === undefined || leader === undefined || known.exit !== undefined || !isAlive(leader))
      return undefined;
    return { leader, ended: known.ended.promise };
  }

  async function start(
    part: string,
    wish: ContainerWish,
    signal: AbortSignal,
    tell: (news: News) => void = () => {},
  ): Promise<Running> {
    await kill(part);
    const { api, byDoors } = await thereOrTold(signal, tell);
    await pull(api, wish.image, wish.pull, signal, tell);
    signal.throwIfAborted();
    if (!byDoors || wish.network === undefined) return await startHere(api, part, wish, signal);
    const door = await openDoor(api, instance, wish.network, wish.hostname).catch(error => {
      if (isAway(error)) presence.lookNow();
      throw problemOf('StartFailed', error);
    });
    try {
      return await startHere(api, part, { ...wish, network: door.network }, signal, door.open);
    } finally {
      await door.close().catch(warn(part)); // what is on no record goes when an engine is found
    }
  }

  async function startHere(
    api: EngineApi,
    part: string,
    wish: ContainerWish,
    signal: AbortSignal,
    /** When its network can be entered. */
    open?: Promise<void>,
  ): Promise<Running> {
    const name = `offshoot-${instance.replace(/[^A-Za-z0-9]+/g, '-').slice(-40)}-${partKey(part)}`;
    const body = createBody(instance, part, wish);
    let id: string;
    try {
      id = await api.create(name, body).catch(async error => {
        if (!(error instanceof EngineRefusal) || error.status !== 409) throw error;
        await api.remove(name); // of a daemon that died before it was on record
        return await api.create(name, body);
      });
    } catch (error) {
      throw problemOf('StartFailed', error);
    }
    const limited = wish.limits?.memoryBytes === undefined ? {} : ({ limited: true } as const);
    const known = adopt({ part, id, logFile: wish.logFile, logStart: logSize(wish.logFile), ...limited });
    try {
      save(known);
      signal.throwIfAborted();
      await open;
      await api.start(id);
      await see(known, await api.inspect(id));
    } catch (error) {
      await kill(part);
      if (signal.aborted) throw signal.reason;
      if (isAway(error)) presence.lookNow();
      throw problemOf('StartFailed', error);
    }
    if (signal.aborted) {
      await kill(part);
      throw signal.reason;
    }
    return { leader: known.record.leader!, ended: known.ended.promise };
  }

  async function thereOrTold(signal: AbortSignal, tell: (news: News) => void): Promise<There> {
    const there = presence.current();
    if (there !== undefined) return there;
    tell({ reason: 'EngineUnavailable', message: unavailable() });
    return (await presence.whenThere(signal)) as There;
  }

  function unavailable(): string {
    return `it starts as soon as there is a container engine again: ${presence.away()}`;
  }

  /** What is seen of it the first time: its program, and where its words are. */
  async function see(known: Part, seen: ContainerState | undefined): Promise<void> {
    if (seen === undefined) return over(known, { outOfMemory: false });
    const { Pid } = seen.State;
    const leader = (Pid > 0 ? identify(Pid) : undefined) ?? { pid: Pid, startTime: 'it has ended' };
    const stopSignal = seen.Config?.StopSignal;
    known.record = {
      ...known.record,
      leader,
      ...(seen.LogPath && { logPath: seen.LogPath }),
      ...(isSignal(stopSignal) && { stopSignal }),
    };
    save(known);
    follow(known);
    watchEnd(known);
  }

  function adopt(record: ContainerRecord): Part {
    const ended = Promise.withResolvers<Exit>();
    const known: Part = { record, ended, exit: undefined, copy: undefined, since: performance.now() };
    parts.set(record.part, known);
    if (record.leader !== undefined) {
      follow(known);
      watchEnd(known);
    }
    return known;
  }

  function follow(known: Part): void {
    const { logPath, logFile, logStart, part } = known.record;
    if (logPath === undefined || known.copy !== undefined) return;
    const written = logSize(logFile) - logStart;
    known.copy = copyLog(logPath, logFile, written < 0 ? undefined : written, warn(part));
  }

  /** One timer for all: often while one is young, because what is short is waited for. */
  function watchEnd(known: Part): void {
    known.since = performance.now();
    known.watched = true;
    clearTimeout(ticking);
    tick();
  }

  function tick(): void {
    if (left) return;
    let pauseMs: number | undefined;
    for (const known of parts.values()) {
      if (!known.watched) continue;
      if (isAlive(known.record.leader!)) {
        const young = known.ending || performance.now() - known.since < YOUNG_MS;
        pauseMs = Math.min(pauseMs ?? EVERY_MS, young ? YOUNG_EVERY_MS : EVERY_MS);
      } else {
        known.watched = false;
        void settle(known).catch(warn(known.record.part));
      }
    }
    ticking = pauseMs === undefined ? undefined : setTimeout(tick, pauseMs).unref();
  }

  /** Its program has ended; how, the engine knows a moment later, or when it is back. */
  async function settle(known: Part): Promise<void> {
    const end = performance.now() + SETTLE_MS;
    while (known.exit === undefined && !left) {
      const there = (await presence.whenThere(NEVER)) as There;
      try {
        const seen = await there.api.inspect(known.record.id);
        if (seen === undefined) return await over(known, { outOfMemory: false });
        const { Running: runs, ExitCode: code, OOMKilled, Status } = seen.State;
        if (NEVER_RAN.includes(Status)) {
          known.neverRan = true;
          return await over(known, { outOfMemory: false });
        }
        // Engines miss it at times: conmon on control groups v1. Nobody of ours has killed it.
        const isLikely = code === KILLED && known.record.limited === true && !known.ending;
        if (!runs || performance.now() > end)
          return await over(known, { ...(!runs && { code }), outOfMemory: OOMKilled || isLikely });
      } catch (error) {
        if (isAway(error)) presence.lookNow();
        else warn(known.record.part)(error);
      }
      await delay(SETTLE_EVERY_MS);
    }
  }

  async function over(known: Part, exit: Exit): Promise<void> {
    await known.copy?.drain();
    known.copy?.stop();
    known.exit = exit;
    known.ended.resolve(exit);
  }

  async function exec(
    part: string,
    argv: readonly string[],
    deadlineMs: number,
    signal: AbortSignal,
  ): Promise<string> {
    for (;;) {
      const { api } = (await presence.whenThere(signal)) as There;
      const known = parts.get(part);
      if (known === undefined || find(part) === undefined) throw new ExecError({ argv, errno: 'ESRCH' });
      const began = performance.now();
      try {
        const { exitCode, output } = await api.exec(known.record.id, argv, deadlineMs, signal);
        if (exitCode === 0) return output;
        throw new ExecError({ argv, exitCode, stdout: output });
      } catch (error) {
        signal.throwIfAborted();
        if (error instanceof ExecError) throw error;
        if (error instanceof EngineRefusal) throw new ExecError({ argv, errno: error.message, cause: error });
        if (performance.now() - began >= deadlineMs) throw new ExecError({ argv, timedOut: true });
        presence.lookNow(); // it has gone: that says nothing of the program
        await delay(AGAIN_MS, signal);
      }
    }
  }

  async function end(part: string, stages: readonly Stage[]): Promise<void> {
    const known = parts.get(part);
    const leader = known?.record.leader;
    if (known !== undefined && leader !== undefined && known.exit === undefined) {
      known.ending = true;
      watchSoon();
      for (const [name, deadlineMs] of stages) {
        const own = name === 'SIGTERM' ? (known.record.stopSignal ?? name) : name;
        if (deadlineMs <= 0 || !sendSignal(leader, own)) continue;
        if (await endsWithin(leader, deadlineMs)) break;
      }
    }
    await kill(part);
  }

  function watchSoon(): void {
    clearTimeout(ticking);
    tick();
  }

  async function kill(part: string): Promise<void> {
    const known = parts.get(part);
    if (known === undefined) return;
    known.dying ??= killKnown(known);
    try {
      await known.dying;
    } finally {
      delete known.dying; // it may be tried again
    }
  }

  async function killKnown(known: Part): Promise<void> {
    const { part, id, leader } = known.record;
    known.ending = true;
    if (leader !== undefined && known.exit === undefined) {
      sendSignal(leader, 'SIGKILL');
      if (!(await endsWithin(leader, KILL_MS))) throw new Error(`the container of ${part} does not end`);
      watchSoon();
      // Its last words; not for long, because the engine may be away.
      if (presence.current() !== undefined) await Promise.race([known.ended.promise, delay(LAST_WORDS_MS)]);
    }
    const there = presence.current();
    try {
      if (there === undefined) throw new Error(unavailable());
      await there.api.remove(id);
      removeRecord(folder, part);
    } catch (error) {
      if (there !== undefined && !isAway(error)) throw error;
      if (there !== undefined) presence.lookNow();
      // It does not run any more; the rest goes when the engine is back.
      known.record = { ...known.record, unwanted: true };
      save(known);
      if (leader === undefined) log.warn({ part }, 'a container is removed when the engine is back');
    }
    if (known.exit === undefined) await over(known, { outOfMemory: false });
    if (parts.get(part) === known) parts.delete(part);
  }

  /** Before anybody else can ask it for anything: what is on no record goes, what is not known yet is looked at. */
  async function arrived({ api }: There): Promise<void> {
    const own = new Set([...parts.values()].map(({ record }) => record.id));
    for (const id of await api.list(instanceLabel(instance))) if (!own.has(id)) await api.remove(id);
    for (const { part } of readRecords(folder)) if (!parts.has(part)) removeRecord(folder, part);
    for (const known of parts.values())
      if (known.record.leader === undefined) await see(known, await api.inspect(known.record.id));
  }

  function save({ record }: Part): void {
    writeRecord(folder, record);
  }
}

// --- internal -----------------------------------------------------------------------------------

type Part = {
  record: ContainerRecord;
  readonly ended: PromiseWithResolvers<Exit>;
  /** How it ended, once that is known. */
  exit: Exit | undefined;
  copy: LogCopy | undefined;
  /** Milliseconds, of this daemon's clock. */
  since: number;
  watched?: boolean;
  /** Made, but the daemon died before it was started. */
  neverRan?: boolean;
  ending?: boolean;
  dying?: Promise<void>;
};

const NEVER_RAN: readonly string[] = ['created', 'configured', 'initialized'];
/** 128 and the number of SIGKILL. */
const KILLED = 137;
const NEVER = new AbortController().signal;
const YOUNG_MS = 5_000;
const YOUNG_EVERY_MS = 25;
const EVERY_MS = 250;
/** Until an engine has noticed that a program has ended. */
const SETTLE_MS = 10_000;
const SETTLE_EVERY_MS = 25;
const KILL_MS = 10_000;
const LAST_WORDS_MS = 3_000;
const AGAIN_MS = 250;

async function endsWithin(leader: ProcessId, deadlineMs: number): Promise<boolean> {
  try {
    const look = () => (isAlive(leader) ? undefined : true);
    return await until(look, { what: `process ${leader.pid} ends`, deadlineMs, intervalMs: 10 });
  } catch (error) {
    if (error instanceof DeadlineError) return false;
    throw error;
  }
}

const isSignal = (name: string | undefined): name is NodeJS.Signals =>
  name !== undefined && /^SIG[A-Z0-9]+$/.test(name);

/** An engine's sentence about a program that is not in the image names it. */
function problemOf(reason: string, error: unknown): EngineProblem {
  const { message } = error as Error;
  const isMissing =
    /executable file|no such file or directory: OCI|not found in \$PATH|permission denied: OCI/i;
  return new EngineProblem(isMissing.test(message) ? 'CommandNotFound' : reason, message);
}

function capabilitiesOf(presence: {
  current(): There | undefined;
  away(): string | undefined;
}): readonly Capability[] {
  const there = presence.current();
  const name = 'workload/engine';
  if (there === undefined)
    return [
      {
        name,
        ok: false,
        detail: `images without an entry do not run: no container engine answers, ${presence.away()}`,
      },
    ];
  const shared = there.joinsNetworks
    ? ''
    : '; it cannot put containers into the networks of pods, so those share the network of this machine and must listen at the port that $PORT says';
  return [
    { name, ok: true, detail: `images without an entry run in ${there.title} at ${there.socket}${shared}` },
  ];
}
