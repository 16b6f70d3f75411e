/**
 * Who a program of ours is, for programs of ours on other machines: one file with its certificate, the key of that, and
 * the certificate of the authority that vouches for it and for whom it may talk to. PEM, in this order.
 */
import type { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';

export type Identity = { readonly cert: string; readonly key: string; readonly ca: string };

/** A URI in the certificate (RFC 5280 §4.2.1.6), because it is neither a host nor a person. */
export const identityUri = (name: string): string => `offshoot:${name}`;

/** @throws an error that says what is missing, and nothing of what is in the file */
export function readIdentity(file: string): Identity {
  const text = readFileSync(file, 'utf8');
  const [cert, ...cas] = text.match(/-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g) ?? [];
  const [key] = /-----BEGIN ([A-Z ]*PRIVATE KEY)-----[\s\S]*?-----END \1-----/.exec(text) ?? [];
  if (cert === undefined || key === undefined || cas.length === 0)
    throw new Error(`${file} does not hold a certificate, its key, and the one of an authority`);
  return { cert, key, ca: cas.join('\n') };
}

/** @returns undefined when it names none of ours */
export function identityName({ subjectAltName = '' }: X509Certificate): string | undefined {
  const [, name] = /^URI:offshoot:([A-Za-z0-9./-]+)$/.exec(subjectAltName) ?? [];
  return name;
}
