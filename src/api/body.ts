/** Bodies of requests: read whole, as long as they may be and no longer. */
import type { IncomingMessage } from 'node:http';
import { OffshootError } from '../model/errors.ts';

/**
 * @param limit bytes
 * @param kind of media that it must be
 * @returns undefined when there is none
 * @throws OffshootError api/bad-request
 */
export async function readBody(
  request: IncomingMessage,
  limit: number,
  kind: 'application/json' | 'application/octet-stream' = 'application/json',
): Promise<Buffer | undefined> {
  const { 'content-type': type, 'content-length': length, 'transfer-encoding': coding } = request.headers;
  if (type === undefined && coding === undefined && Number(length ?? 0) === 0) return undefined;
  if ((type ?? '').split(';')[0]!.trim().toLowerCase() !== kind)
    throw refused(`Unsupported Media Type: the body must be ${kind}, not ${type ?? 'without a type'}`);
  if (Number(length ?? 0) > limit) throw tooLarge(limit);
  // Room for what is announced comes first: to put much together in one go would keep everybody waiting.
  let bytes = Buffer.allocUnsafeSlow(Number(length ?? 0));
  let size = 0;
  try {
    for await (const chunk of request.iterator({ destroyOnReturn: false })) {
      const part = chunk as Buffer;
      const needed = size + part.length;
      if (needed > limit) throw tooLarge(limit);
      if (needed > bytes.length) bytes = Buffer.concat([bytes], Math.min(limit, Math.max(needed, 2 * size)));
      part.copy(bytes, size);
      size = needed;
    }
  } finally {
    request.resume(); // who is still sending would not see the answer
  }
  return size === bytes.length ? bytes : bytes.subarray(0, size);
}

/** @throws OffshootError api/bad-request */
export function readJson(bytes: Buffer): unknown {
  if (bytes.length === 0) throw refused('Body cannot be empty when its type is application/json');
  let value: unknown;
  try {
    value = JSON.parse(bytes.toString('utf8'));
  } catch {
    throw refused('Body is not valid JSON');
  }
  if (changesPrototypes(value)) throw refused('Body is not valid JSON for us: it names __proto__');
  return value;
}

// --- internal -----------------------------------------------------------------------------------

const refused = (why: string) => new OffshootError('api/bad-request', { why });
const tooLarge = (limit: number) => refused(`Request body is too large: at most ${limit} bytes`);

/** Whether merging it into another object could change what all objects have. It may be nested deeper than a stack. */
function changesPrototypes(value: unknown): boolean {
  const waiting = [value];
  while (waiting.length > 0) {
    const next = waiting.pop();
    if (typeof next !== 'object' || next === null) continue;
    if (Object.hasOwn(next, '__proto__')) return true;
    for (const inner of Object.values(next)) if (typeof inner === 'object') waiting.push(inner);
  }
  return false;
}
