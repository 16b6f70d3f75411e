/**
 * Makes certificates: an authority, and servers and clients that it vouches for (RFC 5280). Keys are of the curve P-256, signatures
 * ECDSA with SHA-256, which everything that speaks TLS 1.2 knows. Times are in milliseconds since 1970.
 */
import {
  createHash,
  createPrivateKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  sign,
  X509Certificate,
} from 'node:crypto';
import { isIP } from 'node:net';
import * as der from './der.ts';

/** Certificate and key as PEM. The key is a secret. */
export type Issued = { readonly certificate: string; readonly key: string };

export type Validity = { readonly from: number; readonly until: number };

/** @param name common name, for people who look at their list of authorities */
export function createAuthority(name: string, validity: Validity): Issued {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const certificate = signed(privateKey, {
    ...{ issuer: name, subject: name, validity, publicKey },
    extensions: [
      extension('2.5.29.19', true, der.sequence(der.boolean(true), der.integer(Uint8Array.of(0)))),
      extension('2.5.29.15', true, der.bits([0, 0, 0, 0, 0, 1, 1])), // keyCertSign, cRLSign
      extension('2.5.29.14', false, der.octets(keyIdentifier(publicKey))),
    ],
  });
  return { certificate, key: pem(privateKey) };
}

/**
 * A server's certificate and key.
 * @param names DNS names, `*.` in front included, and IPv4 and IPv6 addresses; what clients compare with where they went
 */
export const issueServer = (authority: Issued, names: readonly string[], validity: Validity): Issued =>
  withKey(key => issue(authority, key, [SERVER_AUTH], names.map(generalName), validity));

/** A client's certificate and key. @param uri what it is called */
export const issueClient = (authority: Issued, uri: string, validity: Validity): Issued =>
  withKey(key => certifyClient(authority, key, uri, validity));

/**
 * A certificate for a key that stays with whom it belongs to.
 * @param uri what that one is called
 * @param serves whether it may be a server as well, known by the same URI
 */
export const certifyClient = (
  authority: Issued,
  publicKey: KeyObject,
  uri: string,
  validity: Validity,
  serves = false,
): string =>
  issue(
    authority,
    publicKey,
    serves ? [CLIENT_AUTH, SERVER_AUTH] : [CLIENT_AUTH],
    [der.implicit(6, Buffer.from(uri, 'latin1'))],
    validity,
  );

// --- internal ------------------------------------------------------------------------------------

// RFC 5280 §4.2.1.12
const [SERVER_AUTH, CLIENT_AUTH] = ['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2'];

function withKey(certify: (publicKey: KeyObject) => string): Issued {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return { certificate: certify(publicKey), key: pem(privateKey) };
}

/** @param names RFC 5280 §4.2.1.6 */
function issue(
  authority: Issued,
  publicKey: KeyObject,
  uses: readonly string[],
  names: readonly Buffer[],
  validity: Validity,
): string {
  const issuer = new X509Certificate(authority.certificate);
  return signed(createPrivateKey(authority.key), {
    issuer: commonName(issuer),
    subject: 'Offshoot',
    ...{ validity, publicKey },
    extensions: [
      extension('2.5.29.19', true, der.sequence()), // no authority
      extension('2.5.29.15', true, der.bits([1])), // digitalSignature
      extension('2.5.29.37', false, der.sequence(...uses.map(der.oid))),
      extension('2.5.29.17', false, der.sequence(...names)),
      extension('2.5.29.14', false, der.octets(keyIdentifier(publicKey))),
      extension('2.5.29.35', false, der.sequence(der.implicit(0, keyIdentifier(issuer.publicKey)))),
    ],
  });
}

const ECDSA_WITH_SHA256 = der.sequence(der.oid('1.2.840.10045.4.3.2'));

type Unsigned = {
  readonly issuer: string;
  readonly subject: string;
  readonly validity: Validity;
  readonly publicKey: KeyObject;
  readonly extensions: readonly Buffer[];
};

/** RFC 5280 §4.1. */
function signed(key: KeyObject, o: Unsigned): string {
  const serial = randomBytes(16);
  serial[0]! = (serial[0]! & 0x7f) | 0x40; // positive, and of one length
  const body = der.sequence(
    der.explicit(0, der.integer(Uint8Array.of(2))), // version 3
    der.integer(serial),
    ECDSA_WITH_SHA256,
    distinguishedName(o.issuer),
    der.sequence(der.time(new Date(o.validity.from)), der.time(new Date(o.validity.until))),
    distinguishedName(o.subject),
    o.publicKey.export({ type: 'spki', format: 'der' }),
    der.explicit(3, der.sequence(...o.extensions)),
  );
  const bytes = der.sequence(body, ECDSA_WITH_SHA256, der.bitString(sign('sha256', body, key)));
  return new X509Certificate(bytes).toString();
}

const distinguishedName = (commonName: string): Buffer =>
  der.sequence(der.set(der.sequence(der.oid('2.5.4.3'), der.utf8(commonName))));

/** Of a name that we have made: one attribute. */
const commonName = (certificate: X509Certificate): string => certificate.subject.replace(/^CN=/, '');

const extension = (id: string, critical: boolean, value: Uint8Array): Buffer =>
  der.sequence(der.oid(id), ...(critical ? [der.boolean(true)] : []), der.octets(value));

/** RFC 5280 §4.2.1.6: dNSName [2], iPAddress [7]. */
function generalName(name: string): Buffer {
  const version = isIP(name);
  if (version === 0) return der.implicit(2, Buffer.from(name, 'latin1'));
  return der.implicit(7, version === 4 ? Buffer.from(name.split('.').map(Number)) : ipv6(name));
}

/** 16 bytes; the form with an IPv4 address inside is not read. */
function ipv6(text: string): Buffer {
  const [head = '', tail] = text.split('::');
  const groups = (part: string) =>
    part
      .split(':')
      .filter(Boolean)
      .map(group => Number.parseInt(group, 16));
  const [first, last] = [groups(head), groups(tail ?? '')];
  const all = [...first, ...new Array<number>(8 - first.length - last.length).fill(0), ...last];
  return Buffer.from(all.flatMap(group => [group >> 8, group & 0xff]));
}

/** Any value that is the same for the same key will do (RFC 5280 §4.2.1.2). */
const keyIdentifier = (key: KeyObject): Buffer =>
  createHash('sha256')
    .update(key.export({ type: 'spki', format: 'der' }))
    .digest()
    .subarray(0, 20);

const pem = (key: KeyObject): string => key.export({ type: 'pkcs8', format: 'pem' }) as string;
