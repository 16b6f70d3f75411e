/** Reads what a client says first, through TLS if it asks for that, until it is clear what it wants. */
import { once } from 'node:events';
import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import type { Certificate } from '../../lib/certificate.ts';
import { acceptTls } from '../../lib/tls-socket.ts';
import { OffshootError } from '../../model/errors.ts';
import { type Opening, parseOpening } from './codec.ts';

export type Opened = {
  readonly opening: Exclude<Opening, { kind: 'encryption' | 'tls' }>;
  /** What the client goes on with. */
  readonly client: Socket;
  /** What it was given when TLS began; undefined: it speaks clear text. */
  readonly certificate: Certificate | undefined;
  /** The host that it has gone to, if it says so by TLS (RFC 6066 §3). */
  readonly serverName: string | undefined;
};

/**
 * Each request for encryption is answered at most once, in any order ("SSL Session Encryption", "GSSAPI Session
 * Encryption": https://www.postgresql.org/docs/18/protocol-flow.html): TLS with "yes" when there is a certificate, all
 * others with "no". TLS may begin without a request. Whatever the client sends behind its startup message stays in
 * `client` to be read.
 * @param onSecure gets the socket on which the client goes on, as soon as it is clear that it will
 * @returns undefined when it began with TLS that is not served: no word of ours would be understood
 * @throws OffshootError gateway/bad-startup, gateway/unsupported-protocol; AbortError.
 */
export async function readOpening(
  raw: Socket,
  certificate: Certificate | undefined,
  onSecure: (secure: Socket) => void,
  signal: AbortSignal,
): Promise<Opened | undefined> {
  const answered = new Set<string>();
  let client = raw;
  let secure: TLSSocket | undefined;
  const begin = async (alpn: 'asked' | 'must') => {
    secure = await encrypt(raw, certificate!, alpn, onSecure, signal);
    client = secure;
  };
  let bytes = await readSome(client, signal);
  for (;;) {
    const parsed = parseOpening(bytes);
    if (parsed === undefined) {
      bytes = Buffer.concat([bytes, await readSome(client, signal)]);
      continue;
    }
    const { opening, size } = parsed;
    if (opening.kind === 'tls') {
      if (secure !== undefined || answered.has('SSL') || certificate === undefined) return undefined;
      client.unshift(bytes);
      await begin('must');
      bytes = await readSome(client, signal);
      continue;
    }
    if (opening.kind !== 'encryption') {
      if (bytes.length > size) client.unshift(bytes.subarray(size));
      return {
        ...{ opening, client },
        certificate: secure && certificate,
        serverName: secure?.servername || undefined,
      };
    }
    const { method } = opening;
    if (secure !== undefined) throw bad(`a ${method} request inside of TLS`);
    if (answered.has(method)) throw bad(`a second ${method} request`);
    // A client waits for the answer. Bytes that are here already were put in by somebody in the middle, hoping
    // that they are taken for encrypted ones (CVE-2021-23222).
    if (bytes.length > size) throw bad(`data directly behind the ${method} request`);
    answered.add(method);
    const yes = method === 'SSL' && certificate !== undefined;
    client.write(yes ? 'S' : 'N');
    if (yes) await begin('asked');
    bytes = await readSome(client, signal);
  }
}

// --- internal ------------------------------------------------------------------------------------

const bad = (why: string) => new OffshootError('gateway/bad-startup', { why });

/** "SSL Session Encryption": so that nobody leads a client of another protocol here (ALPACA). */
const PROTOCOL = 'postgresql';

/** @param alpn must: TLS that began without a request has to name the protocol */
async function encrypt(
  raw: Socket,
  { context }: Certificate,
  alpn: 'asked' | 'must',
  onSecure: (secure: Socket) => void,
  signal: AbortSignal,
): Promise<TLSSocket> {
  const secure = await new Promise<TLSSocket>((resolve, reject) => {
    const stop = () => {
      signal.removeEventListener('abort', stop);
      socket.destroy(); // nothing can be said before the handshake is done
      reject(signal.aborted ? signal.reason : bad('the TLS handshake failed'));
    };
    signal.addEventListener('abort', stop);
    const socket = acceptTls(raw, { secureContext: context, ALPNProtocols: [PROTOCOL] }, secured => {
      signal.removeEventListener('abort', stop);
      resolve(secured);
    });
    socket.once('close', stop);
    onSecure(socket);
  });
  if (alpn === 'must' && secure.alpnProtocol !== PROTOCOL)
    throw bad('TLS without a request has to name its protocol (ALPN "postgresql")');
  return secure;
}

/** Waits for 'readable', not for 'data': what is not read stays in the socket, and its end is still seen. */
async function readSome(client: Socket, signal: AbortSignal): Promise<Buffer> {
  for (;;) {
    const bytes: Buffer | null = client.read();
    if (bytes !== null) return bytes;
    await once(client, 'readable', { signal });
  }
}
