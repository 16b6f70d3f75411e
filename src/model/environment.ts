/**
 * An environment: the sandbox of a git branch, whose forks run the code of the worktree that has the branch checked out.
 * What it belongs to stands in labels of the sandbox.
 */
import { createHash } from 'node:crypto';
import { basename } from 'node:path';
import { labelOf, sandboxNameFor } from './names.ts';
import type { Labels, SandboxSpec } from './sandbox.ts';

/** Who an environment belongs to. Paths are absolute and real. */
export type EnvironmentOwner = {
  /** The folder that all worktrees of a repository share (git-rev-parse(1), --git-common-dir). */
  readonly repository: string;
  /** The top of the worktree whose code it runs. */
  readonly worktree: string;
  /** Absent: the worktree has none checked out, and the environment is that of the worktree itself. */
  readonly branch?: string;
};

/** `environment:` of an offshoot.yaml: what of the baseline an environment has for itself. */
export type EnvironmentConfig = {
  /** As by `workloadPath`; absent: every workload that runs an image of the file. */
  readonly forks?: readonly string[];
  /** Name → URL of a Service; absent: one for each fork that has a Service. */
  readonly endpoints?: Readonly<Record<string, string>>;
  /** Absent: it shares the database of the baseline. */
  readonly database?: EnvironmentDatabase;
  /** Paths below the folder of the file that a new worktree gets from the first one. */
  readonly copy?: readonly string[];
};

export type EnvironmentDatabase = {
  /** Absent: the default one. */
  readonly project?: string;
  /** Variable of the forks → output of `branch/create`. */
  readonly variables: Readonly<Record<string, string>>;
};

/** Of the sandbox: what names the branch of its database. */
export const environmentResource = 'database';

export const environmentLabels = ({ repository, worktree, branch }: EnvironmentOwner): Labels => ({
  [REPOSITORY]: repository,
  [WORKTREE]: worktree,
  ...(branch !== undefined && { [BRANCH]: branch }),
});

/** @returns undefined for a sandbox that is no environment */
export function environmentOwner({ labels = {} }: Pick<SandboxSpec, 'labels'>): EnvironmentOwner | undefined {
  const { [REPOSITORY]: repository, [WORKTREE]: worktree, [BRANCH]: branch } = labels;
  if (repository === undefined || worktree === undefined) return undefined;
  return { repository, worktree, ...(branch !== undefined && { branch }) };
}

/** Whether both are the same git branch of the same repository, or the same worktree without one. */
export const sameEnvironment = (a: EnvironmentOwner, b: EnvironmentOwner): boolean =>
  environmentIdentity(a) === environmentIdentity(b);

/** The same for the same environment, and for no other one. */
export const environmentIdentity = (owner: EnvironmentOwner): string => {
  const { repository, worktree, branch } = owner;
  const own = branch === undefined ? ['worktree', worktree] : ['branch', branch];
  return [repository, ...own].join('\0');
};

/** For sentences. */
export const describeOwner = ({ repository, worktree, branch }: EnvironmentOwner): string =>
  branch === undefined ? `the worktree ${worktree}` : `the git branch ${branch} of ${repository}`;

/** Valid names of a sandbox, the first of which is free is taken: as the branch is called, and one that nobody else gets. */
export function environmentNames(owner: EnvironmentOwner): readonly [string, string] {
  const plain = sandboxNameFor(owner.branch ?? basename(owner.worktree));
  const hash = createHash('sha256').update(environmentIdentity(owner)).digest('hex').slice(0, HASH);
  const room = MOST - HASH - 1;
  const short = plain.length <= room ? plain : labelOf([plain], room);
  return [plain, `${short}-${hash}`];
}

// --- internal -----------------------------------------------------------------------------------

const REPOSITORY = 'offshoot.dev/repository';
const WORKTREE = 'offshoot.dev/worktree';
const BRANCH = 'offshoot.dev/git-branch';

/** Characters of a sandbox's name. */
const MOST = 30;
const HASH = 8;
