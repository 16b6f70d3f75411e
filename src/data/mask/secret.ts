/**
 * What a mask draws from: bytes that depend on a value, the rule and the secret of a project, and on nothing else. They are
 * SHA-256 of all three, of which at most half ever shows, so nobody computes it of a longer value without the secret.
 */
import { hash } from 'node:crypto';

export type Draw = {
  /** 32 characters, a byte each. @param tag which rule asks */
  digest(tag: string, value: string): string;
};

/** @param secret at least 32 bytes, in base64 */
export function drawWith(secret: string): Draw {
  const key = Buffer.from(secret, 'base64');
  if (key.length < SECRET_BYTES) throw new TypeError('the secret of a mask is too short');
  let scratch = Buffer.alloc(1024);
  key.copy(scratch);
  return {
    digest(tag, value) {
      const most = key.length + TAG_BYTES + 3 * value.length;
      if (most > scratch.length) {
        scratch = Buffer.alloc(2 * most);
        key.copy(scratch);
      }
      scratch.fill(0, key.length, key.length + TAG_BYTES);
      scratch.write(tag, key.length, TAG_BYTES, 'latin1');
      const end = key.length + TAG_BYTES + scratch.write(value, key.length + TAG_BYTES, 'utf8');
      const digest = hash('sha256', scratch.subarray(0, end), 'binary');
      if (scratch.length > KEPT_BYTES) {
        scratch = Buffer.alloc(1024);
        key.copy(scratch);
      }
      return digest;
    },
  };
}

export const SECRET_BYTES = 32;

// --- internal -----------------------------------------------------------------------------------

/** Longer than the name of any rule. */
const TAG_BYTES = 16;
/** Of what one long value needed, no more is kept. */
const KEPT_BYTES = 1 << 20;
