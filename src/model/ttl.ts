/** Time to live of a sandbox or a branch (Signadot: a whole number and one of m h d w). */
import type { Ttl } from './sandbox.ts';

const unitMs: Readonly<Record<string, number>> = { m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 };

/** Milliseconds of e.g. `2h`; undefined when it is no such text. */
export function ttlMs(duration: string): number | undefined {
  const match = /^(\d{1,10})([mhdw])$/.exec(duration);
  return match === null ? undefined : Number(match[1]) * unitMs[match[2]!]!;
}

/** RFC 3339 time at which the sandbox ends; undefined when it has no ttl. */
export function deleteTime(
  ttl: Ttl | undefined,
  times: { createdAt: string; updatedAt: string },
): string | undefined {
  const ms = ttl && ttlMs(ttl.duration);
  if (ttl === undefined || ms === undefined) return undefined;
  const from = ttl.offsetFrom === 'updatedAt' ? times.updatedAt : times.createdAt;
  const end = Date.parse(from) + ms;
  // 2^32 weeks lie beyond what a Date can say.
  return new Date(Math.min(end, 8_640_000_000_000_000)).toISOString();
}
