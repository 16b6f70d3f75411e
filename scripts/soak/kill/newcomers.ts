/** Sandboxes that are made and deleted all the time, whatever happens to the daemon meanwhile. */
import type { Client } from '../../../src/client/index.ts';
import { delay, until } from '../../../src/lib/wait.ts';
import { OffshootError } from '../../../src/model/errors.ts';
import { echoSandbox } from '../../../test/support/crowd.ts';
import type { Chance } from '../../../test/support/random.ts';
import type { Subject } from './passers.ts';

export type Newcomers = {
  /** All that there are and were; the last of those that are gone only. */
  subjects(): readonly Subject[];
  readonly made: number;
  readonly deleted: number;
  /** Ends when those that are there are gone. */
  end(): Promise<void>;
  /** Lets everything be as it is. */
  stop(): void;
};

const deadlineMs = 120_000;
/** As many as are asked whether their keys still answer 410. */
const remembered = 8;

/** @param client of the daemon that runs now, if one does */
export function newcomers(client: () => Client, chance: Chance, atOnce: number): Newcomers {
  const over = new AbortController();
  const stopped = new AbortController();
  const here = new Set<Subject>();
  const gone: Subject[] = [];
  let [made, deleted, started] = [0, 0, 0];

  /** What a user does who sees that nobody answers: the same again. */
  const insist = <T>(what: string, work: () => Promise<T | undefined>): Promise<T> =>
    until(
      async () => {
        try {
          return await work();
        } catch (error) {
          if (error instanceof OffshootError && error.code !== 'api/unreachable' && !error.row.retry)
            throw error;
          return undefined; // no daemon, or one that is being started
        }
      },
      { what, deadlineMs, intervalMs: 20, signal: stopped.signal },
    );

  const one = async (): Promise<void> => {
    const name = `new-${started++}`;
    const document = echoSandbox(name, { branch: chance.often(50) });
    const { routingKey: key } = await insist(`${name} is applied`, () => client().sandboxes.apply(document));
    let phase: Subject['phase'] = 'between';
    const subject: Subject = {
      ...{ name, key },
      get phase() {
        return phase;
      },
    };
    here.add(subject);
    const hasty = chance.often(20);
    if (!hasty) {
      await insist(`${name} is ready`, async () => {
        const { status } = await client().sandboxes.get(name);
        return status.ready ? true : undefined;
      });
      phase = 'ready';
      await delay(chance.below(1_000));
    }
    phase = 'between';
    await insist(`${name} is deleted`, async () => {
      try {
        await client().sandboxes.delete(name);
      } catch (error) {
        if (!isMissing(error)) throw error;
      }
      return true;
    });
    await insist(`${name} is gone`, async () => {
      try {
        await client().sandboxes.get(name);
        return undefined;
      } catch (error) {
        if (isMissing(error)) return true;
        throw error;
      }
    });
    phase = 'gone';
    here.delete(subject);
    gone.push(subject);
    if (gone.length > remembered) gone.shift();
    deleted += 1;
    if (!hasty) made += 1;
  };
  const work = async () => {
    while (!over.signal.aborted) await one();
  };
  const workers = Promise.all(Array.from({ length: atOnce }, work));
  workers.catch(() => {}); // told by `end`
  return {
    subjects: () => [...here, ...gone],
    get made() {
      return made;
    },
    get deleted() {
      return deleted;
    },
    async end() {
      over.abort();
      await workers;
    },
    stop() {
      over.abort();
      stopped.abort(new Error('the scenario was stopped'));
    },
  };
}

// --- internal -----------------------------------------------------------------------------------

const isMissing = (error: unknown): boolean =>
  error instanceof OffshootError && (error.code === 'api/not-found' || error.code === 'sandbox/gone');
