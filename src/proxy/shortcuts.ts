/** What of a route book needs no proxy: TCP ports that are said to pass through, whose pods answer at addresses of their own. */
import type { Address, RouteChange, RouteKind } from '../model/route.ts';
import type { Book } from './book.ts';

export type Shortcut = Address & { readonly pods: readonly Address[] };

/** Not where only first bytes have said it: a request with a key could still come there. */
export function shortcutsOf(book: Pick<Book, 'names' | 'get' | 'destination'>): readonly Shortcut[] {
  return [...book.names('listener')].flatMap(name => {
    const { host, port, serves } = book.get('listener', name)!;
    if (book.get('service', serves)?.speaks !== 'tcp') return [];
    const target = book.destination(serves)?.baseline();
    return target?.ready ? [{ host, port, pods: target.addresses }] : [];
  });
}

/** Whether it may be other ones after a change. */
export const mayChangeShortcuts = (changes: Iterable<RouteChange>): boolean =>
  [...changes].some(({ kind }) => READ.includes(kind));

// --- internal ---

const READ: readonly RouteKind[] = ['listener', 'service', 'workload'];
