/** An identity that is kept in a file, for a start at which whoever gives one is not there. */
import { X509Certificate } from 'node:crypto';
import { chmodSync, renameSync, writeFileSync } from 'node:fs';
import { type Identity, type IdentitySource, readIdentity } from './identity.ts';

/** @param file mode 0600: it holds a key. @param failed told when it cannot be written */
export function keptIdentity(
  source: IdentitySource,
  file: string,
  failed: (error: unknown) => void,
): IdentitySource {
  const keep = () => {
    try {
      const { cert, key, ca } = source.read();
      writeFileSync(`${file}.new`, [cert, key, ca].map(pem => `${pem.trim()}\n`).join(''), { mode: 0o600 });
      chmodSync(`${file}.new`, 0o600);
      renameSync(`${file}.new`, file);
    } catch (error) {
      failed(error);
    }
  };
  const stop = source.onRenewed(keep);
  return {
    ready: source.ready,
    onRenewed: source.onRenewed,
    read() {
      try {
        return source.read();
      } catch (error) {
        const kept = unexpired(file);
        if (kept === undefined) throw error;
        return kept;
      }
    },
    close() {
      stop();
      source.close();
    },
  };
}

// --- internal ------------------------------------------------------------------------------------

function unexpired(file: string): Identity | undefined {
  try {
    const identity = readIdentity(file);
    return new X509Certificate(identity.cert).validToDate.getTime() > Date.now() ? identity : undefined;
  } catch {
    return undefined; // the first start
  }
}
