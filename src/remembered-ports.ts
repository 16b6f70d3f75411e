/**
 * "Any free port" (0) means the same one at the next start: connection strings and URLs that were given out
 * must go on working after a restart.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';

export type Ports = { readonly api: number; readonly http: number; readonly postgres: number };

/** Those of the last start. */
export function rememberedPorts(home: string): Partial<Ports> {
  try {
    return JSON.parse(readFileSync(fileOf(home), 'utf8')) as Partial<Ports>;
  } catch {
    return {}; // the first start
  }
}

export const rememberPorts = (home: string, ports: Ports): void =>
  writeFileSync(fileOf(home), `${JSON.stringify(ports)}\n`, { mode: 0o600 });

/** `wanted`, or for 0 the port of the last start, if that is still free. */
export async function freePort(host: string, wanted: number, last: number | undefined): Promise<number> {
  return wanted === 0 && last !== undefined && (await isFree(host, last)) ? last : wanted;
}

/** Whether nobody listens there now. */
export function isFree(host: string, port: number): Promise<boolean> {
  return new Promise(resolve => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, host, () => server.close(() => resolve(true)));
  });
}

// --- internal -----------------------------------------------------------------------------------

const fileOf = (home: string): string => join(home, 'ports.json');
