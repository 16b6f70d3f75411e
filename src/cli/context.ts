/** What a command gets: streams, environment, and the way to the API. Only main.ts makes the real one. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Client, createClient } from '../client/index.ts';
import { type Config, readConfig } from '../config.ts';
import { OffshootError } from '../model/errors.ts';

export type OutputFormat = 'text' | 'json' | 'yaml';

export type Cli = {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  readonly uid: number;
  /** Objects and values; what scripts read. */
  readonly stdout: NodeJS.WritableStream & { readonly isTTY?: boolean };
  /** Progress and sentences; what people read. */
  readonly stderr: NodeJS.WritableStream & { readonly isTTY?: boolean; readonly columns?: number };
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
    client: () => (client ??= createClient(connectionOf(cli))),
  };
  return cli;
}

// --- internal -----------------------------------------------------------------------------------

function connectionOf({ env, config }: Cli) {
  const file = readClientFile(config().home);
  const url = env.OFFSHOOT_API_URL || file?.url;
  const apiKey = env.OFFSHOOT_API_KEY || file?.apiKey;
  if (url === undefined) {
    throw new OffshootError('api/unreachable', {
      url: `the address in ${clientFile(config().home)} (no such file)`,
    });
  }
  if (apiKey === undefined)
    throw new OffshootError('api/unauthorized', { why: 'OFFSHOOT_API_KEY is not set' });
  return { url, apiKey };
}
