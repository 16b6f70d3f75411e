/** Loopback ports for processes. */
import { createServer } from 'node:net';

export type PortChooser = {
  /** The port of an earlier life when nobody took it meanwhile, otherwise one that is free now. */
  choose(earlier: number | undefined): Promise<number>;
  release(port: number): void;
};

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
        if ((await listenOnce(earlier)) !== undefined) return earlier;
        given.delete(earlier);
      }
      for (;;) {
        const port = await listenOnce(0);
        if (port === undefined || given.has(port)) continue;
        given.add(port);
        return port;
      }
    },
    release(port) {
      given.delete(port);
    },
  };
}

// --- internal -----------------------------------------------------------------------------------

/** Listens on 127.0.0.1:`port` for a moment. @returns the port, or undefined when it is taken. */
function listenOnce(port: number): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', (error: NodeJS.ErrnoException) =>
      error.code === 'EADDRINUSE' ? resolve(undefined) : reject(error),
    );
    server.listen({ host: '127.0.0.1', port, exclusive: true }, () => {
      const address = server.address() as { port: number };
      server.close(() => resolve(address.port));
    });
  });
}
