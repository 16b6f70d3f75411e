/**
 * "Any free port" (0) means the same one at the next start: connection strings and URLs that were given out
 * must go on working after a restart.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';

export type Ports = { readonly api: number; readonly http: number; readonly postgres: number };

const fileOf = (home: string): string => join(home, 'ports.json');

/** `wanted` with every 0 replaced by the port of the last start, if that is still free. */
export async function withRememberedPorts(home: string, host: string, wanted: Ports): Promise<Ports> {
  const last = read(home);
  const choose = async (name: keyof Ports) =>
    wanted[name] === 0 && last?.[name] !== undefined && (await isFree(host, last[name]))
      ? last[name]
      : wanted[name];
  return { api: await choose('api'), http: await choose('http'), postgres: await choose('postgres') };
}

export const rememberPorts = (home: string, ports: Ports): void =>
  writeFileSync(fileOf(home), `${JSON.stringify(ports)}\n`, { mode: 0o600 });

// --- internal -----------------------------------------------------------------------------------

function read(home: string): Partial<Ports> | undefined {
  try {
    return JSON.parse(readFileSync(fileOf(home), 'utf8')) as Partial<Ports>;
  } catch {
    return undefined; // the first start
  }
}

function isFree(host: string, port: number): Promise<boolean> {
  return new Promise(resolve => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, host, () => server.close(() => resolve(true)));
  });
}
