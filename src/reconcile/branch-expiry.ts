/** The end of a branch's time: what there is to say of it now, and when to look again. */
import { type Condition, reasonOf } from '../model/conditions.ts';
import type { OffshootError } from '../model/errors.ts';
import { expiryProblem } from '../rules/expiry.ts';
import type { Store, Stored } from '../store/contract.ts';
import type { Topic } from './topics.ts';
import { topicOf } from './wake.ts';

export type Expiry = {
  /** Its time is over, and nothing is in the way. */
  readonly over?: true;
  /** While there is something to say. */
  readonly condition?: Omit<Condition, 'lastTransitionTime'>;
  /** Milliseconds. */
  readonly again?: number;
  readonly until?: readonly Topic[];
};

export function expiryOf(store: Store, branch: Stored<'branch'>, now: Date): Expiry {
  const { name, scheduledDeleteTime: at } = branch.spec;
  if (at === undefined) return {};
  const left = Date.parse(at) - now.getTime();
  if (left > WARN_MS) return { again: left - WARN_MS };
  if (left > 0) {
    const message = `its time is over at ${at}; "offshoot branch ttl ${name} 2h" gives it more`;
    return {
      condition: { type: EXPIRES, status: 'True', reason: 'ExpiresSoon', message },
      again: left,
    };
  }
  const problem = expiryProblem(store, branch);
  if (problem === undefined) return { over: true };
  return { condition: blocked(problem), until: [topicOf.children(branch.name)] };
}

/** Of the condition that says this. */
export const EXPIRES = 'Expires';

// --- internal -----------------------------------------------------------------------------------

/** So long before, somebody may still do something about it. */
const WARN_MS = 10 * 60_000;

const blocked = ({ code, message }: OffshootError): NonNullable<Expiry['condition']> => ({
  type: EXPIRES,
  status: 'False',
  reason: reasonOf(code),
  message: `its time is over, but ${message}`,
});
