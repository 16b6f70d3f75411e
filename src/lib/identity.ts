/**
 * Who a program of ours is, for programs of ours on other machines: its certificate, the key of that, and the certificates
 * of the authorities that vouch for it and for whom it may talk to. Kept in one file as PEM, in this order, or asked for
 * again and again (proxy/stream/token-identity.ts).
 */

import type { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { PeerCertificate } from 'node:tls';

export type Identity = { readonly cert: string; readonly key: string; readonly ca: string };

/** Where it comes from; it changes with time. */
export type IdentitySource = {
  /** As it is now. @throws an error that says why there is none, and nothing secret */
  read(): Identity;
  /** Resolves when there has been one. */
  readonly ready: Promise<void>;
  /** Called whenever there is another one; returns the way to stop that. */
  onRenewed(listener: () => void): () => void;
  close(): void;
};

/** A URI in the certificate (RFC 5280 §4.2.1.6), because it is neither a host nor a person. */
export const identityUri = (name: string): string => `offshoot:${name}`;

/** @throws an error that says what is missing, and nothing of what is in the file */
export function readIdentity(file: string): Identity {
  const text = readFileSync(file, 'utf8');
  const [cert, ...cas] = certificatesIn(text);
  const [key] = /-----BEGIN ([A-Z ]*PRIVATE KEY)-----[\s\S]*?-----END \1-----/.exec(text) ?? [];
  if (cert === undefined || key === undefined || cas.length === 0)
    throw new Error(`${file} does not hold a certificate, its key, and the one of an authority`);
  return { cert, key, ca: cas.join('\n') };
}

/** Read for each use, because whoever renews it tells nobody. @throws as `readIdentity`, when it cannot be read now */
export function fileIdentity(file: string): IdentitySource {
  readIdentity(file);
  return {
    read: () => readIdentity(file),
    ready: Promise.resolve(),
    onRenewed: () => () => {},
    close() {},
  };
}

/** PEM blocks, each as it stands. */
export const certificatesIn = (text: string): readonly string[] =>
  text.match(/-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g) ?? [];

/** @returns undefined when it names none of ours */
export const identityName = ({ subjectAltName = '' }: Pick<X509Certificate, 'subjectAltName'>) =>
  nameIn(subjectAltName);

/**
 * For who dials one of ours by what it is and not by where it is, as `checkServerIdentity` of node:tls.
 * @param name e.g. `node/offshoot-branches-0`
 */
export const isServer =
  (name: string) =>
  (_host: string, { subjectaltname = '' }: PeerCertificate): Error | undefined =>
    nameIn(subjectaltname) === name ? undefined : new Error(`this is not ${name}, but "${subjectaltname}"`);

// --- internal ------------------------------------------------------------------------------------

function nameIn(alternatives: string): string | undefined {
  const [, name] = /^URI:offshoot:([A-Za-z0-9./-]+)$/.exec(alternatives) ?? [];
  return name;
}
