/**
 * Whom a system trusts. Each keeps it in a folder of its own, from which a program of its own makes what others read:
 * "update-ca-certificates"(8) of Debian, "update-ca-trust"(8) of Fedora, "security"(1) of macOS.
 */
import { X509Certificate } from 'node:crypto';
import { existsSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type ExecError, exec } from '../lib/exec.ts';
import { OffshootError } from '../model/errors.ts';

export type TrustOptions = {
  /** What it is a root of; default: `/`. */
  readonly root?: string;
  /** Where programs are found. */
  readonly path: string;
};

/** The authority in `pem`. @throws OffshootError trust/no-authority when it is none, or holds a key */
export function readAuthority(pem: string): X509Certificate {
  const refuse = (why: string) => new OffshootError('trust/no-authority', { why });
  if (/PRIVATE KEY/.test(pem)) throw refuse('it holds a key, which is nobody else’s');
  if (pem.split('-----BEGIN').length !== 2) throw refuse('it is not one certificate');
  try {
    const certificate = new X509Certificate(pem);
    if (certificate.ca && certificate.subject.split('\n').some(part => /^CN=Offshoot CA /.test(part)))
      return certificate;
  } catch {
    // told below
  }
  throw refuse('it is no certificate that "offshoot ca" prints');
}

/**
 * Makes this system trust it, or not any more; a second time changes nothing.
 * @returns the file in which it is, or was
 * @throws OffshootError trust/unknown-system, trust/not-allowed, trust/failed
 */
export async function trustAuthority(
  certificate: X509Certificate,
  wanted: boolean,
  { root = '/', path }: TrustOptions,
): Promise<string> {
  const system = systems.find(({ folder }) => existsSync(join(root, folder)));
  if (system === undefined) throw new OffshootError('trust/unknown-system');
  // Authorities of several machines are called alike.
  const name = `offshoot-${certificate.fingerprint256.replaceAll(':', '').slice(0, 16).toLowerCase()}`;
  const file = join(root, system.folder, `${name}.crt`);
  try {
    if (wanted && !holds(file, certificate)) write(file, certificate.toString());
    // What removes it may need it.
    if (!wanted && !system.removes) rmSync(file, { force: true });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS')
      throw new OffshootError('trust/not-allowed', { folder: join(root, system.folder) });
    throw error;
  }
  const [program, ...args] = system.command(wanted, file);
  await exec(program!, args, { env: { PATH: path }, deadlineMs: DEADLINE_MS }).catch((error: ExecError) => {
    const why = error.stderr?.trim().split('\n').at(-1) || error.message;
    throw new OffshootError('trust/failed', { program, why }, { cause: error });
  });
  if (!wanted) rmSync(file, { force: true });
  return file;
}

// --- internal -----------------------------------------------------------------------------------

/** Hundreds of certificates are read anew. */
const DEADLINE_MS = 120_000;

type System = {
  readonly folder: string;
  /** Its command takes it away, rather than that its file is gone. */
  readonly removes?: true;
  readonly command: (wanted: boolean, file: string) => readonly string[];
};

const KEYCHAIN = '/Library/Keychains/System.keychain';

const systems: readonly System[] = [
  // Debian, Ubuntu, Alpine. Without "--fresh" links to what is gone stay.
  {
    folder: 'usr/local/share/ca-certificates',
    command: wanted => ['update-ca-certificates', ...(wanted ? [] : ['--fresh'])],
  },
  // Fedora, RHEL.
  { folder: 'etc/pki/ca-trust/source/anchors', command: () => ['update-ca-trust', 'extract'] },
  // SUSE.
  { folder: 'etc/pki/trust/anchors', command: () => ['update-ca-certificates'] },
  // Arch.
  { folder: 'etc/ca-certificates/trust-source/anchors', command: () => ['update-ca-trust', 'extract'] },
  // macOS.
  {
    folder: 'Library/Keychains',
    removes: true,
    command: (wanted, file) =>
      wanted
        ? ['security', 'add-trusted-cert', '-d', '-r', 'trustRoot', '-k', KEYCHAIN, file]
        : ['security', 'remove-trusted-cert', '-d', file],
  },
];

function holds(file: string, certificate: X509Certificate): boolean {
  try {
    return new X509Certificate(readFileSync(file)).fingerprint256 === certificate.fingerprint256;
  } catch {
    return false;
  }
}

/** Whole, or not at all: a half one would be in the way of all others. */
function write(file: string, text: string): void {
  writeFileSync(`${file}.new`, text, { mode: 0o644 });
  renameSync(`${file}.new`, file);
}
