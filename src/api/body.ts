/** Bodies of requests: read whole, as long as they may be and no longer. */
import type { IncomingMessage } from 'node:http';
import { OffshootError } from '../model/errors.ts';

/**
 * @param limit bytes
 * @returns undefined when there is none
 * @throws OffshootError api/bad-request
 */
export async function readBody(request: IncomingMessage, limit: number): Promise<Buffer | undefined> {
  const { 'content-type': type, 'content-length': length, 'transfer-encoding': coding } = request.headers;
  if (type === undefined && coding === undefined && Number(length ?? 0) === 0) return undefined;
  if (!/^application\/json\s*(;|$)/i.test(type ?? ''))
    throw refused(
      `Unsupported Media Type: the body must be application/json, not ${type ?? 'without a type'}`,
    );
  if (Number(length ?? 0) > limit) throw tooLarge(limit);
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    for await (const chunk of request.iterator({ destroyOnReturn: false })) {
      size += (chunk as Buffer).length;
      if (size > limit) throw tooLarge(limit);
      chunks.push(chunk as Buffer);
    }
  } finally {
    request.resume(); // who is still sending would not see the answer
  }
  return Buffer.concat(chunks);
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
