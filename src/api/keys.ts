/**
 * API keys: `ofs_` and 40 letters and digits, known to us only as a hash. 238 random bits need no slow
 * hash: SHA-256 cannot be guessed backwards from them.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import { randomName, randomSecret } from '../lib/random.ts';
import { OffshootError } from '../model/errors.ts';
import type { KeyView } from '../model/view.ts';
import type { Store } from '../store/contract.ts';

export const keyPrefix = 'ofs_';

export type Keyring = {
  /** @returns the key itself, once. */
  create(label: string): { readonly key: string; readonly view: KeyView };
  list(): readonly KeyView[];
  /** By id or name. @throws OffshootError api/not-found */
  revoke(idOrName: string): KeyView;
  accepts(key: string): boolean;
};

/** @param internal keys that this process made for itself; never stored, gone with it */
export function keyring(store: Store, internal: readonly string[]): Keyring {
  const internalHashes = internal.map(hashOf);
  const list = () => store.list('key').map(k => view(k.name, k.spec, k.createdAt));
  return {
    create(label) {
      if (!/^[A-Za-z0-9][A-Za-z0-9 ._@-]{0,62}$/.test(label)) {
        const why =
          'a key name has 1 to 63 letters, digits, spaces or . _ @ - and begins with a letter or digit';
        throw new OffshootError('api/bad-request', { why });
      }
      if (store.list('key').some(k => k.spec.label === label))
        throw new OffshootError('key/exists', { name: label });
      const key = newKey();
      const spec = {
        label,
        hash: hashOf(key).toString('hex'),
        preview: `${key.slice(0, 8)}…${key.slice(-3)}`,
      };
      const stored = store.create('key', randomName(8), { spec, status: null, secret: null });
      return { key, view: view(stored.name, spec, stored.createdAt) };
    },
    list,
    revoke(idOrName) {
      const found = list().find(k => k.id === idOrName || k.name === idOrName);
      if (found === undefined) throw new OffshootError('api/not-found', { kind: 'key', name: idOrName });
      store.remove('key', found.id);
      return found;
    },
    accepts(key) {
      if (!key.startsWith(keyPrefix) || key.length > 100) return false;
      const hash = hashOf(key);
      const known = [...internalHashes, ...store.list('key').map(k => Buffer.from(k.spec.hash, 'hex'))];
      return known.some(h => h.length === hash.length && timingSafeEqual(h, hash));
    },
  };
}

export const newKey = (): string => keyPrefix + randomSecret(40);

// --- internal -----------------------------------------------------------------------------------

const hashOf = (key: string): Buffer => createHash('sha256').update(key).digest();

const view = (id: string, spec: { label: string; preview: string }, createdAt: string): KeyView => ({
  id,
  name: spec.label,
  preview: spec.preview,
  createdAt,
});
