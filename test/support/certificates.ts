/** An authority and certificates of it, as files. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { CertificateFiles } from '../../src/lib/certificate.ts';
import { createAuthority, type Issued, issueServer, type Validity } from '../../src/lib/x509.ts';

const DAY = 86_400_000;

export const validity = (from = -1, until = 10): Validity => ({
  from: Date.now() + from * DAY,
  until: Date.now() + until * DAY,
});

export const authority: Issued = createAuthority('Test CA', validity());

/** Writes a certificate and its key to two files of `directory`. */
export function writeServer(
  directory: string,
  names: readonly string[] = ['localhost', '127.0.0.1'],
  { valid = validity(), by = authority }: { readonly valid?: Validity; readonly by?: Issued } = {},
): CertificateFiles {
  const { certificate, key } = issueServer(by, names, valid);
  const files = { cert: join(directory, 'cert.pem'), key: join(directory, 'key.pem') };
  writeFileSync(files.cert, certificate);
  writeFileSync(files.key, key, { mode: 0o600 });
  return files;
}
