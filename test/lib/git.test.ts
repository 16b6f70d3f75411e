/** Where a git branch came from, and whether a worktree is gone, in repositories of a real git. */
import assert from 'node:assert/strict';
import { mkdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { hasBranch, worktreeOf, worktreesOf } from '../../src/lib/git.ts';
import { originOf, renamedTo } from '../../src/lib/git-origin.ts';
import { isRemoved } from '../../src/lib/worktree-gone.ts';
import { gitProject } from '../support/git-project.ts';
import { tempDir } from '../support/temp.ts';

const { env } = process;

test('a git branch came from where it was made', async () => {
  await using dir = await tempDir();
  const { git, folder } = await gitProject(join(dir.path, 'shop'), { namespace: 'demo' });
  const from = async (place = folder, seenIn?: string) =>
    (await originOf(await worktreeOf(place, env), env, seenIn)).from;
  const add = async (name: string, ...more: readonly string[]) => {
    const place = join(dir.path, name);
    await git(['worktree', 'add', '--quiet', '-b', name, place, ...more]);
    return place;
  };
  await git(['checkout', '--quiet', '-b', 'one']);
  assert.equal(await from(), 'main');
  await git(['checkout', '--quiet', '-b', 'two']);
  assert.equal(await from(), 'one');
  await git(['checkout', '--quiet', 'main']);
  await git(['checkout', '--quiet', 'two']);
  assert.equal(await from(), 'one', 'not where somebody came from later');
  assert.equal(await from(await add('named', 'one')), 'one');
  assert.equal(await from(await add('by-commit', 'main~0')), undefined);
  await git(['tag', 'v1']);
  assert.equal(await from(await add('by-tag', 'v1')), undefined);
  // Of a worktree git only says that it was made from HEAD.
  const [plain, seen] = [await add('plain'), await add('seen')];
  assert.equal(await from(plain), 'two');
  assert.equal(await from(seen, join(dir.path, 'named')), 'named');
  await git(['commit', '--quiet', '--allow-empty', '--message=more'], seen);
  const later = join(dir.path, 'later');
  await git(['worktree', 'add', '--quiet', '-b', 'later', later], seen);
  assert.equal(await from(later), 'seen', 'the only one with that commit');
  await git(['checkout', '--quiet', '--detach'], later);
  assert.equal(await from(later), undefined);

  const { repository, top, branch } = await worktreeOf(join(later, 'k8s'), { ...env, GIT_DIR: '/nowhere' });
  assert.deepEqual([repository, top, branch], [join(folder, '.git'), later, undefined]);
  assert.deepEqual((await worktreesOf(later, env)).map(one => one.branch ?? '-').sort(), [
    '-',
    'by-commit',
    'by-tag',
    'named',
    'plain',
    'seen',
    'two',
  ]);
  assert.deepEqual(
    [await hasBranch(repository, env, 'seen'), await hasBranch(repository, env, 'se')],
    [true, false],
  );
});

test('a git branch that was renamed is found under its new name', async () => {
  await using dir = await tempDir();
  const { git, folder } = await gitProject(join(dir.path, 'shop'), { namespace: 'demo' });
  const repository = join(folder, '.git');
  const now = (branch: string, since = 0) => renamedTo(repository, env, branch, since);
  const renamed = async (place: string) => (await originOf(await worktreeOf(place, env), env)).renamed;
  await git(['checkout', '--quiet', '-b', 'one']);
  assert.equal(await now('one'), undefined, 'it is as it was');
  assert.equal(await renamed(folder), false);
  await git(['branch', '--move', 'fix/a+b.c']);
  assert.equal(await now('one'), 'fix/a+b.c');
  assert.equal(await renamed(folder), true);
  await git(['branch', '--move', 'third']);
  assert.deepEqual([await now('one'), await now('fix/a+b.c')], ['third', 'third']);
  assert.equal(await now('one', Date.now() + 60_000), undefined, 'what was called so before is another one');
  // Where nobody is, and back again.
  await git(['checkout', '--quiet', 'main']);
  await git(['branch', '--move', 'third', 'one']);
  assert.deepEqual([await now('one'), await now('third')], [undefined, 'one']);
  await git(['branch', '--quiet', '-D', 'one']);
  assert.equal(await now('third'), undefined);
  assert.equal(await now('never'), undefined);
});

test('a worktree that was removed is gone, one that is only away is not', async () => {
  await using dir = await tempDir();
  const { git, folder } = await gitProject(join(dir.path, 'shop'), { namespace: 'demo' });
  const repository = join(folder, '.git');
  const make = async (branch: string) => {
    const worktree = join(dir.path, branch);
    await git(['worktree', 'add', '--quiet', '-b', branch, worktree]);
    return { repository, worktree, branch };
  };
  const gone = await make('gone');
  assert.equal(await isRemoved(gone), false);
  await git(['worktree', 'remove', gone.worktree]);
  assert.equal(await isRemoved(gone), true);
  assert.equal(await isRemoved({ repository, worktree: gone.worktree }), true, 'one without a branch');
  const byHand = await make('by-hand');
  rmSync(byHand.worktree, { recursive: true });
  assert.equal(await isRemoved(byHand), true);
  await git(['worktree', 'lock', byHand.worktree]);
  assert.equal(await isRemoved(byHand), false, 'git was told that it comes back');
  const moved = await make('moved');
  await git(['worktree', 'move', moved.worktree, join(dir.path, 'elsewhere')]);
  assert.equal(await isRemoved(moved), false);
  await git(['checkout', '--quiet', 'gone']);
  assert.equal(await isRemoved(gone), false, 'its branch is in the first worktree now');
  renameSync(folder, `${folder}-away`);
  rmSync(join(dir.path, 'elsewhere'), { recursive: true });
  assert.equal(await isRemoved(moved), false, 'all of it is away');
  mkdirSync(folder);
});
