/**
 * The way in for those who follow from elsewhere: TLS in which both sides prove who they are by certificates of our own
 * authority, the follower's saying which destination it is.
 */
import { constants } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { createServer, type TLSSocket } from 'node:tls';
import { type CertificateFiles, followCertificate } from '../../lib/certificate.ts';
import { closingAtOnce } from '../../lib/close-server.ts';
import { type Entrance, listenAt } from '../../lib/entrance.ts';
import { identityName } from '../../lib/identity.ts';
import type { Log } from '../../lib/log.ts';
import { OffshootError } from '../../model/errors.ts';
import type { Address } from '../../model/route.ts';
import { type Destination, destinationNamed } from './destinations.ts';
import { EXCHANGE } from './exchange.ts';

/** What it proves with who it is. */
export type DoorCertificate = {
  /** PEM */
  current(): { readonly cert: string; readonly key: string };
  /** Calls whenever there is another one; returns the way to stop that. */
  onChange(listener: () => void): () => void;
};

export type DoorOptions = Address & {
  /** Gives it its connections, instead of that address. */
  readonly entrance?: Entrance;
  readonly certificate: DoorCertificate;
  /** Certificates of the authorities that have made those of followers, PEM. */
  readonly authority: () => string;
  /** Answers those who have no certificate yet, see exchange.ts; absent: they are refused. */
  readonly exchange?: (socket: Socket) => void;
  readonly admit: (socket: Socket, destination: Destination) => void;
  readonly log: Log;
};

export type Door = Address & { close(): Promise<void> };

/** @throws OffshootError host/port-taken, proxy/listen-failed */
export async function openDoor({
  host,
  port,
  entrance,
  certificate,
  authority,
  admit,
  exchange,
  log,
}: DoorOptions): Promise<Door> {
  const context = () => ({
    ...certificate.current(),
    ca: authority(),
    minVersion: 'TLSv1.3' as const,
    // Each connection proves who it is; none goes on with what another one has proved.
    secureOptions: constants.SSL_OP_NO_TICKET,
  });
  const server = createServer(
    {
      ...context(),
      requestCert: true,
      rejectUnauthorized: exchange === undefined,
      ...(exchange && { ALPNProtocols: [EXCHANGE] }),
      handshakeTimeout: HANDSHAKE_MS,
      noDelay: true,
    },
    socket => {
      socket.on('error', () => {}); // "close" follows
      if (exchange !== undefined && socket.alpnProtocol === EXCHANGE) return exchange(socket);
      const name = provedName(socket);
      const destination = name === undefined ? undefined : destinationNamed(name);
      if (destination !== undefined) {
        endWithCertificate(socket);
        return admit(socket, destination);
      }
      log.warn({ name, peer: socket.remoteAddress }, 'nobody follows under this name');
      socket.destroy();
    },
  );
  server.maxConnections = MAX_PEERS;
  const close = closingAtOnce(server);
  server.on('tlsClientError', (error, socket) =>
    log.debug({ why: error.message, peer: socket.remoteAddress }, 'somebody could not prove who he is'),
  );
  const stopRenewing = certificate.onChange(() => server.setSecureContext(context()));
  const listening = await listenAt(server, entrance ?? { host, port }).catch(
    (cause: NodeJS.ErrnoException) => {
      stopRenewing();
      const code = cause.code === 'EADDRINUSE' ? 'host/port-taken' : 'proxy/listen-failed';
      throw new OffshootError(code, { host, port, what: 'followers', why: cause.code }, { cause });
    },
  );
  server.on('error', err => log.error({ err }, 'followers cannot connect'));
  return {
    ...{ host: listening.host, port: listening.port },
    async close() {
      stopRenewing();
      listening.leave();
      await close();
    },
  };
}

/** A certificate in files, which may be replaced. @throws when they cannot be read now */
export function fileCertificate(files: CertificateFiles): DoorCertificate {
  return {
    current: () => ({ cert: readFileSync(files.cert, 'utf8'), key: readFileSync(files.key, 'utf8') }),
    onChange(listener) {
      const following = followCertificate(files, {
        onChange: problem => problem === undefined && listener(),
      });
      return following.close;
    },
  };
}

// --- internal ---

const HANDSHAKE_MS = 10_000;
const LONGEST_TIMER_MS = 86_400_000;
/** Connections at once. */
const MAX_PEERS = 10_000;

/** @returns undefined for one whose certificate nobody vouches for, and one that has none */
function provedName(socket: TLSSocket): string | undefined {
  const certificate = socket.authorized ? socket.getPeerX509Certificate() : undefined;
  return certificate && identityName(certificate);
}

/** Who follows by a certificate that has ended comes again with the next one. */
function endWithCertificate(socket: TLSSocket): void {
  const endsAt = socket.getPeerX509Certificate()!.validToDate.getTime();
  let timer: NodeJS.Timeout;
  const look = () => {
    const leftMs = endsAt - Date.now();
    if (leftMs <= 0) socket.destroy();
    else timer = setTimeout(look, Math.min(leftMs, LONGEST_TIMER_MS)).unref();
  };
  look();
  socket.once('close', () => clearTimeout(timer));
}
