/**
 * Who came into which preview with a browser. Their tokens are known as hashes, and kept with the sandbox: they end with
 * it, and open nothing without the key that they were given for. Links live in memory, because they live for a minute.
 */
import { createHash } from 'node:crypto';
import { randomSecret } from '../lib/random.ts';
import { endpointsOf } from '../model/endpoint.ts';
import { OffshootError } from '../model/errors.ts';
import { previewLabel } from '../model/names.ts';
import type { Entry, Visit } from '../model/visit.ts';
import type { Store } from '../store/contract.ts';

export type Visits = {
  /**
   * @param by who asks for it: the hash of an API key, and until when it counts where no key ends it
   * @returns the token of a link that opens this preview once, within `LINK_MS`
   */
  link(by: Visit): string;
  /**
   * Notes a visit.
   * @throws OffshootError preview/link-used, preview/unknown, preview/unauthorized
   */
  enter(entry: Entry): Promise<void>;
};

/** Milliseconds until a link opens nothing any more. */
export const LINK_MS = 60_000;

/** @param accepts whether a hash is that of an API key */
export function visits(
  store: Store,
  accepts: (hash: string) => boolean,
  now: () => number = Date.now,
): Visits {
  /** By hash of their tokens, oldest first. */
  const links = new Map<string, { readonly visit: Visit; readonly until: number }>();

  const redeem = (hash: string, preview: string): Visit => {
    const link = links.get(hash);
    if (link?.visit.preview !== preview || link.until < now())
      throw new OffshootError('preview/link-used', {});
    links.delete(hash);
    return link.visit;
  };

  return {
    link(visit) {
      for (const [hash, { until }] of links)
        if (until < now() || links.size >= MOST_LINKS) links.delete(hash);
      const token = randomSecret(43); // about 256 bits
      links.set(hashOf(token), { visit, until: now() + LINK_MS });
      return token;
    },
    async enter({ preview, token, by }) {
      const sandbox = store.get('sandbox', preview.slice(preview.lastIndexOf('--') + 2));
      const endpoints = sandbox === undefined ? [] : endpointsOf(sandbox.spec);
      const isThere = endpoints.some(({ name }) => previewLabel(name, sandbox!.name) === preview);
      if (!isThere || !/^[0-9a-f]{64}$/.test(token))
        throw new OffshootError('preview/unknown', { host: preview });
      const visit = 'link' in by ? redeem(by.link, preview) : { preview, key: by.key };
      if (!accepts(visit.key))
        throw new OffshootError('preview/unauthorized', { why: 'the one that was sent is not valid' });
      await store.modify('sandbox', sandbox!.name, ({ deletedAt, secret }) => {
        if (deletedAt !== undefined || secret.visits?.[token] !== undefined) return undefined;
        // What opens nothing any more makes room first, then the oldest.
        const kept = Object.entries(secret.visits ?? {}).filter(
          ([, one]) => accepts(one.key) && (one.until === undefined || one.until > now()),
        );
        const visits = Object.fromEntries([...kept.slice(1 - MOST_VISITS), [token, visit]]);
        return { secret: { ...secret, visits } };
      });
    },
  };
}

// --- internal -----------------------------------------------------------------------------------

/** Of one sandbox. */
const MOST_VISITS = 100;
const MOST_LINKS = 1_000;

const hashOf = (token: string): string => createHash('sha256').update(token).digest('hex');
