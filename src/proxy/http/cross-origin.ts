/**
 * Pages of one preview that ask another one. What is allowed between them is the workloads' own matter; ours is that the
 * cookie of a preview is an invention of ours, of which workloads know nothing.
 */
import type { Exchange } from './data-path.ts';
import { valuesOf, without } from './headers.ts';
import { previewLabelOf } from './preview-host.ts';
import { KEY_HEADERS } from './preview-key.ts';

/**
 * Whose page asks: `own` of this preview or of none (typed, linked, a program), `sibling` of another preview of the same
 * sandbox, `foreign` of anybody else.
 */
export function askedBy({ received, host, client }: Exchange, domain: string): 'own' | 'sibling' | 'foreign' {
  const [site] = valuesOf(received, 'sec-fetch-site');
  const [mode] = valuesOf(received, 'sec-fetch-mode');
  // Scripts cannot set these. A page that takes in a picture or a script of another one says so, but not always whose page it is.
  const isTakenIn = (site === 'same-site' || site === 'cross-site') && mode !== 'navigate';
  const origin =
    valuesOf(received, 'origin')[0] ?? (isTakenIn ? originOf(valuesOf(received, 'referer')[0]) : undefined);
  // Some pages send no origin that says something, because of their policy for referrers.
  if (site === 'same-origin' || (origin === undefined && !isTakenIn)) return 'own';
  if (origin === undefined) return 'foreign';
  const [, scheme, from = ''] = /^(https?):\/\/([^/]+)$/.exec(origin) ?? [];
  if (scheme !== (client.secure ? 'https' : 'http')) return 'foreign';
  if (from.toLowerCase() === host.toLowerCase()) return 'own';
  const sandbox = sandboxOf(from, domain);
  return sandbox !== undefined && sandbox === sandboxOf(host, domain) ? 'sibling' : 'foreign';
}

/**
 * The answer to a preflight (Fetch §4.8), which carries neither key nor cookie and so reaches no workload: a page may ask
 * when it is of the same sandbox, or says that it will bring a key of its own; the workload then decides what it may
 * read. Whether there is such a preview is told to nobody.
 * @returns undefined when it is none, or not allowed
 */
export function preflight(exchange: Exchange, domain: string): readonly string[] | undefined {
  const { received, method } = exchange;
  const [origin] = valuesOf(received, 'origin');
  const [wanted] = valuesOf(received, 'access-control-request-method');
  if (method !== 'OPTIONS' || origin === undefined || wanted === undefined) return undefined;
  const names = valuesOf(received, 'access-control-request-headers').join(',');
  const isSibling = askedBy(exchange, domain) === 'sibling';
  const brings = names.split(',').map(name => name.trim().toLowerCase());
  if (!isSibling && !brings.some(name => name === 'authorization' || KEY_HEADERS.includes(name)))
    return undefined;
  return [
    ...['Access-Control-Allow-Origin', origin, 'Access-Control-Allow-Methods', wanted],
    ...(names === '' ? [] : ['Access-Control-Allow-Headers', names]),
    ...(isSibling ? ['Access-Control-Allow-Credentials', 'true'] : []),
    ...['Access-Control-Max-Age', '600', 'Vary', 'Origin, Access-Control-Request-Method'],
  ];
}

/**
 * What a workload lets a page of the same sandbox read, it may read although it came with our cookie: browsers ask for
 * more then than `*` (Fetch §4.10). What the workload does not allow stays forbidden.
 */
export function allowCredentials(answer: readonly string[], origin: string): readonly string[] {
  const [allowed] = valuesOf(answer, 'access-control-allow-origin');
  if (allowed !== '*' && allowed !== origin) return answer;
  const others = without(
    answer,
    name => name === 'access-control-allow-origin' || name === 'access-control-allow-credentials',
  );
  return [
    ...others,
    ...['Access-Control-Allow-Origin', origin, 'Access-Control-Allow-Credentials', 'true', 'Vary', 'Origin'],
  ];
}

// --- internal ---

const originOf = (url = ''): string | undefined => /^https?:\/\/[^/?#]+/.exec(url)?.[0];

function sandboxOf(host: string, domain: string): string | undefined {
  const label = previewLabelOf(host, domain);
  return label?.slice(label.lastIndexOf('--') + 2);
}
