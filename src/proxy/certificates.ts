/** The certificates that the book's settings name, one for each purpose. */
import { type Certificate, type FollowedCertificate, followCertificate } from '../lib/certificate.ts';
import type { Log } from '../lib/log.ts';
import type { CertificateFiles, RouteSettings } from '../model/route.ts';
import type { Book } from './book.ts';

export type Certificates = {
  /** @returns undefined when there is none, or none that can be used */
  current(purpose: Purpose): Certificate | undefined;
  close(): void;
};

type Purpose = 'previews' | 'postgres';

/** @param own in place of what the settings name */
export function followCertificates(book: Book, log: Log, own?: RouteSettings['tls']): Certificates {
  const followed = new Map<string, FollowedCertificate>();
  const filesOf = (purpose: Purpose) => (own ?? book.get('setting', 'proxy')?.tls)?.[purpose];
  const follow = (files: CertificateFiles): FollowedCertificate =>
    followCertificate(files, {
      onChange(problem) {
        if (problem === undefined) log.info({ file: files.cert }, 'a certificate is served');
        else log.error({ file: problem.file, why: problem.why }, 'a certificate cannot be used');
      },
    });
  const look = (): void => {
    const wanted = new Map(
      [filesOf('previews'), filesOf('postgres')].flatMap(files => (files ? [[keyOf(files), files]] : [])),
    );
    for (const [key, one] of followed) {
      if (wanted.has(key)) continue;
      one.close();
      followed.delete(key);
    }
    for (const [key, files] of wanted) if (!followed.has(key)) followed.set(key, follow(files));
  };
  look();
  const unsubscribe = book.onChange(changed => {
    if (changed.some(({ kind }) => kind === 'setting')) look();
  });
  return {
    current(purpose) {
      const files = filesOf(purpose);
      return files && followed.get(keyOf(files))?.current();
    },
    close() {
      unsubscribe();
      for (const one of followed.values()) one.close();
    },
  };
}

// --- internal ------------------------------------------------------------------------------------

const keyOf = ({ cert, key }: CertificateFiles): string => `${cert}\0${key}`;
