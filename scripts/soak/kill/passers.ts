/** Requests that come and go, each on a connection of its own, with the keys of whoever there is or was. */
import { delay } from '../../../src/lib/wait.ts';
import type { Chance } from '../../../test/support/random.ts';
import { askOnce } from './links.ts';
import type { Outage } from './outage.ts';

/** Who a request may be for. `ready`: serves. `between`: is being made or deleted. `gone`: its deletion is done. */
export type Subject = {
  readonly name: string;
  readonly key: string;
  readonly phase: 'ready' | 'between' | 'gone';
};

export type Passers = {
  /** Requests so far, by what was answered. */
  readonly answers: Readonly<Record<string, number>>;
  /** From somebody else than the request was for. */
  readonly wrong: readonly string[];
  /** Without an answer, or with an excuse, although the proxy and who was asked were there. */
  readonly unserved: readonly string[];
  /** Other answers than 410 to keys of those that are gone. */
  readonly late: readonly string[];
  end(): Promise<void>;
};

export type PassersOptions = {
  /** Of the baseline's Service; it answers with the name of who it is, or `baseline`. */
  readonly url: string;
  readonly subjects: () => readonly Subject[];
  readonly outage: Outage;
  readonly chance: Chance;
  readonly atOnce: number;
};

const pauseMs = 10;

export function passers({ url, subjects, outage, chance, atOnce }: PassersOptions): Passers {
  const answers: Record<string, number> = {};
  const [wrong, unserved, late]: [string[], string[], string[]] = [[], [], []];
  const over = new AbortController();

  const one = async (): Promise<void> => {
    const all = subjects();
    const subject = chance.often(25) || all.length === 0 ? undefined : chance.pick(all);
    const since = outage.now();
    const before = subject?.phase;
    let answer: { readonly status: number; readonly body: string };
    try {
      answer = await askOnce(url, subject === undefined ? {} : { baggage: `sd-routing-key=${subject.key}` });
    } catch (error) {
      count('none');
      if (!outage.excuses(since)) unserved.push(`${subject?.name ?? 'baseline'}: ${error}`);
      return;
    }
    const { status, body } = answer;
    count(status);
    const told = `${subject?.name ?? 'baseline'} (${before ?? 'there'}): ${status} ${body.slice(0, 200)}`;
    if (status === 200 && body !== (subject?.name ?? 'baseline')) wrong.push(told);
    else if (before === 'gone') {
      if (status !== 410) late.push(told);
    } else if (status !== 200 && (subject === undefined || (before === 'ready' && subject.phase === 'ready')))
      if (!outage.excuses(since)) unserved.push(told);
  };
  const count = (what: string | number) => {
    answers[what] = (answers[what] ?? 0) + 1;
  };
  const work = async () => {
    while (!over.signal.aborted) {
      await one();
      await delay(pauseMs);
    }
  };
  const workers = Array.from({ length: atOnce }, work);
  return {
    ...{ answers, wrong, unserved, late },
    async end() {
      over.abort();
      await Promise.all(workers);
    },
  };
}
