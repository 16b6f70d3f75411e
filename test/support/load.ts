/** Clients that never stop asking, and note everything that goes wrong. */
import { Agent, type IncomingMessage, request } from 'node:http';
import { text } from 'node:stream/consumers';

export type Way = {
  readonly name: string;
  readonly url: string;
  readonly headers?: Readonly<Record<string, string>>;
};

export type Load = {
  /** What was answered, by way: every body once, in the order in which they were seen first. */
  readonly seen: Readonly<Record<string, readonly string[]>>;
  /** How many requests were answered as they should be. */
  answered(): number;
  /** How often they were not, by what happened, e.g. `web, kept: 503 …`. */
  readonly failures: Readonly<Record<string, number>>;
  stop(): Promise<void>;
};

/** Two clients for each way: one asks on a connection that it keeps, the other on a new one each time. */
export function startLoad(ways: readonly Way[]): Load {
  const seen: Record<string, string[]> = Object.fromEntries(ways.map(({ name }) => [name, []]));
  const failures: Record<string, number> = {};
  let answered = 0;
  let stopped = false;

  const client = async ({ name, url, headers = {} }: Way, agent: Agent | undefined): Promise<void> => {
    const how = agent === undefined ? 'new' : 'kept';
    while (!stopped) {
      try {
        const response = await askOnce(url, headers, agent);
        const body = await text(response);
        if (response.statusCode !== 200) throw new Error(`${response.statusCode} ${body}`);
        answered++;
        if (!seen[name]!.includes(body)) seen[name]!.push(body);
      } catch (error) {
        const what = `${name}, ${how}: ${(error as Error).message}`;
        failures[what] = (failures[what] ?? 0) + 1;
      }
      await new Promise(resolve => setTimeout(resolve, PAUSE_MS));
    }
    agent?.destroy();
  };

  const clients = ways.flatMap(way => [
    client(way, undefined),
    client(way, new Agent({ keepAlive: true, maxSockets: 1 })),
  ]);
  return {
    ...{ seen, failures, answered: () => answered },
    async stop() {
      stopped = true;
      await Promise.all(clients);
    },
  };
}

// --- internal ---

const PAUSE_MS = 5;
const DEADLINE_MS = 60_000;

/** Names below `localhost` lead to loopback. */
function askOnce(
  url: string,
  headers: Readonly<Record<string, string>>,
  agent: Agent | undefined,
): Promise<IncomingMessage> {
  const { hostname, host, port, pathname } = new URL(url);
  return new Promise((resolve, reject) => {
    const asked = request({
      host: hostname.endsWith('localhost') ? '127.0.0.1' : hostname,
      ...{ port: port || 80, path: pathname, headers: { host, ...headers } },
      ...{ agent: agent ?? false, signal: AbortSignal.timeout(DEADLINE_MS) },
    });
    asked.once('response', resolve).once('error', reject);
    asked.end();
  });
}
