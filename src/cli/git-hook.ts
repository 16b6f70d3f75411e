/** What happens after a hook of git, in the background. All of it looks at how things are now, in whatever order it runs. */
import { appendFileSync, mkdirSync, statSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { ExecError } from '../lib/exec.ts';
import { git, hasBranch, type Worktree } from '../lib/git.ts';
import { identify, isAlive } from '../lib/process.ts';
import { delay } from '../lib/wait.ts';
import { describeOwner } from '../model/environment.ts';
import { OffshootError } from '../model/errors.ts';
import { deleteSandbox } from './commands/sandbox.ts';
import type { Cli } from './context.ts';
import { environments, projectFileOf, whereWeAre } from './environment-here.ts';
import { followRename } from './environment-renamed.ts';
import { upEnvironment } from './environment-up.ts';
import { say, UsageError } from './output.ts';
import { readProject } from './project-file.ts';

/**
 * A branch was checked out, or a worktree made: its environment is made or brought up to date, if its project file speaks
 * of environments. The branch that others are made from has none of its own.
 * @param seenIn folder in which git was called
 */
export async function checkedOut(cli: Cli, seenIn?: string): Promise<void> {
  for (let round = 1; ; round++) {
    try {
      const branch = await follow(cli, seenIn);
      // Another checkout may have come meanwhile, and have been quicker.
      if (branch === undefined || (await whereWeAre(cli)).owner.branch === branch) return;
    } catch (error) {
      const passes =
        error instanceof ExecError || (error instanceof OffshootError && error.row.fault === 'conflict');
      if (!passes || round >= MOST_ROUNDS) throw error;
    }
    if (round >= MOST_ROUNDS) return;
    await delay(round * PAUSE_MS);
  }
}

export type Deleted = {
  readonly repository: string;
  /** Of the git that says so. It has more to do when it renames: the new name comes after the old one has gone. */
  readonly pid: number;
  readonly branches: readonly string[];
};

/** Environments of branches that were deleted go, those of branches that were renamed go on. */
export async function branchesDeleted(cli: Cli, { repository, pid, branches }: Deleted): Promise<void> {
  const git = Number.isInteger(pid) && pid > 0 ? identify(pid) : undefined;
  for (let waited = 0; git !== undefined && isAlive(git) && waited < GIT_MS; waited += LOOK_MS)
    await delay(LOOK_MS);
  for (const one of await environments(cli)) {
    const { name, owner, deletedAt } = one;
    const { branch } = owner;
    if (deletedAt !== undefined || owner.repository !== repository || branch === undefined) continue;
    if (!branches.includes(branch) || (await hasBranch(repository, cli.env, branch))) continue;
    if ((await followRename(cli, one)) !== undefined) continue;
    say(cli, `${describeOwner(owner)} was deleted`);
    await remove(cli, name);
  }
}

/** Runs `body`; what it says, and why it failed, goes into `logs/git-hooks.log` of the data directory. */
export async function noting(cli: Cli, body: (cli: Cli) => Promise<void>): Promise<void> {
  let text = '';
  const stderr = new Writable({
    write(chunk: Buffer, _, done) {
      text += String(chunk);
      done();
    },
  });
  const own: Cli = { ...cli, stderr, client: cli.client, config: cli.config };
  try {
    await body(own);
  } catch (error) {
    if (!(error instanceof OffshootError || error instanceof UsageError))
      text += `${(error as Error).stack}\n`;
    else text += `error: ${error.message}\n`;
  }
  if (text !== '') note(cli, text);
}

// --- internal -----------------------------------------------------------------------------------

/** Milliseconds for which a git may take to rename a branch; one that deletes others, too, is not waited for any longer. */
const [GIT_MS, LOOK_MS] = [30_000, 10];

const MOST_ROUNDS = 10;
/** Milliseconds between two of them, more with each: others may be at work on the repository. */
const PAUSE_MS = 100;
const WAIT_MS = 120_000;
const LOG_BYTES = 1024 * 1024;

/** @returns the branch whose environment there is now; undefined: there is nothing to follow */
async function follow(cli: Cli, seenIn: string | undefined): Promise<string | undefined> {
  const here = await whereWeAre(cli);
  const { branch, repository } = here.owner;
  if (branch === undefined) return undefined; // a rebase, or a look at an old commit: what is there stays
  if (await isTrunk(here.worktree, cli.env, branch)) {
    await cli.client().environments.park(here.owner);
    return branch;
  }
  const { environment } = await readProject(cli, projectFileOf(cli, here.worktree));
  if (environment === undefined) return undefined;
  const made = await upEnvironment(cli, here, { from: undefined, seenIn, wait: false, timeoutMs: WAIT_MS });
  if (await hasBranch(repository, cli.env, branch)) return branch;
  await remove(cli, made.name);
  return undefined;
}

const remove = (cli: Cli, name: string): Promise<void> =>
  deleteSandbox(cli, name, {
    ...{ force: false, recursive: false, ifExists: true, wait: false, timeoutMs: WAIT_MS },
  });

function note(cli: Cli, text: string): void {
  const folder = join(cli.config().home, 'logs');
  const file = join(folder, 'git-hooks.log');
  mkdirSync(folder, { recursive: true });
  if ((statSync(file, { throwIfNoEntry: false })?.size ?? 0) > LOG_BYTES) truncateSync(file);
  const at = new Date().toISOString();
  const lines = text.trimEnd().split('\n');
  appendFileSync(file, lines.map(line => `${at} ${cli.cwd}: ${line}\n`).join(''), { mode: 0o600 });
}

/** The branch that `origin` begins with, else those that git begins with. */
async function isTrunk({ top }: Worktree, env: NodeJS.ProcessEnv, branch: string): Promise<boolean> {
  const args = ['symbolic-ref', '--quiet', '--short', 'refs/remotes/origin/HEAD'];
  const found = await git(top, env, args).then(
    ({ stdout }) => stdout.trim().replace(/^origin\//, ''),
    () => undefined,
  );
  return found === undefined ? ['main', 'master'].includes(branch) : branch === found;
}
