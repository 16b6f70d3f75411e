/**
 * API keys of our own: for the command line of the same user, and for plugin steps. They stay the same over restarts,
 * so that what they have opened is not cut by one.
 */
import { createHash } from 'node:crypto';
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { newKey } from './api/keys.ts';
import type { RouteChange } from './model/route.ts';

export type InternalKeys = { readonly cli: string; readonly step: string };

export function internalKeys(home: string): InternalKeys {
  const file = join(home, 'internal-keys.json');
  const known = read(file);
  if (known !== undefined) return known;
  const keys: InternalKeys = { cli: newKey(), step: newKey() };
  writeFileSync(`${file}.new`, `${JSON.stringify(keys)}\n`, { mode: 0o600 });
  renameSync(`${file}.new`, file);
  return keys;
}

/** With it a key of ours opens previews, as one in the store does. */
export const keyItem = (key: string): RouteChange => ({
  kind: 'key',
  name: createHash('sha256').update(key).digest('hex'),
  value: {},
});

// --- internal -----------------------------------------------------------------------------------

function read(file: string): InternalKeys | undefined {
  try {
    const { cli, step } = JSON.parse(readFileSync(file, 'utf8')) as Partial<InternalKeys>;
    return typeof cli === 'string' && typeof step === 'string' ? { cli, step } : undefined;
  } catch {
    return undefined; // the first start
  }
}
