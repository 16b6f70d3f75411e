/** A program that has ended although it was to go on is an event, for who looks later. */

type Life = {
  readonly ready: boolean;
  readonly message: string;
  readonly restarts?: number;
  /** Last lines of its log while it is not ready. */
  readonly log?: readonly string[] | undefined;
};

/**
 * What to tell of a crash since `before`, its last lines too; undefined: there was none.
 * @param what e.g. `fork of demo/users`
 */
export function crashSince(before: Life | undefined, now: Life, what: string): string | undefined {
  const [was = 0, is = 0] = [before?.restarts, now.restarts];
  if (before === undefined || is <= was) return undefined;
  // Seen too late, it runs again already.
  const how = now.ready ? 'it has ended, and runs again' : now.message;
  const lines = (now.log ?? []).slice(-LINES).map(line => line.slice(0, LENGTH));
  return `${what}: ${how} (restart ${is})${lines.length === 0 ? '' : `; last lines: ${lines.join(' | ')}`}`;
}

// --- internal -----------------------------------------------------------------------------------

const LINES = 3;
const LENGTH = 200;
