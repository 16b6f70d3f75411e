/** What a kubelet asks: whether this process is alive, and whether it does its work. Clear text, and nothing else to be had there. */
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { createServer } from '../lib/http.ts';
import { OffshootError } from '../model/errors.ts';
import type { Address } from '../model/route.ts';

export type Probes = Address & { close(): Promise<void> };

/**
 * Answers `/livez` always, and `/readyz` by 200 when `missing` names nothing, else by 503 and what it names, a sentence a line.
 * @throws OffshootError host/port-taken
 */
export async function answerProbes(
  { host, port }: Address,
  missing: () => readonly string[],
): Promise<Probes> {
  const server = createServer({ requestTimeout: 10_000 }, ({ url = '' }, response) => {
    response.on('error', () => {}); // who asked has left
    const lacks = url === '/readyz' ? missing() : [];
    const status = url !== '/livez' && url !== '/readyz' ? 404 : lacks.length > 0 ? 503 : 200;
    response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8' });
    response.end(status === 200 ? 'ok\n' : lacks.map(line => `${line}\n`).join(''));
  });
  server.listen({ host, port });
  try {
    await once(server, 'listening');
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw cause;
    throw new OffshootError('host/port-taken', { host, port, what: 'probes' }, { cause });
  }
  return {
    ...{ host, port: (server.address() as AddressInfo).port },
    async close() {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}
