/**
 * A proxy's end of the stream: brings the route book up to date whenever there is a daemon, tells it what it wants to
 * know, and asks it what the book does not say.
 */
import type { Socket } from 'node:net';
import { readJsonLines, writeJsonLine } from '../../lib/json-lines.ts';
import type { Log } from '../../lib/log.ts';
import { whenSilent } from '../../lib/silence.ts';
import { isErrorCode, OffshootError } from '../../model/errors.ts';
import type { BranchRoute, DestinationKey, Endpoint, Found, RouteChange } from '../../model/route.ts';
import type { Entry } from '../../model/visit.ts';
import type { Book } from '../book.ts';
import type { ListenerState } from '../listeners.ts';
import type { Uses } from '../uses.ts';
import {
  type Command,
  type Counts,
  type FromDaemon,
  type FromProxy,
  fromWire,
  maxLine,
  type Place,
  type ProxyIdentity,
  protocols,
} from './messages.ts';
import type { Way } from './way.ts';

export type FollowerOptions = {
  readonly way: Way;
  readonly proxy: ProxyIdentity;
  readonly book: Book;
  /** Resolves when what the book has now would survive the end of this process. */
  readonly kept: () => Promise<void>;
  /** Told to the daemon: a branch that has a client is not put to sleep. Absent: nothing is told. */
  readonly uses?: Uses | undefined;
  readonly onReplace: (command: Command) => void;
  readonly onStop: (graceMs: number) => void;
  readonly log: Log;
};

export type Follower = {
  /**
   * Resolves as soon as it is clear whether there is a daemon to hear of: `told` when the book is up to date,
   * `undecided` when the daemon does not know itself yet, `absent` when none answers.
   */
  readonly first: Promise<'told' | 'undecided' | 'absent'>;
  /** Resolves when the book is up to date for the first time. */
  readonly told: Promise<void>;
  /** @throws OffshootError gateway/no-control-plane at once when there is no daemon; what the daemon says */
  ask(
    branch: string,
    signal: AbortSignal,
    quiet?: boolean,
  ): Promise<BranchRoute & { readonly endpoint: Endpoint }>;
  /** Lets the daemon note a visit. @throws OffshootError preview/no-entry at once when there is no daemon; what it says */
  enter(entry: Entry, signal: AbortSignal): Promise<void>;
  /** Told now, and to every daemon to come. */
  tellListeners(states: readonly ListenerState[]): void;
  tellCounts(counts: Counts): void;
  tellFound(found: ReadonlyMap<DestinationKey, Found>): void;
  tellReplaceFailed(why: string): void;
  close(): void;
};

