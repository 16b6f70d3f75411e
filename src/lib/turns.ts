/**
 * Long work in slices. Whoever has much to do asks for a turn before each part of it: while the event loop has just
 * begun to work he goes on at once, and otherwise when sockets and timers have had theirs. It counts what everybody does
 * together, so a crowd of short pieces of work is cut like a long one.
 */

/** Resolves when it is our turn: at once, unless the loop has worked for a few milliseconds without a look at the others. */
export function turn(): Promise<void> {
  if (waiting.length === 0 && !isLate()) return Promise.resolve();
  return new Promise(resolve => {
    waiting.push(resolve);
    if (waiting.length === 1) setImmediate(next);
  });
}

/** What `part` makes of each item, in order and in turns. */
export async function inTurns<T, R>(items: Iterable<T>, part: (item: T) => R): Promise<R[]> {
  const done: R[] = [];
  for (const item of items) {
    if (isLate()) await turn();
    done.push(part(item));
  }
  return done;
}

// --- internal ------------------------------------------------------------------------------------

/** Milliseconds: short beside what a person or a login notices, long beside a look at all sockets. */
const SLICE_MS = 4;

const waiting: (() => void)[] = [];
/** When somebody first asked since the loop last looked at its sockets; undefined: nobody has. */
let begun: number | undefined;

function isLate(): boolean {
  const now = performance.now();
  if (begun === undefined) {
    begun = now;
    setImmediate(() => (begun = undefined));
  }
  return now - begun > SLICE_MS;
}

/** One for each look at the sockets: what it is about to do may be a slice of its own. */
function next(): void {
  waiting.shift()!();
  if (waiting.length > 0) setImmediate(next);
}
