/** Certificates and keys that servers are given as files: read, checked before use, and followed while they change. */
import { createHash, createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { closeSync, fstatSync, openSync, readFileSync, type Stats, statSync } from 'node:fs';
import { createSecureContext, type SecureContext } from 'node:tls';

export type CertificateFiles = {
  /** The server's certificate, then those that lead to its authority; PEM. */
  readonly cert: string;
  /** Its key, unencrypted; PEM. May be the same file. */
  readonly key: string;
};

export type Certificate = {
  readonly leaf: X509Certificate;
  readonly context: SecureContext;
  /** RFC 5929 §4.1, `tls-server-end-point`: what a client compares which binds a login to this connection. */
  readonly endPoint: Buffer;
};

/** Why files cannot be used. The sentence names files, and holds nothing of what is in them. */
export class CertificateError extends Error {
  readonly file: string;
  readonly why: string;

  constructor(file: string, why: string, options?: ErrorOptions) {
    super(`${file}: ${why}`, options);
    this.name = 'CertificateError';
    this.file = file;
    this.why = why;
  }
}

/** @param now milliseconds since 1970. @throws CertificateError */
export function loadCertificate(files: CertificateFiles, now: number): Certificate {
  const cert = readPem(files.cert);
  const key = files.key === files.cert ? cert : readPem(files.key, checkPrivate);
  if (files.key === files.cert) checkPrivate(statSync(files.key), files.key);
  const leaf = leafOf(cert, files.cert);
  if (now > leaf.validToDate.getTime())
    throw new CertificateError(
      files.cert,
      `it has expired on ${leaf.validToDate.toISOString().slice(0, 10)}`,
    );
  if (now < leaf.validFromDate.getTime())
    throw new CertificateError(
      files.cert,
      `it is not valid before ${leaf.validFromDate.toISOString().slice(0, 19)}Z; is the clock right?`,
    );
  if (!leaf.checkPrivateKey(keyOf(key, files.key)))
    throw new CertificateError(files.key, `it is not the key of the certificate in ${files.cert}`);
  try {
    const context = createSecureContext({ cert, key, minVersion: 'TLSv1.2' });
    return { leaf, context, endPoint: endPointOf(leaf) };
  } catch (cause) {
    throw new CertificateError(files.cert, `TLS does not take it (${(cause as Error).message})`, { cause });
  }
}

export type FollowedCertificate = {
  /** What to serve with; undefined while there was never one that could be used. */
  current(): Certificate | undefined;
  /** Why the files as they are now cannot be used; what was read before goes on being served. */
  problem(): CertificateError | undefined;
  /** Looks now, not at the next tick. */
  look(): void;
  close(): void;
};

/** Looks at the files again and again: whoever renews certificates tells nobody. Never throws. */
export function followCertificate(
  files: CertificateFiles,
  o: {
    readonly onChange?: (problem: CertificateError | undefined) => void;
    /** Milliseconds between two looks. */
    readonly everyMs?: number;
  } = {},
): FollowedCertificate {
  let certificate: Certificate | undefined;
  let problem: CertificateError | undefined;
  let seen: string | undefined;
  const look = (): void => {
    const now = `${stampOf(files.cert)} ${stampOf(files.key)}`;
    if (now === seen) return;
    const before = problem?.message;
    try {
      certificate = loadCertificate(files, Date.now());
      problem = undefined;
      // One of two may be written yet: a mismatch is looked at again, what fits is not.
      seen = now;
    } catch (error) {
      problem = error as CertificateError;
    }
    if (problem === undefined || problem.message !== before) o.onChange?.(problem);
  };
  look();
  const timer = setInterval(look, o.everyMs ?? EVERY_MS).unref();
  return {
    current: () => certificate,
    problem: () => problem,
    look,
    close: () => clearInterval(timer),
  };
}

// --- internal ------------------------------------------------------------------------------------

const EVERY_MS = 1_000;
const MAX_BYTES = 1024 * 1024;

function readPem(file: string, check?: (stats: Stats, file: string) => void): string {
  let fd: number | undefined;
  try {
    fd = openSync(file, 'r');
    const stats = fstatSync(fd);
    if (!stats.isFile()) throw new CertificateError(file, 'it is not a file');
    if (stats.size > MAX_BYTES) throw new CertificateError(file, 'it is too large for a PEM file');
    check?.(stats, file);
    return readFileSync(fd, 'utf8');
  } catch (cause) {
    if (cause instanceof CertificateError) throw cause;
    throw new CertificateError(file, `it cannot be read (${(cause as NodeJS.ErrnoException).code})`, {
      cause,
    });
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}

/** As PostgreSQL asks of its own key ("Secure TCP/IP Connections with SSL"): ours and only ours, or root's and our group's. */
function checkPrivate({ mode, uid }: Stats, file: string): void {
  const own = process.getuid?.();
  if (own === undefined) return;
  const tooMuch = uid === 0 && own !== 0 ? 0o027 : 0o077;
  if ((mode & tooMuch) !== 0)
    throw new CertificateError(
      file,
      `others may read this key (its mode is ${(mode & 0o777).toString(8).padStart(4, '0')}, not 0600)`,
    );
}

function leafOf(text: string, file: string): X509Certificate {
  const block = /-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/.exec(text)?.[0];
  if (block === undefined) throw new CertificateError(file, 'there is no certificate in PEM in it');
  try {
    return new X509Certificate(block);
  } catch (cause) {
    throw new CertificateError(file, 'the certificate in it cannot be read', { cause });
  }
}

function keyOf(text: string, file: string): KeyObject {
  if (/-----BEGIN ENCRYPTED PRIVATE KEY-----|^Proc-Type: 4,ENCRYPTED/m.test(text))
    throw new CertificateError(file, 'the key in it has a passphrase, which nobody could type');
  const block = /-----BEGIN ([A-Z ]*PRIVATE KEY)-----[\s\S]*?-----END \1-----/.exec(text)?.[0];
  if (block === undefined) throw new CertificateError(file, 'there is no private key in PEM in it');
  try {
    return createPrivateKey(block);
  } catch {
    // Without a cause: what is broken may be a part of the key.
    throw new CertificateError(file, 'the key in it cannot be read');
  }
}

/** The hash is the one of the certificate's signature, and at least SHA-256. */
function endPointOf(leaf: X509Certificate): Buffer {
  const [, bits] = /sha-?(384|512)/i.exec(leaf.signatureAlgorithm ?? '') ?? [];
  return createHash(bits === undefined ? 'sha256' : `sha${bits}`)
    .update(leaf.raw)
    .digest();
}

/** Whatever tells a new file from an old one, also behind a link that was turned. */
function stampOf(file: string): string {
  try {
    const { dev, ino, size, mtimeMs, ctimeMs } = statSync(file);
    return [dev, ino, size, mtimeMs, ctimeMs].join();
  } catch (error) {
    return String((error as NodeJS.ErrnoException).code);
  }
}
