/** Whether a worktree was removed, or is only away: by what its folder and its repository look like, without git. */
import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';

export type WorktreePlace = {
  /** What the worktrees share, `.git` of the first one. */
  readonly repository: string;
  readonly worktree: string;
  readonly branch?: string;
};

/**
 * A folder that is not there was removed, unless its whole repository is away as well (a disk that is not mounted), git
 * was told to expect that (git-worktree(1), lock), or its branch is checked out elsewhere by now.
 */
export async function isRemoved({ repository, worktree, branch }: WorktreePlace): Promise<boolean> {
  if (existsSync(worktree) || !existsSync(repository)) return false;
  const head = branch === undefined ? undefined : `ref: refs/heads/${branch}`;
  if (head !== undefined && (await textOf(join(repository, 'HEAD'))) === head) return false;
  const all = join(repository, 'worktrees');
  for (const id of await readdir(all).catch(() => [])) {
    const own = join(all, id);
    // gitrepository-layout(5): the path of its `.git`; relative ones are meant from here.
    const place = dirname(resolve(own, await textOf(join(own, 'gitdir'))));
    if (place === worktree) {
      if (existsSync(join(own, 'locked'))) return false;
    } else if (head !== undefined && existsSync(place) && (await textOf(join(own, 'HEAD'))) === head)
      return false;
  }
  return true;
}

// --- internal -----------------------------------------------------------------------------------

const textOf = async (file: string): Promise<string> => (await readFile(file, 'utf8').catch(() => '')).trim();
