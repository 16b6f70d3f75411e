/** Header lists are flat: names and values in turn, with case, order and duplicates as they came. */

/** RFC 9110 §7.6.1: these speak about one connection. */
const HOP_BY_HOP: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'te',
  'transfer-encoding',
  'upgrade',
]);

/** A `Connection` header that names one of these would change whose request it is, or how long. */
const NEVER_HOP_BY_HOP: ReadonlySet<string> = new Set(['host', 'content-length']);

/**
 * Headers without those that are only for this connection, among them all that `Connection` names.
 * @param alsoDrop further names, lower case
 */
export function endToEnd(headers: readonly string[], ...alsoDrop: readonly string[]): string[] {
  const dropped = new Set(alsoDrop);
  for (const option of valuesOf(headers, 'connection').flatMap(value => value.toLowerCase().split(','))) {
    const name = option.trim();
    if (!NEVER_HOP_BY_HOP.has(name)) dropped.add(name);
  }
  return without(headers, name => HOP_BY_HOP.has(name) || dropped.has(name));
}

/** Headers without those whose lower-case name is refused. */
export function without(headers: readonly string[], refuse: (name: string) => boolean): string[] {
  const kept: string[] = [];
  for (let i = 0; i + 1 < headers.length; i += 2)
    if (!refuse(headers[i]!.toLowerCase())) kept.push(headers[i]!, headers[i + 1]!);
  return kept;
}

/** All values of one header. @param name lower case */
export function valuesOf(headers: readonly string[], name: string): string[] {
  const values: string[] = [];
  for (let i = 0; i + 1 < headers.length; i += 2)
    if (headers[i]!.length === name.length && headers[i]!.toLowerCase() === name)
      values.push(headers[i + 1]!);
  return values;
}

/** A response's head as bytes of HTTP/1.1, for responses that node does not write for us. */
export const responseHead = (status: number, reason: string, headers: readonly string[]): string =>
  `HTTP/1.1 ${status} ${reason}\r\n` +
  headers.map((text, i) => (i % 2 === 0 ? `${text}: ` : `${text}\r\n`)).join('') +
  '\r\n';
