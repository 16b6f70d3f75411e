/** HTTP for the demo, the tests and the benchmarks: `*.localhost` names lead to loopback whatever the machine's resolver thinks. */
import { request } from 'node:http';

export type Answer = {
  readonly status: number;
  readonly headers: NodeJS.Dict<string | string[]>;
  readonly body: string;
  readonly json: () => unknown;
};

/** @throws Error when nobody answers within 30 s */
export function http(
  url: string,
  options: {
    readonly method?: string;
    readonly headers?: Readonly<Record<string, string>>;
    readonly body?: unknown;
  } = {},
): Promise<Answer> {
  const { protocol, hostname, host, port, pathname, search } = new URL(url);
  if (protocol !== 'http:') throw new Error(`not an http URL: ${url}`);
  const local = hostname === 'localhost' || hostname.endsWith('.localhost');
  const body = options.body === undefined ? undefined : JSON.stringify(options.body);
  return new Promise((resolve, reject) => {
    const out = request(
      {
        host: local ? '127.0.0.1' : hostname,
        port: port || 80,
        method: options.method ?? 'GET',
        path: `${pathname}${search}`,
        headers: {
          host,
          ...(body !== undefined && { 'content-type': 'application/json' }),
          ...options.headers,
        },
        timeout: 30_000,
        agent: false,
      },
      response => {
        const chunks: Buffer[] = [];
        response.on('error', reject);
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('end', () => {
          const text = Buffer.concat(chunks).toString('utf8');
          resolve({
            status: response.statusCode ?? 0,
            headers: response.headers,
            body: text,
            json: () => JSON.parse(text),
          });
        });
      },
    );
    out.on('timeout', () => out.destroy(new Error(`no answer from ${url} within 30 s`)));
    out.on('error', reject);
    out.end(body);
  });
}
