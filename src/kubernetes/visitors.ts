/**
 * Who may use the API without one of its keys: whoever the cluster gives a token of the account that visitors are, for this
 * audience. So RBAC decides, and a token lasts for minutes.
 */
import { createHash } from 'node:crypto';
import type { ClusterClient } from './client.ts';
import { type KubernetesObject, resources } from './resource.ts';

export const apiAudience = 'offshoot-api';

/** @returns whether a token opens the API. @throws OffshootError kubernetes/… when the cluster does not answer */
export function admitVisitors(
  client: ClusterClient,
  account: { readonly namespace: string; readonly name: string },
): (token: string) => Promise<boolean> {
  const user = `system:serviceaccount:${account.namespace}:${account.name}`;
  /** By hash: until when what was answered counts. */
  const known = new Map<string, { readonly until: number; readonly answer: Promise<boolean> }>();
  const review = async (token: string): Promise<boolean> => {
    const asked: TokenReview = {
      ...{ apiVersion: 'authentication.k8s.io/v1', kind: 'TokenReview' },
      // The API server wants none; our client names what it asks for by it.
      metadata: { name: '' },
      spec: { token, audiences: [apiAudience] },
    };
    const { status } = await client.create<TokenReview>(resources.TokenReview, asked);
    return (
      status?.authenticated === true &&
      status.audiences?.includes(apiAudience) === true &&
      status.user?.username === user
    );
  };
  return token => {
    // As RFC 7515 writes a JWT; nothing else is worth a question.
    if (token.length > LONGEST || !/^[\w-]+\.[\w-]+\.[\w-]+$/.test(token)) return Promise.resolve(false);
    const hash = createHash('sha256').update(token).digest('hex');
    const now = performance.now();
    const before = known.get(hash);
    if (before !== undefined && before.until > now) return before.answer;
    if (known.size >= REMEMBERED) known.clear();
    const answer = review(token);
    known.set(hash, { until: now + REMEMBER_MS, answer });
    answer.catch(() => known.delete(hash));
    return answer;
  };
}

// --- internal -----------------------------------------------------------------------------------

const LONGEST = 8 * 1024;
const REMEMBERED = 1_000;
/** So long after its end a token may still be taken. */
const REMEMBER_MS = 30_000;

type TokenReview = KubernetesObject & {
  readonly status?: {
    readonly authenticated?: boolean;
    readonly audiences?: readonly string[];
    readonly user?: { readonly username?: string };
  };
};
