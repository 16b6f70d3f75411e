/**
 * Our sessions that stay open for a while: a server that is copied again and again is asked each time how far it is, and to
 * open a session for that takes ten times as long as the question.
 */
import { orAborted } from '../../lib/wait.ts';
import type { Ctx } from '../contract.ts';
import type { AdminQuery, Session } from './session.ts';

/** @param Server tells one server from the next of the same branch */
export type Standing<Server> = {
  /** Runs `body` in the session of `id`, which others use too: each statement by itself, no transactions. Rejects as `open` does. */
  ask<T>(id: string, server: Server, body: (query: AdminQuery) => Promise<T>, ctx: Ctx): Promise<T>;
  /** Ends it, if there is one. */
  drop(id: string): Promise<void>;
};

/**
 * @param open the session must outlast `ctx`
 * @param idleMs so long one stays that nobody uses
 */
export function standingSessions<Server>(
  open: (id: string, ctx: Ctx) => Promise<Session>,
  idleMs = IDLE_MS,
): Standing<Server> {
  const kept = new Map<string, Kept<Server>>();

  async function drop(id: string): Promise<void> {
    const one = kept.get(id);
    if (one === undefined) return;
    kept.delete(id);
    clearTimeout(one.timer);
    await one.session.then(({ close }) => close()).catch(() => {}); // it may be lost
  }

  function begin(id: string, server: Server, ctx: Ctx): Kept<Server> {
    const session = open(id, ctx);
    session.catch(() => {}); // heard of by who asks
    const one = { server, session, timer: setTimeout(() => void drop(id), idleMs).unref() };
    kept.set(id, one);
    return one;
  }

  return {
    drop,
    async ask(id, server, body, ctx) {
      const there = kept.get(id);
      if (there !== undefined && there.server !== server) void drop(id);
      for (const one of [kept.get(id), undefined]) {
        const now = one ?? begin(id, server, ctx);
        now.timer.refresh();
        try {
          const { query } = await now.session;
          return await orAborted(body(query), ctx.signal);
        } catch (error) {
          ctx.signal.throwIfAborted();
          if (kept.get(id) === now) void drop(id);
          if (one === undefined) throw error; // else it may have ended while nobody asked
        }
      }
      throw new TypeError('the second time is the last');
    },
  };
}

// --- internal ------------------------------------------------------------------------------------

type Kept<Server> = {
  readonly server: Server;
  readonly session: Promise<Session>;
  readonly timer: NodeJS.Timeout;
};

const IDLE_MS = 30_000;
