/** The branches of a project as they must be, and what may be done with which of them at the moment. */
import type { Client } from '../../../src/client/index.ts';
import type { Chance } from '../../../test/support/random.ts';
import type { Ledger } from './ledger.ts';
import type { Moment } from './moments.ts';

export type Known = {
  name: string;
  /** Undefined: the root. */
  readonly parent: Known | undefined;
  ledger: Ledger;
  /** Holds the password. */
  url: string;
  /** How many operations use it, of which none changes what it is. */
  users: number;
  /** One operation has it alone. */
  taken: boolean;
};

export type World = {
  readonly client: () => Client;
  readonly project: string;
  readonly branches: Set<Known>;
  /** In the trash, by entry. */
  readonly trash: Map<string, Known>;
  readonly main: Known;
  /** Of `main`. */
  readonly moments: Moment[];
  nextBatch(): number;
  nextName(): string;
  /** Whether something was killed since that moment, so that what began then may have failed for it. */
  excuses(since: number): boolean;
  now(): number;
  /** Resolves when all is well that was killed. */
  well(): Promise<void>;
};

export const childrenOf = (world: World, branch: Known): readonly Known[] =>
  [...world.branches].filter(({ parent }) => parent === branch);

/** One that fits and that nobody else has alone. */
export function anyOf(
  world: World,
  dice: Chance,
  fits: (branch: Known) => boolean = () => true,
): Known | undefined {
  const all = [...world.branches].filter(branch => !branch.taken && fits(branch));
  return all.length === 0 ? undefined : dice.pick(all);
}

/** One that nobody uses. */
export const idle = ({ users, taken }: Known): boolean => users === 0 && !taken;

export async function using<T>(branch: Known, work: () => Promise<T>): Promise<T> {
  branch.users += 1;
  try {
    return await work();
  } finally {
    branch.users -= 1;
  }
}

export async function alone<T>(branch: Known, work: () => Promise<T>): Promise<T> {
  branch.taken = true;
  try {
    return await work();
  } finally {
    branch.taken = false;
  }
}
