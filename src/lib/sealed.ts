/**
 * Text that passes through somebody's log: encrypted and authenticated (AES-256-GCM), in short lines of letters, with an
 * end that says how many there are. So whoever keeps the log learns nothing, and half of it is known for what it is.
 */
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';

/** A new key, in base64. */
export const newSealKey = (): string => randomBytes(KEY_BYTES).toString('base64');

/** @param key of `newSealKey` */
export function seal(key: string, text: string): readonly string[] {
  const iv = randomBytes(IV_BYTES);
  const cipher = createCipheriv('aes-256-gcm', Buffer.from(key, 'base64'), iv);
  const sealed = Buffer.concat([cipher.update(text, 'utf8'), cipher.final()]);
  const letters = Buffer.concat([iv, cipher.getAuthTag(), sealed]).toString('base64');
  const parts = letters.match(new RegExp(`.{1,${LINE}}`, 'g'))!;
  return [...parts.map(part => `${MARK} ${part}`), `${MARK}-end ${parts.length}`];
}

/** @returns undefined while it is not complete. @throws when it was made by another key, or changed */
export function unseal(key: string, lines: Iterable<string>): string | undefined {
  let parts: string[] = [];
  for (const line of lines) {
    const [mark, part = ''] = line.split(' ');
    if (mark === MARK) parts.push(part);
    if (mark !== `${MARK}-end`) continue;
    // Who was started again begins again.
    if (parts.length === Number(part)) return opened(key, Buffer.from(parts.join(''), 'base64'));
    parts = [];
  }
  return undefined;
}

// --- internal -----------------------------------------------------------------------------------

const MARK = 'offshoot-sealed';
/** Characters. A container runtime cuts lines at 16 KiB. */
const LINE = 8_000;
const [KEY_BYTES, IV_BYTES, TAG_BYTES] = [32, 12, 16] as const;

function opened(key: string, bytes: Buffer): string {
  const iv = bytes.subarray(0, IV_BYTES);
  const decipher = createDecipheriv('aes-256-gcm', Buffer.from(key, 'base64'), iv);
  decipher.setAuthTag(bytes.subarray(IV_BYTES, IV_BYTES + TAG_BYTES));
  return decipher.update(bytes.subarray(IV_BYTES + TAG_BYTES), undefined, 'utf8') + decipher.final('utf8');
}
