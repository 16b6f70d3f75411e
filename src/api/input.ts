/** Bodies and query strings, checked at the edge. */
import { z } from 'zod';
import { OffshootError } from '../model/errors.ts';

/** @throws OffshootError api/bad-request naming the first field that is wrong */
export function checked<T>(schema: z.ZodType<T>, value: unknown): T {
  const result = schema.safeParse(value ?? {});
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  const where = issue!.path.length > 0 ? `${issue!.path.join('.')}: ` : '';
  throw new OffshootError('api/bad-request', { why: `${where}${issue!.message}` });
}

/** @throws OffshootError api/bad-request */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new OffshootError('api/bad-request', { why: 'the body is not JSON' });
  }
}

/** `?force=true` and its like. */
export const flag = z
  .enum(['true', 'false', ''])
  .optional()
  .transform(v => v === 'true' || v === '');
