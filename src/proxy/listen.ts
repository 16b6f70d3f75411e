/** How servers of the data path begin to listen: at an address, or on a socket that the proxy before us had open. */
import type { Server, Socket } from 'node:net';
import { OffshootError } from '../model/errors.ts';
import type { Address } from '../model/route.ts';

/** @throws OffshootError host/port-taken, proxy/listen-failed */
export function listen(
  server: Server,
  { host, port, fd }: Address & { readonly fd?: number | undefined },
  what: string,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const failed = (cause: NodeJS.ErrnoException) => {
      const code = cause.code === 'EADDRINUSE' ? 'host/port-taken' : 'proxy/listen-failed';
      reject(new OffshootError(code, { host, port, what, why: cause.code }, { cause }));
    };
    server.once('error', failed);
    server.listen(fd === undefined ? { host, port } : { fd }, () => {
      server.off('error', failed);
      resolve();
    });
  });
}

/**
 * The descriptor of a socket, e.g. of a listening one that is to be inherited by another process. Node has it, but does
 * not say so in its documentation; there is no other way to it.
 */
export function fdOf(socket: Server | Socket): number {
  const { fd } = (socket as unknown as { readonly _handle: { readonly fd: number } })._handle;
  return fd;
}
