/** What reflogs say of git branches: where one was made, and what one is called that had another name. */
import type { ExecError } from './exec.ts';
import { git, hasBranch, type Worktree, worktreesOf } from './git.ts';

export type Origin = {
  /** The git branch that it was made from; absent: it was made from something else, or nothing says so. */
  readonly from?: string;
  /** It had another name once. */
  readonly renamed: boolean;
};

/**
 * Where the branch of a worktree comes from, as its reflog and that of HEAD say.
 * @param seenIn folder in which git was called when the worktree was made, where that is known
 */
export async function originOf(
  { top, branch }: Worktree,
  env: NodeJS.ProcessEnv,
  seenIn?: string,
): Promise<Origin> {
  if (branch === undefined) return { renamed: false };
  const reflog = async (ref: string) => {
    const found = await git(top, env, ['reflog', 'show', '--format=%H %gs', ref, '--']).catch(
      () => undefined,
    );
    return (found?.stdout ?? '').split('\n').filter(line => line !== '');
  };
  const [own, head] = await Promise.all([reflog(`refs/heads/${branch}`), reflog('HEAD')]);
  const from = await madeFrom();
  return { renamed: own.some(line => RENAMED.test(line)), ...(from !== undefined && { from }) };

  async function madeFrom(): Promise<string | undefined> {
    const [, commit, made] = /^(\S+) branch: Created from (.+)$/.exec(own.at(-1) ?? '') ?? [];
    if (made !== undefined && made !== 'HEAD') {
      const name = made.replace(/^refs\/heads\//, '');
      const isBranch = await git(top, env, ['show-ref', '--verify', '--quiet', `refs/heads/${name}`]).catch(
        () => false,
      );
      return isBranch === false ? undefined : name;
    }
    for (const line of head.toReversed()) {
      const [, from, to] = /^\S+ checkout: moving from (\S+) to (\S+)$/.exec(line) ?? [];
      if (to === branch) return from;
    }
    // A worktree was made for it, with what was checked out where that was asked for.
    const all = await worktreesOf(top, env);
    const others = all.filter(
      one => one.branch !== branch && one.branch !== undefined && one.commit === commit,
    );
    const [first] = all;
    const seen = others.find(one => one.top === seenIn) ?? others.find(one => one.top === first?.top);
    return seen?.branch ?? (others.length === 1 ? others[0]!.branch : undefined);
  }
}

/**
 * What a git branch is called now. Git tells no hook that one is renamed, only that the old name was deleted.
 * @param repository as of a Worktree
 * @param sinceMs epoch; what was renamed before, in whole seconds, was another branch of that name
 * @returns undefined when it is there as it was, was deleted, or nothing says so
 * @throws ExecError
 */
export async function renamedTo(
  repository: string,
  env: NodeJS.ProcessEnv,
  branch: string,
  sinceMs: number,
): Promise<string | undefined> {
  const all = await renames(repository, env);
  let [name, at] = [branch, Math.floor(sinceMs / 1_000)];
  // Each step uses up one; names may go round within a second.
  for (let left = all.length; left > 0 && !(await hasBranch(repository, env, name)); left--) {
    const [next] = all.filter(one => one.from === name && one.at >= at).toSorted((a, b) => b.at - a.at);
    if (next === undefined) return undefined;
    [name, at] = [next.to, next.at];
  }
  return name !== branch && (await hasBranch(repository, env, name)) ? name : undefined;
}

// --- internal -----------------------------------------------------------------------------------

type Rename = {
  readonly from: string;
  readonly to: string /** Seconds of the epoch. */;
  readonly at: number;
};

const RENAMED = /\bBranch: renamed refs\/heads\/(\S+) to refs\/heads\/(\S+)$/;

async function renames(repository: string, env: NodeJS.ProcessEnv): Promise<readonly Rename[]> {
  const args = ['log', '--walk-reflogs', '--all', '--date=unix', '--format=%gd %gs'];
  const only = ['--fixed-strings', '--grep-reflog=Branch: renamed refs/heads/'];
  const told = await git(repository, env, [...args, ...only]).catch((error: ExecError) => {
    if (typeof error.exitCode === 'number') return undefined; // there is no commit yet
    throw error;
  });
  return (told?.stdout ?? '').split('\n').flatMap(line => {
    const [, from, to] = RENAMED.exec(line) ?? [];
    const [, at] = /@\{(\d+)\}/.exec(line) ?? [];
    return from === undefined || to === undefined ? [] : [{ from, to, at: Number(at) }];
  });
}
