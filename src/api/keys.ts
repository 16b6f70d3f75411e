/**
 * API keys: `ofs_` and 40 letters and digits, known to us only as a hash. 238 random bits need no slow
 * hash: SHA-256 cannot be guessed backwards from them.
 */
import { createHash } from 'node:crypto';
import { randomSecret } from '../lib/random.ts';
import { OffshootError } from '../model/errors.ts';
import type { KeyView } from '../model/view.ts';
import { createKey } from '../rules/keys.ts';
import type { Store, Stored } from '../store/contract.ts';

export const keyPrefix = 'ofs_';

export type Keyring = {
  /** @returns the key itself, once. */
  create(label: string): Promise<{ readonly key: string; readonly view: KeyView }>;
  list(): readonly KeyView[];
  /** By id or name. @throws OffshootError api/not-found */
  revoke(idOrName: string): Promise<KeyView>;
  accepts(key: string): boolean;
  /** SHA-256 of it in hexadecimal, by which proxies know it; undefined when it is not accepted. */
  hashOf(key: string): string | undefined;
  /** Whether a key with this hash is accepted. */
  knows(hash: string): boolean;
  /** Calls `listener` when this key is no longer accepted. @returns the way to stop that */
  onRevoked(key: string, listener: () => void): () => void;
};

/** @param internal keys of our own, see internal-keys.ts; never stored as others are */
export function keyring(store: Store, internal: readonly string[]): Keyring {
  const internalHashes = new Set(internal.map(hashOf));
  const list = () => store.list('key').map(view);
  const knows = (hash: string) => internalHashes.has(hash) || store.by('key/hash', hash).length > 0;
  const known = (key: string): string | undefined => {
    if (!key.startsWith(keyPrefix) || key.length > 100) return undefined;
    // How long a look into a table takes tells something of the hash at most, which leads nobody to the key.
    const hash = hashOf(key);
    return knows(hash) ? hash : undefined;
  };
  return {
    async create(label) {
      const key = newKey();
      const preview = `${key.slice(0, 8)}…${key.slice(-3)}`;
      const stored = await createKey(store, { label, hash: hashOf(key), preview });
      return { key, view: view(stored) };
    },
    list,
    async revoke(idOrName) {
      const found = list().find(k => k.id === idOrName || k.name === idOrName);
      if (found === undefined) throw new OffshootError('api/not-found', { kind: 'key', name: idOrName });
      await store.remove('key', found.id);
      return found;
    },
    accepts: key => known(key) !== undefined,
    hashOf: known,
    knows,
    onRevoked(key, listener) {
      const [stored] = store.by('key/hash', hashOf(key));
      if (stored === undefined) return () => {};
      return store.onObject('key', stored.name, () => {
        if (store.get('key', stored.name) === undefined) listener();
      });
    },
  };
}

export const newKey = (): string => keyPrefix + randomSecret(40);

// --- internal -----------------------------------------------------------------------------------

/** In hexadecimal digits. */
const hashOf = (key: string): string => createHash('sha256').update(key).digest('hex');

const view = ({ name, spec, createdAt }: Stored<'key'>): KeyView => ({
  id: name,
  name: spec.label,
  preview: spec.preview,
  createdAt,
});
