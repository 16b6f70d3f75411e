/** The API key of a preview request: found, taken off, and checked. */
import { createHash } from 'node:crypto';
import { valuesOf, without } from './headers.ts';

const KEY_HEADERS: readonly string[] = ['offshoot-api-key', 'signadot-api-key'];
/** A bearer token without our prefix belongs to the application. RFC 6750 §2.1; the scheme is case-insensitive. */
const OUR_BEARER = /^bearer +(ofs_\S*)$/i;

/**
 * The key that a request carries, and its headers without anything that is a key of ours: workloads never
 * see one.
 */
export function takeApiKey(headers: readonly string[]): {
  readonly apiKey: string | undefined;
  readonly headers: readonly string[];
} {
  const authorizations = valuesOf(headers, 'authorization');
  const bearers = authorizations.flatMap(value => OUR_BEARER.exec(value)?.[1] ?? []);
  const kept = without(headers, name => KEY_HEADERS.includes(name) || name === 'authorization');
  for (const value of authorizations) if (!OUR_BEARER.test(value)) kept.push('Authorization', value);
  const keys = [...KEY_HEADERS.flatMap(name => valuesOf(headers, name)), ...bearers];
  return { apiKey: keys[0], headers: kept };
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
