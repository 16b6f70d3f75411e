/** Loopback ports for processes. */
import { randomInt } from 'node:crypto';
import { createServer } from 'node:net';

export type PortChooser = {
  /** The port of an earlier life when nobody took it meanwhile, otherwise one that is free now. */
  choose(earlier: number | undefined): Promise<number>;
  /** It belongs to somebody who may be listening on it. */
  keep(port: number): void;
  release(port: number): void;
};

/**
 * Below the ports that kernels give to whoever asks for any (Linux: from 32768, ip(7); others: from 49152), so
 * that nobody gets the port of a process that is just being started again.
 */
const range = { first: 20_000, end: 32_000 };

/**
 * A port is free when we can listen on it; it is taken by its process only some milliseconds later, so what
 * was given out is also remembered here and never given out twice.
 */
export function portChooser(): PortChooser {
  const given = new Set<number>();
  return {
    async choose(earlier) {
      if (earlier !== undefined) {
        given.add(earlier);
        if (await isFree(earlier)) return earlier;
        given.delete(earlier);
      }
      for (;;) {
        const port = randomInt(range.first, range.end);
        if (given.has(port) || !(await isFree(port)) || given.has(port)) continue;
        given.add(port);
        return port;
      }
    },
    keep(port) {
      given.add(port);
    },
    release(port) {
      given.delete(port);
    },
  };
}

// --- internal -----------------------------------------------------------------------------------

/** Listens on 127.0.0.1:`port` for a moment. */
function isFree(port: number): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', (error: NodeJS.ErrnoException) =>
      error.code === 'EADDRINUSE' ? resolve(false) : reject(error),
    );
    server.listen({ host: '127.0.0.1', port, exclusive: true }, () => server.close(() => resolve(true)));
  });
}
