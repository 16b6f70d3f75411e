/** Which life of the machine this is: what was known of processes and addresses before means nothing in the next. */
import { readFileSync } from 'node:fs';
import { uptime } from 'node:os';

/** The same for as long as the machine runs, another one after the next start of it. */
export function bootId(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim(); // random(4)
  } catch {
    return `since ${Math.round((Date.now() / 1000 - uptime()) / 60)}`; // to the minute: clocks are set
  }
}
