/** What a command gets: streams, environment, and the way to the API. Only main.ts makes the real one. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Client, type Connection, createClient } from '../client/index.ts';
import { type Config, readConfig } from '../config.ts';
import { OffshootError } from '../model/errors.ts';
import type { DaemonView } from '../model/view.ts';
import { clusterConnection } from './cluster.ts';

export type OutputFormat = 'text' | 'json' | 'yaml';

export type Cli = {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  readonly uid: number;
  /** Objects and values; what scripts read. */
  readonly stdout: NodeJS.WritableStream & {
    readonly isTTY?: boolean;
    readonly columns?: number;
    readonly rows?: number;
  };
  /** Progress and sentences; what people read. */
  readonly stderr: NodeJS.WritableStream & {
    readonly isTTY?: boolean;
    readonly columns?: number;
    readonly rows?: number;
  };
  readonly stdin: NodeJS.ReadableStream & { readonly isTTY?: boolean };
  /** Aborts on Ctrl-C: waiting ends, what was asked for stays. */
  readonly signal: AbortSignal;
  config(): Config;
  client(): Client;
};

/** Where a running daemon tells the command line of the same user how to reach it (mode 0600). */
export const clientFile = (home: string): string => join(home, 'client.json');

export type ClientFile = { readonly url: string; readonly apiKey: string; readonly pid: number };

export function readClientFile(home: string): ClientFile | undefined {
  try {
    return JSON.parse(readFileSync(clientFile(home), 'utf8')) as ClientFile;
  } catch {
    return undefined;
  }
}

export function createCli(parts: Omit<Cli, 'config' | 'client'>): Cli {
  let config: Config | undefined;
  let client: Client | undefined;
  const cli: Cli = {
    ...parts,
    config: () => (config ??= readConfig(parts.env, parts.uid)),
    client: () => (client ??= createClient(connectionOf(cli), cli.signal)),
  };
  return cli;
}

/**
 * The daemon of this data directory, whatever OFFSHOOT_API_URL and OFFSHOOT_API_KEY say.
 * @returns undefined when none answers there
 */
export async function localDaemon(cli: Cli): Promise<{ client: Client; status: DaemonView } | undefined> {
  const file = readClientFile(cli.config().home);
  if (file === undefined) return undefined;
  const client = createClient(file, cli.signal);
  try {
    const status = await client.status();
    return status.pid === file.pid ? { client, status } : undefined;
  } catch (error) {
    // Killed, and by now another program may have its port, even another daemon.
    const codes: readonly string[] = ['api/unreachable', 'api/unauthorized'];
    if (error instanceof OffshootError && codes.includes(error.code)) return undefined;
    throw error;
  }
}

// --- internal -----------------------------------------------------------------------------------

function connectionOf({ env, config }: Cli): Connection {
  if (env.OFFSHOOT_CONTEXT) return clusterConnection(env, env.OFFSHOOT_CONTEXT);
  const { home } = config();
  const file = readClientFile(home);
  const url = env.OFFSHOOT_API_URL || file?.url;
  if (url === undefined) {
    throw new OffshootError('api/unreachable', { url: `the address in ${clientFile(home)} (no such file)` });
  }
  if (!/^https?:\/\//.test(url) || !URL.canParse(url)) {
    const why = 'it must be a URL such as http://127.0.0.1:7400';
    throw new OffshootError('config/invalid', { name: 'OFFSHOOT_API_URL', value: url, why });
  }
  // Our daemon's key is nobody else's business.
  const apiKey = env.OFFSHOOT_API_KEY || (url === file?.url ? file.apiKey : undefined);
  if (apiKey === undefined)
    throw new OffshootError('api/unauthorized', { why: 'OFFSHOOT_API_KEY is not set' });
  if (!/^[\x21-\x7e]+$/.test(apiKey))
    throw new OffshootError('api/unauthorized', { why: 'OFFSHOOT_API_KEY holds characters that no key has' });
  return { url, apiKey, ...(env.OFFSHOOT_API_CA && { ca: readAuthority(env.OFFSHOOT_API_CA) }) };
}

/** @param file or the text itself */
function readAuthority(file: string): string {
  if (file.startsWith('-----BEGIN ')) return file;
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    const why = `it cannot be read (${(cause as NodeJS.ErrnoException).code})`;
    throw new OffshootError('config/invalid', { name: 'OFFSHOOT_API_CA', value: file, why }, { cause });
  }
}
