/** Intents about API keys. */
import { randomName } from '../lib/random.ts';
import { OffshootError } from '../model/errors.ts';
import type { Store, Stored } from '../store/contract.ts';
import { holding } from './locks.ts';

/** Remembers a key by its hash. @throws OffshootError api/bad-request, key/exists */
export async function createKey(store: Store, spec: Stored<'key'>['spec']): Promise<Stored<'key'>> {
  const { label } = spec;
  if (!/^[A-Za-z0-9][A-Za-z0-9 ._@-]{0,62}$/.test(label)) {
    const why = 'a key name has 1 to 63 letters, digits, spaces or . _ @ - and begins with a letter or digit';
    throw new OffshootError('api/bad-request', { why });
  }
  return holding(store, { alone: [`key/${label}`] }, async () => {
    if (store.by('key/label', label).length > 0) throw new OffshootError('key/exists', { name: label });
    return store.create('key', randomName(8), { spec, status: null, secret: null });
  });
}
