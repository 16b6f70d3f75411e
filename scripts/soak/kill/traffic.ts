/** Clients that hold connections of every kind to everybody, and open a new one as soon as one is cut. */
import { delay } from '../../../src/lib/wait.ts';
import { kinds, type Link, type LinkKind } from './links.ts';
import type { Outage } from './outage.ts';

export type Traffic = {
  readonly asked: Readonly<Record<LinkKind, number>>;
  /** Cut, or not to be opened, though the proxy was there. */
  readonly cut: Readonly<Record<LinkKind, readonly string[]>>;
  /** Answers of somebody else. */
  readonly wrong: readonly string[];
  /** How many of each kind are open and have answered. */
  open(): Readonly<Record<LinkKind, number>>;
  /** @param to who must answer at the other end */
  hold(kind: LinkKind, to: string, open: () => Promise<Link>): void;
  /** Ends them all. */
  end(): Promise<void>;
};

const pauseMs = 25;

export function traffic(outage: Outage): Traffic {
  const record = <T>(value: () => T) =>
    Object.fromEntries(kinds.map(k => [k, value()])) as Record<LinkKind, T>;
  const asked = record(() => 0);
  const open = record(() => 0);
  const cut = record<string[]>(() => []);
  const wrong: string[] = [];
  const over = new AbortController();
  const clients: Promise<void>[] = [];

  const hold = async (kind: LinkKind, to: string, connect: () => Promise<Link>): Promise<void> => {
    while (!over.signal.aborted) {
      const since = outage.now();
      let link: Link | undefined;
      let counted = false;
      try {
        link = await connect();
        while (!over.signal.aborted) {
          const who = await link.ask();
          asked[kind] += 1;
          if (who !== to) wrong.push(`${kind} to ${to}: ${who}`);
          if (!counted) open[kind] += 1;
          counted = true;
          await delay(pauseMs);
        }
      } catch (error) {
        if (!over.signal.aborted && !outage.excuses(since))
          cut[kind].push(`${kind} to ${to} ${link === undefined ? 'is refused' : 'was cut'}: ${error}`);
        await delay(pauseMs);
      } finally {
        if (counted) open[kind] -= 1;
        link?.close();
      }
    }
  };

  return {
    ...{ asked, cut, wrong },
    open: () => ({ ...open }),
    hold: (kind, to, connect) => void clients.push(hold(kind, to, connect)),
    async end() {
      over.abort();
      await Promise.all(clients);
    },
  };
}
