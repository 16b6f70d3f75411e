/** Connections through the proxy, of each kind one that asks again and again who is at its other end. */
import { once } from 'node:events';
import { Agent, type IncomingMessage, request } from 'node:http';
import { createInterface } from 'node:readline';
import pg from 'pg';
import { WebSocket } from 'ws';

/** An open connection. All of it rejects once it is cut. */
export type Link = {
  /** Who is at the other end. */
  ask(): Promise<string>;
  close(): void;
};

export const kinds = ['http', 'stream', 'websocket', 'sql'] as const;
export type LinkKind = (typeof kinds)[number];

/** Milliseconds that an answer may take: longer than it takes to start what sleeps, on a machine that is busy. */
const deadlineMs = 20_000;

/** One connection, many requests. */
export async function openHttp(url: string, headers: Readonly<Record<string, string>>): Promise<Link> {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  let first = true;
  return {
    async ask() {
      const out = request(url, { agent, headers, timeout: deadlineMs });
      out.on('timeout', () => out.destroy(new Error('no answer in time')));
      out.end();
      const [response] = (await once(out, 'response')) as [IncomingMessage];
      const body = await text(response);
      if (!first && !out.reusedSocket) throw new Error('it is another connection');
      first = false;
      return response.statusCode === 200 ? body : `${response.statusCode} ${body}`;
    },
    close: () => agent.destroy(),
  };
}

/** One answer that does not end: a line for each question. */
export async function openStream(url: string, headers: Readonly<Record<string, string>>): Promise<Link> {
  const out = request(`${url}/lines`, { agent: false, headers, timeout: deadlineMs });
  out.on('error', () => {}); // before the answer `once` hears it, after it the lines end
  out.on('timeout', () => out.destroy(new Error('no line in time')));
  out.end();
  const [response] = (await once(out, 'response')) as [IncomingMessage];
  response.on('error', () => {});
  if (response.statusCode !== 200) {
    const body = await text(response);
    return { ask: async () => `${response.statusCode} ${body}`, close: () => out.destroy() };
  }
  const lines = createInterface({ input: response })[Symbol.asyncIterator]();
  return {
    async ask() {
      const { value, done } = await lines.next();
      if (done) throw new Error('the answer has ended');
      return value;
    },
    close: () => out.destroy(),
  };
}

export async function openWebSocket(url: string, headers: Readonly<Record<string, string>>): Promise<Link> {
  const socket = new WebSocket(url.replace('http:', 'ws:'), { headers, handshakeTimeout: deadlineMs });
  const gone = new AbortController();
  socket.on('error', () => {}); // "close" follows
  socket.on('close', code => gone.abort(new Error(`the WebSocket was closed with ${code}`)));
  await once(socket, 'open', { signal: gone.signal });
  return {
    async ask() {
      const answer = once(socket, 'message', { signal: within(gone.signal) });
      socket.send('who are you?');
      const [message] = (await answer) as [Buffer];
      return String(message);
    },
    close: () => socket.terminate(),
  };
}

/** The branch tells its name, and keeps a row for each question that it answered. */
export async function openSql(
  connectionString: string,
  row: { next(): number; acknowledged(n: number): void },
): Promise<Link> {
  const session = new pg.Client({
    ...{ connectionString, query_timeout: deadlineMs, connectionTimeoutMillis: deadlineMs },
  });
  session.on('error', () => {}); // the next query hears of it
  try {
    await session.connect();
  } catch (error) {
    session.end().catch(() => {});
    throw error;
  }
  return {
    async ask() {
      const n = row.next();
      const { rows } = await session.query('INSERT INTO kept SELECT $1, name FROM who RETURNING name', [n]);
      row.acknowledged(n);
      return rows[0]?.name ?? 'nobody';
    },
    close: () => void session.end().catch(() => {}),
  };
}

/** One request on a connection of its own. @throws Error when there is no answer */
export async function askOnce(
  url: string,
  headers: Readonly<Record<string, string>>,
): Promise<{ readonly status: number; readonly body: string }> {
  const { hostname, port } = new URL(url);
  const local = hostname.endsWith('.localhost');
  const out = request(url, {
    ...{ agent: false, timeout: deadlineMs },
    ...(local && { hostname: '127.0.0.1' }),
    headers: { ...headers, ...(local && { host: `${hostname}:${port}` }) },
  });
  out.on('timeout', () => out.destroy(new Error('no answer in time')));
  out.end();
  const [response] = (await once(out, 'response')) as [IncomingMessage];
  return { status: response.statusCode ?? 0, body: await text(response) };
}

// --- internal -----------------------------------------------------------------------------------

async function text(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString('utf8');
}

const within = (signal: AbortSignal): AbortSignal =>
  AbortSignal.any([signal, AbortSignal.timeout(deadlineMs)]);
