/**
 * What pods read as /etc/resolv.conf (resolv.conf(5)). A name server at a loopback address of this machine is none of a
 * pod's; systemd-resolved, which is mostly the one, says in a file of its own whom it asks itself.
 */
import { readFileSync, writeFileSync } from 'node:fs';

export const machineFiles = ['/etc/resolv.conf', '/run/systemd/resolve/resolv.conf'] as const;

/**
 * The first of `files` that names a server that pods reach, without those that they do not.
 * @param instead the one server that they reach: it asks for them whom this machine asks
 * @returns `same`: as it is; undefined: there is none
 */
export function podResolvConf(
  files: readonly string[],
  instead?: string,
): { readonly text: string; readonly same: boolean } | undefined {
  if (instead !== undefined) {
    const others = textOf(files[0] ?? '')
      .split('\n')
      .filter(line => !isServer(line));
    return { text: [`nameserver ${instead}`, ...others].join('\n'), same: false };
  }
  for (const file of files) {
    const lines = textOf(file).split('\n');
    const servers = lines.filter(isServer);
    const reached = servers.filter(line => !LOOPBACK.test(line));
    if (reached.length === 0) continue;
    const same = file === files[0] && reached.length === servers.length;
    return { text: lines.filter(line => !isServer(line) || reached.includes(line)).join('\n'), same };
  }
  return undefined;
}

/** In place, because pods see the file through a mount of exactly this inode. */
export function writeResolvConf(path: string, text: string): void {
  if (textOf(path) !== text) writeFileSync(path, text, { mode: 0o644 });
}

// --- internal -----------------------------------------------------------------------------------

const isServer = (line: string): boolean => /^\s*nameserver\s/.test(line);
const LOOPBACK = /^\s*nameserver\s+(127\.|::1\b)/;

function textOf(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}
