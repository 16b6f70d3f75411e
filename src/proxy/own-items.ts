/** Items that a proxy knows by itself, e.g. where it listens, beside those that it is told. */
import type { RouteChange } from '../model/route.ts';
import type { Book } from './book.ts';

/** The same book, in which `own` stays whatever is told; an item that is told counts more than one of the same name. */
export function withOwn(book: Book, own: readonly RouteChange[]): Book {
  book.apply(own);
  return { ...book, replace: items => book.replace([...own, ...items]) };
}
