/** The API key of a preview request: found, taken off, and checked. */
import { createHash } from 'node:crypto';
import { valuesOf, without } from './headers.ts';

const KEY_HEADERS: readonly string[] = ['offshoot-api-key', 'signadot-api-key'];
/** A bearer token without our prefix belongs to the application. RFC 6750 §2.1; the scheme is case-insensitive. */
const OUR_BEARER = /^bearer +(ofs_\S*)$/i;

/** The key that a request carries, or what it gives in place of one. */
export function apiKeyOf(headers: readonly string[]): string | undefined {
  const bearer = () => valuesOf(headers, 'authorization').find(value => OUR_BEARER.test(value));
  const [named] = KEY_HEADERS.flatMap(name => valuesOf(headers, name));
  return named ?? OUR_BEARER.exec(bearer() ?? '')?.[1];
}

/** Headers without anything that is a key of ours: workloads never see one. */
export function withoutApiKeys(headers: readonly string[]): string[] {
  const kept = without(headers, name => KEY_HEADERS.includes(name) || name === 'authorization');
  for (const value of valuesOf(headers, 'authorization'))
    if (!OUR_BEARER.test(value)) kept.push('Authorization', value);
  return kept;
}

export type CheckKey = (apiKey: string) => Promise<boolean>;

/**
 * Asks `check` once per key and `ttlMs`, also for keys that are wrong. A revoked key works that much longer.
 * Only hashes of keys are kept, at most `max`; the oldest go first. What throws is not kept.
 */
export function rememberKeys(
  check: CheckKey,
  { ttlMs = 3_000, max = 1_000, now = () => performance.now() } = {},
): CheckKey {
  const known = new Map<string, { readonly answer: Promise<boolean>; readonly until: number }>();
  return apiKey => {
    const id = createHash('sha256').update(apiKey).digest('base64');
    const found = known.get(id);
    if (found !== undefined && now() < found.until) return found.answer;
    known.delete(id);
    if (known.size >= max) known.delete(known.keys().next().value!);
    const answer = check(apiKey);
    known.set(id, { answer, until: now() + ttlMs });
    answer.catch(() => known.delete(id));
    return answer;
  };
}
