/**
 * Sees to it that one proxy listens: takes over the one that an earlier daemon has left, has it replaced when it is of
 * another version, starts one when there is none, and again when it dies.
 */
import type { Log } from '../lib/log.ts';
import type { ProcessId } from '../lib/process.ts';
import { backoffMs, delay, until } from '../lib/wait.ts';
import type { Feed } from './stream/feed.ts';
import type { Command } from './stream/messages.ts';

/** A process, and when it has ended. */
export type Running = { readonly leader: ProcessId; readonly ended: Promise<unknown> };

/** How processes of proxies are started and known. */
export type Runner = {
  /** The one that listened when the daemon before us ended, if it lives. */
  find(): Running | undefined;
  start(): Promise<Running>;
  /** Takes note of a proxy that another one has started. */
  succeed(leader: ProcessId): Promise<Running>;
  /** Kills whatever is left of all of them. */
  kill(): Promise<void>;
};

export type KeeperOptions = {
  readonly feed: Feed;
  readonly runner: Runner;
  /** Starts a successor; see proxy/hand-over.ts. */
  readonly command: Command;
  readonly version: string;
  /** Replaces a proxy of our own version, too. */
  readonly replace: boolean;
  /** A proxy may run that the runner does not know: a successor that nobody had time to take note of. */
  readonly mayBeThere: boolean;
  readonly log: Log;
};

export type Keeper = {
  /** To be called with the feed's `onProxies`. */
  look(): void;
  /** Ends all proxies. */
  stop(graceMs: number): Promise<void>;
  /** Looks after them no longer; they go on. */
  leave(): void;
};

export function keepProxy({ feed, runner, command, version, log, ...o }: KeeperOptions): Keeper {
  const over = new AbortController();
  let current: Running | undefined;
  /** What was asked of it, or by it, is done: it is to be replaced, or has succeeded another. */
  let asked: number | undefined;
  /** Has said that another one listens. */
  let handedOver: number | undefined;

  const watch = async (running: Running): Promise<void> => {
    current = running;
    await running.ended;
    if (current !== running || over.signal.aborted) return;
    if (handedOver === running.leader.pid && (await successorComes())) return;
    log.error({ proxy: running.leader.pid }, 'the proxy has died; another one is started');
    await start();
  };

  /** The one that has ended had told that another one listens; that one may not have said hello yet. */
  const successorComes = async (): Promise<boolean> => {
    const options = { what: 'the successor says hello', deadlineMs: HELLO_MS, signal: over.signal };
    const listening = await until(() => listeningBeside(current!.leader.pid), options).catch(() => undefined);
    if (listening !== undefined) await succeed(listening);
    return listening !== undefined;
  };
  const listeningBeside = (pid: number) =>
    feed.proxies().find(p => p.counts.drainingSince === undefined && p.pid !== pid);

  const start = async (): Promise<void> => {
    for (let attempt = 0; !over.signal.aborted; attempt++) {
      if (attempt > 0 || diesOften()) await delay(backoffMs(attempt, ...PAUSES), over.signal).catch(() => {});
      if (over.signal.aborted) return;
      try {
        const running = await runner.start();
        if (over.signal.aborted) return; // `stop` kills it
        starts.push(performance.now());
        return void watch(running);
      } catch (err) {
        log.error({ err }, 'no proxy can be started');
      }
    }
  };
  const starts: number[] = [];
  const diesOften = () => starts.filter(at => performance.now() - at < OFTEN_MS).length > 2;

  /** One that is there, but never says hello, is of no use. */
  const adopt = async (left: Running): Promise<void> => {
    void watch(left);
    const isHere = () => feed.proxies().some(({ pid }) => pid === left.leader.pid) || undefined;
    await until(isHere, { what: 'the proxy says hello', deadlineMs: HELLO_MS, signal: over.signal }).catch(
      async () => {
        if (current !== left || over.signal.aborted) return;
        log.warn({ proxy: left.leader.pid }, 'the proxy that was left is not heard of');
        await runner.kill();
      },
    );
  };

  const look = (): void => {
    if (over.signal.aborted || current === undefined) return;
    const { pid } = current.leader;
    const mine = feed.proxies().find(p => p.pid === pid);
    if (mine?.counts.drainingSince !== undefined) handedOver = pid;
    const next = handedOver === pid ? listeningBeside(pid) : undefined;
    if (next !== undefined) {
      void succeed(next);
    } else if (mine !== undefined && asked !== pid && mustGo(mine.version)) {
      asked = pid;
      log.info({ proxy: pid, version: mine.version, by: version }, 'the proxy is replaced');
      feed.replace(pid, command);
    }
  };
  let mustReplace = o.replace;
  const mustGo = (theirs: string): boolean => {
    const must = mustReplace || theirs !== version;
    mustReplace = false;
    return must;
  };

  const succeed = async ({ pid, startTime }: ProcessId): Promise<void> => {
    if (current?.leader.pid === pid || asked === pid) return;
    asked = pid;
    void watch(await runner.succeed({ pid, startTime }));
  };

  /** @returns whether somebody was met */
  const meet = async (): Promise<boolean> => {
    const options = { what: 'a proxy says hello', deadlineMs: MEET_MS, signal: over.signal };
    const there = await until(() => listeningBeside(0), options).catch(() => undefined);
    if (there !== undefined) await succeed(there);
    return there !== undefined;
  };

  const begin = async (): Promise<void> => {
    const left = runner.find();
    if (left !== undefined) return adopt(left);
    if (o.mayBeThere && (await meet())) return;
    mustReplace = false;
    await start();
  };
  void begin();

  return {
    look,
    async stop(graceMs) {
      over.abort(new Error('the daemon stops'));
      feed.stop(graceMs);
      const allGone = () => feed.proxies().length === 0 || undefined;
      await until(allGone, { what: 'the proxies end', deadlineMs: graceMs + STOP_MS }).catch(err =>
        log.warn({ err }, 'a proxy does not end by itself'),
      );
      await runner.kill();
    },
    leave: () => over.abort(new Error('the daemon leaves')),
  };
}

// --- internal ---

/** Milliseconds: first and longest pause before another start. */
const PAUSES = [50, 5_000] as const;
/** More than two deaths in this time are one too many to start again without a pause. */
const OFTEN_MS = 10_000;
const HELLO_MS = 3_000;
/** A proxy that runs finds a daemon that comes in a tenth of a second. */
const MEET_MS = 300;
const STOP_MS = 3_000;
