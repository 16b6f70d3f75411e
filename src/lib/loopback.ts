/** Loopback addresses of our own: all of 127.0.0.0/8 is local on Linux, so every service can have its own IP and keep its port. */
import { createHash } from 'node:crypto';

/** Of this the addresses are. */
export const loopbackRange = '127.77.0.0/16';

/** The `attempt`-th address for `key` in 127.77.0.0/16, always the same ones in the same order. */
export function loopbackFor(key: string, attempt = 0): string {
  const [a = 0, b = 0] = createHash('sha256').update(`${key}\0${attempt}`).digest();
  return `127.77.${a}.${Math.max(1, Math.min(254, b))}`;
}
