/** The key by which passwords of sources are sealed in the store: in a file of the data directory, made when there is none. */
import { join } from 'node:path';
import { keptSecret } from '../lib/kept-secret.ts';
import { newSealKey } from '../lib/sealed.ts';

export const sealKeyIn = (home: string): Promise<string> => keptSecret(join(home, 'seal-key'), newSealKey);
