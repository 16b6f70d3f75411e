/** Making the environment of a worktree, or bringing it up to date. */
import { join, relative } from 'node:path';
import type { AppliedEnvironment } from '../client/index.ts';
import { copyTree } from '../lib/copy-tree.ts';
import { type Worktree, worktreesOf } from '../lib/git.ts';
import { originOf } from '../lib/git-origin.ts';
import { OffshootError } from '../model/errors.ts';
import type { SandboxView } from '../model/view.ts';
import type { Cli } from './context.ts';
import { waitForForks } from './deploy-wait.ts';
import { environments, type Here, projectFileOf } from './environment-here.ts';
import { followRenamesTo } from './environment-renamed.ts';
import { say, took } from './output.ts';
import { type ProjectFile, readProject } from './project-file.ts';
import { waitForSandbox } from './sandbox-wait.ts';
import { waitFor } from './wait.ts';

export type UpOptions = {
  readonly from: string | undefined;
  /** Folder in which git was called when the worktree was made, where that is known. */
  readonly seenIn?: string | undefined;
  readonly wait: boolean;
  readonly timeoutMs: number;
};

/** @throws OffshootError environment/*, sandbox/*, api/*; UsageError without a project file */
export async function upEnvironment(
  cli: Cli,
  here: Here,
  { from, seenIn, wait, timeoutMs }: UpOptions,
): Promise<SandboxView> {
  const { worktree, owner } = here;
  const project = projectFileOf(cli, worktree);
  const [{ images, migrate, environment: { copy = [], ...config } = {} }, origin] = await Promise.all([
    readProject(cli, project),
    originOf(worktree, cli.env, seenIn),
  ]);
  if (origin.renamed) await followRenamesTo(cli, here);
  if (copy.length > 0) await copyNeeds(cli, worktree, project, copy);
  const { file } = project;
  const before = from === undefined && origin.from !== undefined && { cameFrom: [origin.from] };
  const request = { owner, config, images, migrate, file, from, ...before };
  const applied = await whenFree(cli, timeoutMs, () => cli.client().environments.apply(request));
  const { name, outcome, parked, grownFrom, warnings, changed, migrates, ...view } = applied;
  const grown = grownFrom === undefined ? '' : `, its database grown from ${grownFrom}`;
  say(cli, `environment ${name} ${outcome}${grown}`);
  for (const other of parked)
    say(cli, `environment ${other} keeps its database; this folder runs ${name} now`);
  for (const warning of warnings) say(cli, `warning: ${warning}`);
  if (migrates) say(cli, 'its migrations have changed, they run');
  for (const { forkOf } of changed)
    say(cli, `fork ${forkOf.namespace}/${forkOf.name}: its code has changed, it starts anew`);
  if (!wait) return { ...view, name };
  if (changed.length > 0) await waitForForks(cli, changed, timeoutMs);
  return await waitForSandbox(cli, applied, timeoutMs);
}

// --- internal -----------------------------------------------------------------------------------

/** What git does not bring into a new worktree, from the first one. */
async function copyNeeds(
  cli: Cli,
  { top }: Worktree,
  { folder }: ProjectFile,
  paths: readonly string[],
): Promise<void> {
  const [first] = await worktreesOf(top, cli.env);
  if (first === undefined || first.top === top) return;
  const source = join(first.top, relative(top, folder));
  for (const path of paths) {
    const started = performance.now();
    if (await copyTree(join(source, path), join(folder, path)))
      say(cli, `copied ${path} from ${source} (${took(performance.now() - started)})`);
  }
}

/** One of the same git branch that is just going is waited for. */
async function whenFree(
  cli: Cli,
  timeoutMs: number,
  apply: () => Promise<AppliedEnvironment>,
): Promise<AppliedEnvironment> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    try {
      return await apply();
    } catch (error) {
      const isGoing = error instanceof OffshootError && error.code === 'sandbox/deleting';
      if (!isGoing || performance.now() > deadline) throw error;
      const going = (await environments(cli)).flatMap(one => (one.deletedAt === undefined ? [] : [one.name]));
      await waitFor<SandboxView>(cli, {
        kind: 'sandbox',
        timeoutMs: Math.max(1, Math.ceil(deadline - performance.now())),
        what: 'the environment before it to be gone',
        probe: objects => (going.every(name => !objects.has(name)) ? true : undefined),
        last: objects => going.map(name => objects.get(name)?.status.message).find(text => text),
      });
    }
  }
}
