/**
 * The carriers of a routing key: the request headers in which it travels. Pure; headers are flat lists of
 * names and values in turn, as node's `rawHeaders`.
 *
 * - `baggage` (https://www.w3.org/TR/baggage/): member `sd-routing-key`, formerly `sd-sandbox`, `sd-workspace`
 * - `tracestate` (https://www.w3.org/TR/trace-context/): member `sd-routing-key`
 * - plain headers whose whole value is the key: four of older tracing libraries, and configured ones
 */

/** Keys are opaque, and compared whole: `pr1` is not `pr12`. */
const KEY = /^[a-z0-9]{1,32}$/;

const MEMBER = 'sd-routing-key';
const BAGGAGE_MEMBERS: ReadonlySet<string> = new Set([MEMBER, 'sd-sandbox', 'sd-workspace']);
const PLAIN_HEADERS: readonly string[] = [
  'ot-baggage-sd-routing-key',
  'ot-baggage-sd-sandbox',
  'uberctx-sd-routing-key',
  'uberctx-sd-sandbox',
];

/**
 * Trace Context §3.3.1.1. There is no limit to what is read: the header block's own limit bounds it, and a
 * key that we overlooked would send a sandbox's request to the main database.
 */
const MAX_TRACESTATE_MEMBERS = 32;

/**
 * The routing keys of a request, each once: those of `baggage` first, then `tracestate`, then plain headers.
 * Malformed members are skipped.
 * @param customHeaders further plain headers, lower case
 */
export function routingKeysOf(
  rawHeaders: readonly string[],
  customHeaders: readonly string[] = [],
): readonly string[] {
  const { baggage, tracestate, plain } = split(rawHeaders, customHeaders);
  const keys = new Set<string>();
  const add = (key: string | undefined) => key !== undefined && KEY.test(key) && keys.add(key);
  for (const member of membersOf(baggage)) add(keyInBaggage(member));
  for (const member of membersOf(tracestate)) add(keyInTracestate(member));
  for (const value of membersOf(plain)) add(value);
  return [...keys];
}

/**
 * Headers with `key` as the only routing key, in every carrier. Other members of `baggage` and `tracestate`
 * keep their order behind ours: Trace Context §3.5 wants the writer first, and other readers stop at a limit.
 * @param customHeaders further plain headers, lower case
 */
export function injectKey(
  rawHeaders: readonly string[],
  key: string,
  customHeaders: readonly string[] = [],
): readonly string[] {
  const { baggage, tracestate, rest } = split(rawHeaders, customHeaders);
  const ours = `${MEMBER}=${key}`;
  const otherBaggage = membersOf(baggage).filter(member => !BAGGAGE_MEMBERS.has(nameOf(member)));
  const otherStates = membersOf(tracestate).filter(member => nameOf(member) !== MEMBER);
  const plainNames = new Set([...PLAIN_HEADERS, ...customHeaders]);
  return [
    ...rest,
    ...['baggage', [ours, ...otherBaggage].join(',')],
    ...['tracestate', [ours, ...otherStates].slice(0, MAX_TRACESTATE_MEMBERS).join(',')],
    ...[...plainNames].flatMap(name => [name, key]),
  ];
}

/**
 * Headers in which `keys` are found again in this order. Those in which they are stay as they are; where a
 * carrier was taken out on the way (a client may name one in `Connection`), the keys stand in `baggage`, first.
 * @param customHeaders further plain headers, lower case
 */
export function keepKeys(
  rawHeaders: readonly string[],
  keys: readonly string[],
  customHeaders: readonly string[] = [],
): readonly string[] {
  if (keys.length === 0) return rawHeaders;
  const found = routingKeysOf(rawHeaders, customHeaders);
  if (found.length === keys.length && found.every((key, i) => key === keys[i])) return rawHeaders;
  const isBaggage = (i: number) => rawHeaders[i - (i % 2)]!.toLowerCase() === 'baggage';
  const others = membersOf(split(rawHeaders, []).baggage).filter(
    member => !BAGGAGE_MEMBERS.has(nameOf(member)),
  );
  return [
    ...rawHeaders.filter((_, i) => !isBaggage(i)),
    ...['baggage', [...keys.map(key => `${MEMBER}=${key}`), ...others].join(',')],
  ];
}

// --- internal ---

type Carriers = {
  readonly baggage: readonly string[];
  readonly tracestate: readonly string[];
  readonly plain: readonly string[];
  /** All other headers, flat. */
  readonly rest: readonly string[];
};

function split(rawHeaders: readonly string[], customHeaders: readonly string[]): Carriers {
  const found = {
    baggage: [] as string[],
    tracestate: [] as string[],
    plain: [] as string[],
    rest: [] as string[],
  };
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const name = rawHeaders[i]!;
    const value = rawHeaders[i + 1]!;
    const lower = name.toLowerCase();
    if (lower === 'baggage') found.baggage.push(value);
    else if (lower === 'tracestate') found.tracestate.push(value);
    else if (PLAIN_HEADERS.includes(lower) || customHeaders.includes(lower)) found.plain.push(value);
    else found.rest.push(name, value);
  }
  return found;
}

/** Members of a list header, several headers being one list (RFC 9110 §5.3); empty ones are none. */
const membersOf = (values: readonly string[]): readonly string[] =>
  values
    .flatMap(value => value.split(','))
    .map(trimOws)
    .filter(member => member !== '');

/** Baggage §3.3.1: `key OWS = OWS value *( OWS ; OWS property )`, the value percent-encoded. */
function keyInBaggage(member: string): string | undefined {
  if (!BAGGAGE_MEMBERS.has(nameOf(member))) return undefined;
  const [value = ''] = member.slice(member.indexOf('=') + 1).split(';', 1);
  try {
    return decodeURIComponent(trimOws(value));
  } catch {
    return undefined; // not percent-encoding
  }
}

/** Trace Context §3.3.1.3: `key=value`, nothing is encoded. */
function keyInTracestate(member: string): string | undefined {
  return member.startsWith(`${MEMBER}=`) ? member.slice(MEMBER.length + 1) : undefined;
}

const nameOf = (member: string): string => trimOws(member.slice(0, Math.max(0, member.indexOf('='))));

/** Optional whitespace of HTTP, RFC 9110 §5.6.3; `String.trim` would take more. */
const trimOws = (text: string): string => text.replace(/^[ \t]+|[ \t]+$/g, '');
