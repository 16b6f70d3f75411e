/** What was said already of a folder's manifests: nobody reads what is said each time. */
import { createHash } from 'node:crypto';
import { nowhere } from '../model/folder.ts';
import type { Store } from '../store/contract.ts';

/**
 * Which of these were told of before; from now on all of them were. They are known by what they say, not by where it
 * stands. A folder that is unknown is told everything again.
 */
export async function tellOnce(
  store: Store,
  folder: string,
  ids: readonly string[],
): Promise<ReadonlySet<string>> {
  const before = new Set(store.get('folder', folder)?.status?.told);
  const digests = new Map(ids.map(id => [id, digest(id)]));
  const known = new Set(ids.filter(id => before.has(digests.get(id)!)));
  if (folder !== nowhere && known.size < digests.size) {
    const told = [...new Set([...before, ...digests.values()])].slice(-mostTold);
    await store.modify('folder', folder, () => ({ status: { told } }));
  }
  return known;
}

// --- internal -----------------------------------------------------------------------------------

const mostTold = 5_000;

const digest = (id: string): string => createHash('sha256').update(id).digest('base64url').slice(0, 12);
