/**
 * A server that has just begun to start, recovers or ends says so to whoever comes, and hangs up. No client needs to hear of that:
 * it is asked again. Of all that wait for one branch one asks, and the others follow when it has another answer: who recovers has
 * better things to do than to send away a crowd.
 */
import { backoffMs, delay } from '../../lib/wait.ts';

/** cannot_connect_now (appendix "PostgreSQL Error Codes"). */
export const CANNOT_CONNECT_NOW = '57P03';

export type Patience = {
  /** Whether there is time to ask again: otherwise the client hears what the server says. */
  readonly patient: boolean;
  /** To be called as soon as the server has said something else. */
  readonly answered: () => void;
};

/**
 * Repeats `login` until it is not "starting", of which the client has heard nothing.
 * @throws the signal's reason; what `login` throws
 */
export type Outwait = <T>(
  branch: string,
  login: (patience: Patience) => Promise<T | 'starting'>,
  signal: AbortSignal,
) => Promise<T>;

/** @param mostMs so long a login is repeated */
export function createOutwait(mostMs: number): Outwait {
  /** By branch, settled when the login that asks for all has another answer, or has given up. */
  const asking = new Map<string, Promise<void>>();

  return async (branch, login, signal) => {
    const end = performance.now() + mostMs;
    const mine = Promise.withResolvers<void>();
    const answered = () => {
      if (asking.get(branch) === mine.promise) asking.delete(branch);
      mine.resolve();
    };
    try {
      for (let tries = 0; ; ) {
        const outcome = await login({ patient: performance.now() < end, answered });
        if (outcome !== 'starting') return outcome;
        const asks = asking.get(branch) ?? mine.promise;
        asking.set(branch, asks);
        if (asks === mine.promise) await delay(backoffMs(tries++, FIRST_MS, LONGEST_MS), signal);
        else await delay(Math.max(0, end - performance.now()), signal, asks);
      }
    } finally {
      answered();
    }
  };
}

// --- internal ------------------------------------------------------------------------------------

const FIRST_MS = 20;
const LONGEST_MS = 1_000;
