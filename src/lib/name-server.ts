/** Whom this machine asks for names (resolv.conf(5)). */
import { readFileSync } from 'node:fs';

/** The first IPv4 name server of the machine, as of now; that of the machine itself when the file names none. */
export function nameServer(file = '/etc/resolv.conf'): string {
  try {
    const [, found] = /^\s*nameserver\s+(\d+\.\d+\.\d+\.\d+)/m.exec(readFileSync(file, 'utf8')) ?? [];
    return found ?? OWN;
  } catch {
    return OWN;
  }
}

// --- internal -----------------------------------------------------------------------------------

const OWN = '127.0.0.1';