export function follow({ book, log, ...o }: FollowerOptions): Follower {
  const first = Promise.withResolvers<'told' | 'undecided' | 'absent'>();
  const told = Promise.withResolvers<void>();
  const questions = new Map<number, Question>();
  let asked = 0;
  /** Where the book stands in the daemon's history. */
  let at: Place | undefined;
  /** Of a step whose last line has not come. */
  let parts: RouteChange[] = [];
  /** After the daemon's hello. */
  let daemon: Socket | undefined;
  let current: Socket | undefined;
  let listeners: Extract<FromProxy, { type: 'listeners' }> | undefined;
  let counts: Extract<FromProxy, { type: 'counts' }> | undefined;
  let found: Extract<FromProxy, { type: 'found' }> | undefined;
  let pauseMs = o.way.pauses.firstMs;
  let timer: NodeJS.Timeout | undefined;
  let closed = false;

  const say = (message: FromProxy): void => {
    if (daemon !== undefined) writeJsonLine(daemon, message);
  };

  const stopTelling = o.uses?.onChange(branch =>
    say({ type: 'uses', [o.uses?.has(branch) ? 'begun' : 'ended']: [branch] }),
  );

  const hearStep = async (step: Extract<FromDaemon, { type: 'step' }>): Promise<void> => {
    for (const item of step.items) parts.push(fromWire(item));
    if (step.more) return;
    const changes = parts;
    parts = [];
    if (step.whole) book.replace(changes);
    else book.apply(changes);
    at = step.place;
    first.resolve('told');
    told.resolve();
    await o.kept();
    say({ type: 'ack', place: step.place });
  };

  const hearAnswer = ({ id, branch, error }: Extract<FromDaemon, { type: 'answer' }>) => {
    const question = questions.get(id);
    questions.delete(id);
    if (error === undefined) return question?.resolve(branch);
    question?.reject(
      isErrorCode(error.code)
        ? new OffshootError(error.code, error.params)
        : new Error(`the daemon says ${error.code}`),
    );
  };

  /** @param absent what is said when nobody is there, or leaves */
  const question = async (
    message: Question['message'],
    absent: OffshootError,
    signal: AbortSignal,
  ): Promise<BranchRoute | undefined> => {
    if (daemon === undefined) throw absent;
    const id = ++asked;
    const { promise, resolve, reject } = Promise.withResolvers<BranchRoute | undefined>();
    questions.set(id, { message, absent, resolve, reject });
    say({ ...message, id });
    const giveUp = () => {
      if (questions.delete(id)) say({ type: 'forget', id });
      reject(signal.reason);
    };
    signal.addEventListener('abort', giveUp, { once: true });
    return promise.finally(() => signal.removeEventListener('abort', giveUp));
  };

  const hears: Hears = {
    hello({ pid, version, settled }, socket) {
      daemon = socket;
      pauseMs = o.way.pauses.firstMs;
      log.info({ daemon: pid, version }, 'follows a daemon');
      if (!settled) first.resolve('undecided');
      if (listeners !== undefined) say(listeners);
      if (counts !== undefined) say(counts);
      if (found !== undefined) say(found);
      if (o.uses !== undefined) say({ type: 'uses', begun: [...o.uses.all()], whole: true });
    },
    refused({ why }, socket) {
      log.warn({ why }, 'the daemon and this proxy do not understand each other');
      pauseMs = REFUSED_PAUSE_MS;
      socket.destroy();
    },
    step: message => void hearStep(message),
    answer: hearAnswer,
    replace: ({ command }) => o.onReplace(command),
    stop: ({ graceMs }) => o.onStop(graceMs),
    beat: () => say({ type: 'beat' }),
  };

  const dial = (): void => {
    const socket = o.way.dial(socket => {
      parts = [];
      writeJsonLine(socket, {
        type: 'hello',
        protocols,
        proxy: o.proxy,
        ...(at && { at }),
      } satisfies FromProxy);
    });
    current = socket;
    socket.on('error', err => log.debug({ err }, 'no daemon')); // "close" follows
    if (o.way.silenceMs !== undefined) whenSilent(socket, o.way.silenceMs, () => socket.destroy());
    socket.on('close', () => {
      first.resolve('absent');
      if (daemon === socket) {
        daemon = undefined;
        log.info({}, 'there is no daemon; what runs is served as before');
      }
      for (const { absent, reject } of questions.values()) reject(absent);
      questions.clear();
      if (closed) return;
      timer = setTimeout(dial, pauseMs * (0.5 + Math.random() / 2));
      pauseMs = Math.min(Math.max(o.way.pauses.lastMs, pauseMs), pauseMs * 2);
    });
    readJsonLines(socket, {
      maxLength: maxLine,
      onValue(value) {
        const message = value as FromDaemon;
        const heard = hears[message.type] as ((message: FromDaemon, socket: Socket) => void) | undefined;
        if (socket === current) heard?.(message, socket);
      },
      onBroken(why) {
        log.error({ why }, 'the daemon sent nonsense');
        socket.destroy();
      },
    });
  };
  if (o.way.ready === undefined) dial();
  else void o.way.ready.then(() => closed || dial());

  return {
    first: first.promise,
    told: told.promise,
    async ask(branch, signal, quiet = false) {
      const absent = new OffshootError('gateway/no-control-plane', { branch });
      const route = await question({ type: 'ask', branch, ...(quiet && { quiet }) }, absent, signal);
      if (route?.endpoint === undefined) throw new Error('the daemon says nothing of the branch');
      return { ...route, endpoint: route.endpoint };
    },
    async enter(entry, signal) {
      await question({ type: 'enter', entry }, new OffshootError('preview/no-entry', {}), signal);
    },
    tellListeners(states) {
      listeners = {
        type: 'listeners',
        states: states.map(({ error, ...state }) => ({
          ...state,
          ...(error && { error: { code: error.code, params: error.params } }),
        })),
      };
      say(listeners);
    },
    tellCounts(now) {
      if (JSON.stringify(now) === JSON.stringify(counts?.counts)) return;
      counts = { type: 'counts', counts: now };
      say(counts);
    },
    tellFound(all) {
      found = { type: 'found', found: Object.fromEntries(all) };
      say(found);
    },
    tellReplaceFailed: why => say({ type: 'replace-failed', why }),
    close() {
      closed = true;
      clearTimeout(timer);
      stopTelling?.();
      current?.destroy();
    },
  };
}

// --- internal ---

const REFUSED_PAUSE_MS = 2_000;

type Hears = {
  readonly [T in FromDaemon['type']]: (message: Extract<FromDaemon, { type: T }>, socket: Socket) => void;
};

type Question = {
  readonly message:
    | { readonly type: 'ask'; readonly branch: string; readonly quiet?: true }
    | { readonly type: 'enter'; readonly entry: Entry };
  readonly absent: OffshootError;
  readonly resolve: (route: BranchRoute | undefined) => void;
  readonly reject: (error: Error) => void;
};
