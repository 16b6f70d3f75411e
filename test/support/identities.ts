/** Identities as the authority of an installation gives them, without one: see lib/identity.ts. */
import { generateKeyPairSync } from 'node:crypto';
import { type Identity, type IdentitySource, identityUri } from '../../src/lib/identity.ts';
import { certifyClient, createAuthority } from '../../src/lib/x509.ts';

const DAY = 86_400_000;

export type TestAuthority = {
  readonly ca: string;
  issue(name: string): Identity;
  /** The same, where programs look for one. */
  source(name: string): IdentitySource;
};

/** @param forMs that what it issues is good for */
export function testAuthority({ forMs = DAY } = {}): TestAuthority {
  const from = Date.now() - DAY;
  const validity = { from, until: Date.now() + forMs };
  const authority = createAuthority('Offshoot test', { from, until: Date.now() + DAY });
  const ca = authority.certificate;
  const issue = (name: string): Identity => {
    const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const cert = certifyClient(authority, publicKey, identityUri(name), validity, true);
    return { cert, key: privateKey.export({ type: 'pkcs8', format: 'pem' }) as string, ca };
  };
  return {
    ca,
    issue,
    source(name) {
      const identity = issue(name);
      return sourceOf(() => identity);
    },
  };
}

/** One that says what `read` says now. */
export const sourceOf = (read: () => Identity): IdentitySource => ({
  ...{ read, ready: Promise.resolve(), onRenewed: () => () => {}, close() {} },
});
