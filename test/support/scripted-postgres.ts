/** A server on loopback that lets everybody in, and then says what it is told to: what no PostgreSQL would say. */
import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { authenticationOk, backendKeyData, readyForQuery } from './pg-frames.ts';

export type ScriptedPostgres = AsyncDisposable & { readonly port: number };

/** @param answer called with each piece that comes after the login. Whoever leaves is not let go by it. */
export async function scriptedPostgres(
  answer: (client: Socket, piece: Buffer) => void,
): Promise<ScriptedPostgres> {
  const clients = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, client => {
    clients.add(client);
    client.on('error', () => {});
    client.on('close', () => clients.delete(client));
    client.once('data', () => {
      client.write(
        Buffer.concat([authenticationOk(), backendKeyData(1, Buffer.from('abcd')), readyForQuery()]),
      );
      client.on('data', piece => answer(client, piece));
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      for (const client of clients) client.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}
