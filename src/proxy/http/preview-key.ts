/** The API key of a preview request: found, and taken off. */
import { createHash } from 'node:crypto';
import { valuesOf, without } from './headers.ts';

export const KEY_HEADERS: readonly string[] = ['offshoot-api-key', 'signadot-api-key'];
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

/** Under which the route book has a key: keys themselves never leave the control plane. */
export const hashOf = (apiKey: string): string => createHash('sha256').update(apiKey).digest('hex');
