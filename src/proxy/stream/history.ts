/**
 * What is told, in steps, and put into words for each destination: the newest ones are kept as changes, so that who only
 * missed some gets those.
 */
import { randomUUID } from 'node:crypto';
import type { RouteChange, RouteChanged } from '../../model/route.ts';
import type { Book } from '../book.ts';
import { type Destination, destinationsOf, shownTo } from './destinations.ts';
import { type FromDaemon, type Place, toWire, type WireItem } from './messages.ts';

export type History = {
  /** Of the newest step. */
  version(): number;
  /** Not of another life. */
  isOurs(place: Place): boolean;
  /**
   * Takes a step. @param present those who follow now
   * @returns words for those of them whom it concerns
   */
  step(changed: readonly RouteChanged[], present: ReadonlySet<Destination>): ReadonlyMap<Destination, string>;
  /** From here on what the book has is all there is; that is a step, too, which nobody can have missed a part of. */
  begin(): void;
  /** Everything that the book has for a destination. */
  whole(destination: Destination): string;
  /** What it missed since `at`; everything when that is not known any more. */
  since(destination: Destination, at: Place | undefined): string;
};

export function createHistory(book: Pick<Book, 'all'>): History {
  const epoch = randomUUID();
  let version = 0;
  let steps: { readonly version: number; readonly changed: readonly RouteChanged[] }[] = [];

  const stepWords = (items: readonly WireItem[], at: number): string =>
    wordsOf(linesOf(items, { epoch, version: at }));
  const whole = (destination: Destination): string => {
    const items = partOf(destination, [...book.all()]);
    return wordsOf(linesOf(items, { epoch, version }, true));
  };

  return {
    version: () => version,
    isOurs: place => place.epoch === epoch,
    step(changed, present) {
      version += 1;
      steps.push({ version, changed });
      if (steps.length > MAX_STEPS) steps = steps.slice(-MAX_STEPS / 2);
      const items = new Map<Destination, WireItem[]>();
      for (const change of changed) {
        const concerned = destinationsOf(change);
        for (const destination of concerned === 'every' ? present : concerned) {
          if (!present.has(destination)) continue;
          const wire = toWire(shownTo(destination, change));
          const its = items.get(destination);
          if (its === undefined) items.set(destination, [wire]);
          else its.push(wire);
        }
      }
      return new Map([...items].map(([destination, its]) => [destination, stepWords(its, version)]));
    },
    begin() {
      version += 1;
    },
    whole,
    since(destination, at) {
      const first = steps[0]?.version ?? version + 1;
      if (at?.epoch !== epoch || at.version + 1 < first || at.version > version) return whole(destination);
      const missed = steps
        .filter(step => step.version > at.version)
        .map(step => ({ version: step.version, items: partOf(destination, step.changed) }))
        .filter(({ items }) => items.length > 0);
      // Also when nothing was missed: what it has acknowledged to an earlier connection counts again.
      return [...missed.map(step => stepWords(step.items, step.version)), stepWords([], version)].join('');
    },
  };
}

export const wordsOf = (messages: readonly FromDaemon[]): string =>
  messages.map(message => `${JSON.stringify(message)}\n`).join('');

// --- internal ---

const MAX_STEPS = 2_000;
const ITEMS_PER_LINE = 500;

function partOf(destination: Destination, changes: readonly (RouteChange | RouteChanged)[]): WireItem[] {
  const isTold = (change: RouteChanged) => {
    const concerned = destinationsOf(change);
    return concerned === 'every' || concerned.includes(destination);
  };
  return changes.filter(isTold).map(change => toWire(shownTo(destination, change)));
}

function linesOf(items: readonly WireItem[], place: Place, whole = false): FromDaemon[] {
  const count = Math.max(1, Math.ceil(items.length / ITEMS_PER_LINE));
  return Array.from({ length: count }, (_, i) => ({
    ...{ type: 'step', place, items: items.slice(i * ITEMS_PER_LINE, (i + 1) * ITEMS_PER_LINE) },
    ...(whole && { whole }),
    ...(i < count - 1 && { more: true }),
  })) as FromDaemon[];
}
