/**
 * The certificates that we make ourselves, in `tls/` of the data directory: an authority, which people can trust once,
 * and below it the server's, which is renewed in time without anybody noticing.
 */
import { X509Certificate } from 'node:crypto';
import { chmodSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { CertificateFiles } from './lib/certificate.ts';
import { identityUri } from './lib/identity.ts';
import { createAuthority, type Issued, issueClient, issueServer } from './lib/x509.ts';

export type Authority = {
  /** For who wants to trust it: PEM, no secret. */
  readonly file: string;
  certificate(): string;
  /** Of the server, certificate and key in one, so that they are replaced together. */
  readonly server: CertificateFiles;
  /** What a program of ours elsewhere needs to prove who it is; see lib/identity.ts. It holds a key. */
  identity(name: string): string;
};

/**
 * Makes what is not there, is about to expire, or does not say `names`.
 * @param label tells authorities of several machines apart
 * @param names that the server must be able to prove
 * @param now milliseconds since 1970
 */
export function keepAuthority(home: string, label: string, names: readonly string[], now: number): Authority {
  const directory = join(home, 'tls');
  const [file, keyFile, serverFile] = ['ca.pem', 'ca-key.pem', 'server.pem'].map(name =>
    join(directory, name),
  ) as [string, string, string];
  mkdirSync(directory, { recursive: true });
  chmodSync(directory, 0o711);
  const known = readAuthority(file, keyFile, now);
  const authority =
    known ?? createAuthority(`Offshoot CA ${label}`.slice(0, 64), validFor(now, AUTHORITY_DAYS));
  if (known === undefined) {
    // The key first: a certificate without it would be taken for an authority that works.
    write(keyFile, authority.key, 0o600);
    write(file, authority.certificate, 0o644);
  }
  if (!serves(serverFile, authority, names, now)) {
    const { certificate, key } = issueServer(authority, names, validFor(now, SERVER_DAYS));
    write(serverFile, certificate + key, 0o600);
  }
  return {
    file,
    certificate: () => authority.certificate,
    server: { cert: serverFile, key: serverFile },
    identity(name) {
      const validity = validFor(Date.now(), IDENTITY_DAYS);
      const { certificate, key } = issueClient(authority, identityUri(name), validity);
      return certificate + key + authority.certificate;
    },
  };
}

// --- internal -----------------------------------------------------------------------------------

const DAY = 86_400_000;
const AUTHORITY_DAYS = 3_650;
const SERVER_DAYS = 90;
/** Longer than a server's, because somebody has to carry it to where it is used. */
const IDENTITY_DAYS = 365;
/** So long before its end each is replaced. */
const MARGIN = { authority: 180 * DAY, server: 30 * DAY };
/** Clocks of clients may be behind ours. */
const SKEW = DAY;

const validFor = (now: number, days: number) => ({ from: now - SKEW, until: now + days * DAY });

function readAuthority(file: string, keyFile: string, now: number): Issued | undefined {
  try {
    const issued: Issued = { certificate: readFileSync(file, 'utf8'), key: readFileSync(keyFile, 'utf8') };
    return isGood(new X509Certificate(issued.certificate), now, MARGIN.authority) ? issued : undefined;
  } catch {
    return undefined; // the first start, or somebody has removed it
  }
}

function serves(file: string, { certificate }: Issued, names: readonly string[], now: number): boolean {
  try {
    const server = new X509Certificate(readFileSync(file, 'utf8'));
    const said = new Set(
      (server.subjectAltName ?? '').split(', ').map(name => name.replace(/^(DNS|IP Address):/, '')),
    );
    return (
      isGood(server, now, MARGIN.server) &&
      server.verify(new X509Certificate(certificate).publicKey) &&
      names.every(name => said.has(name))
    );
  } catch {
    return false;
  }
}

const isGood = (certificate: X509Certificate, now: number, margin: number): boolean =>
  certificate.validFromDate.getTime() <= now && now < certificate.validToDate.getTime() - margin;

function write(file: string, text: string, mode: number): void {
  writeFileSync(`${file}.new`, text, { mode });
  chmodSync(`${file}.new`, mode);
  renameSync(`${file}.new`, file);
}
