import { createServer } from 'node:net';

/** `port` when nobody listens there, otherwise "0" (any free one). */
export function freeOr(port: number): Promise<string> {
  return new Promise(resolve => {
    const server = createServer();
    server.once('error', () => resolve('0'));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(String(port))));
  });
}
