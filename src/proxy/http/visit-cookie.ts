/** The cookie by which a person's browser comes into one preview: what it is called, read, taken off and set. */
import { valuesOf, without } from './headers.ts';

/**
 * With the prefix, browsers take it only by TLS, for all paths, and for this host alone (RFC 6265bis §4.1.3.2); in clear
 * text they would take none of that name at all.
 */
const nameOf = (secure: boolean): string => (secure ? '__Host-offshoot-preview' : 'offshoot-preview');
const NAMES: readonly string[] = [nameOf(false), nameOf(true)];

/** Browsers keep a cookie for so long at most (RFC 6265bis §5.5); what ends it before is the key, or the sandbox. */
const MAX_AGE_S = 400 * 86_400;
/** The workload may have set some of the same name, for a path, or for the domain of all previews. */
const MOST = 8;

/** What a request has by that name: tokens, of which any may be right. */
export const visitTokens = (headers: readonly string[], secure: boolean): readonly string[] =>
  pairsIn(headers)
    .filter(pair => nameIn(pair) === nameOf(secure))
    .slice(0, MOST)
    .map(pair => pair.slice(pair.indexOf('=') + 1).trim());

/** Headers without it: workloads never see one. */
export function withoutVisits(headers: readonly string[]): readonly string[] {
  const pairs = pairsIn(headers);
  const kept = pairs.filter(pair => !NAMES.includes(nameIn(pair)));
  if (kept.length === pairs.length) return headers;
  const others = without(headers, name => name === 'cookie');
  return kept.length === 0 ? others : [...others, 'Cookie', kept.join('; ')];
}

/** An answer's headers without any that would set or end it: only we do. */
export function withoutVisitsSet(headers: readonly string[]): readonly string[] {
  const isOurs = (i: number) =>
    headers[i]!.toLowerCase() === 'set-cookie' && NAMES.includes(nameIn(headers[i + 1] ?? ''));
  return headers.filter((_, i) => !isOurs(i - (i % 2)));
}

/** `Lax`: a link from elsewhere opens the preview, a form or a script of another site does not use it. */
export const setVisit = (token: string, secure: boolean): readonly string[] => [
  'Set-Cookie',
  `${nameOf(secure)}=${token}; Path=/; Max-Age=${MAX_AGE_S}; HttpOnly; SameSite=Lax${secure ? '; Secure' : ''}`,
];

// --- internal ---

const pairsIn = (headers: readonly string[]): readonly string[] =>
  valuesOf(headers, 'cookie')
    .flatMap(value => value.split(';'))
    .map(pair => pair.trim())
    .filter(Boolean);

const nameIn = (pair: string): string => pair.slice(0, Math.max(0, pair.indexOf('='))).trim();
