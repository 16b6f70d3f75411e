/**
 * The way in for those who follow from elsewhere: TLS in which both sides prove who they are by certificates of our own
 * authority, the follower's saying which destination it is.
 */
import type { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import type { AddressInfo, Socket } from 'node:net';
import { createServer } from 'node:tls';
import { type CertificateFiles, followCertificate } from '../../lib/certificate.ts';
import { identityName } from '../../lib/identity.ts';
import type { Log } from '../../lib/log.ts';
import { OffshootError } from '../../model/errors.ts';
import type { Address } from '../../model/route.ts';
import { type Destination, destinationNamed } from './destinations.ts';

export type DoorOptions = Address & {
  /** Our own certificate. */
  readonly files: CertificateFiles;
  /** Certificate of the authority that has made those of followers, PEM. */
  readonly authority: () => string;
  readonly admit: (socket: Socket, destination: Destination) => void;
  readonly log: Log;
};

export type Door = Address & { close(): Promise<void> };

/** @throws OffshootError host/port-taken, proxy/listen-failed */
export async function openDoor({ host, port, files, authority, admit, log }: DoorOptions): Promise<Door> {
  const sockets = new Set<Socket>();
  const context = () => ({
    cert: readFileSync(files.cert),
    key: readFileSync(files.key),
    ca: authority(),
    minVersion: 'TLSv1.3' as const,
  });
  const server = createServer(
    {
      ...context(),
      requestCert: true,
      rejectUnauthorized: true,
      handshakeTimeout: HANDSHAKE_MS,
      noDelay: true,
    },
    socket => {
      socket.on('error', () => {}); // "close" follows
      const name = nameOf(socket.getPeerX509Certificate());
      const destination = name === undefined ? undefined : destinationNamed(name);
      if (destination !== undefined) return admit(socket, destination);
      log.warn({ name, peer: socket.remoteAddress }, 'nobody follows under this name');
      socket.destroy();
    },
  );
  server.maxConnections = MAX_PEERS;
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  server.on('tlsClientError', (error, socket) =>
    log.debug({ why: error.message, peer: socket.remoteAddress }, 'somebody could not prove who he is'),
  );
  const renewing = followCertificate(files, {
    onChange: problem => problem === undefined && server.setSecureContext(context()),
  });
  server.listen({ host, port });
  await once(server, 'listening').catch((cause: NodeJS.ErrnoException) => {
    renewing.close();
    const code = cause.code === 'EADDRINUSE' ? 'host/port-taken' : 'proxy/listen-failed';
    throw new OffshootError(code, { host, port, what: 'followers', why: cause.code }, { cause });
  });
  server.on('error', err => log.error({ err }, 'followers cannot connect'));
  return {
    ...{ host, port: (server.address() as AddressInfo).port },
    async close() {
      renewing.close();
      const closed = once(server, 'close');
      server.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

// --- internal ---

const HANDSHAKE_MS = 10_000;
/** Connections at once. */
const MAX_PEERS = 10_000;

const nameOf = (certificate: X509Certificate | undefined): string | undefined =>
  certificate && identityName(certificate);
