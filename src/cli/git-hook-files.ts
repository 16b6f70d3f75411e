/**
 * The hooks of a repository that hand over to us. Whatever hooks there are stay as they are, where they are: beside none of
 * their names, ours go into the same folder; else ours are in a folder of our own, `core.hooksPath` of this repository leads
 * there, and each calls the one that would have been called without us.
 */
import { chmodSync, existsSync, mkdirSync, readFileSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ExecError } from '../lib/exec.ts';
import { git, type Worktree } from '../lib/git.ts';
import { UsageError } from './output.ts';

export type HookOptions = {
  /** What hooks call. */
  readonly launcher: string;
  /** Data directory of the daemon that they speak to; absent: as in the environment of git. */
  readonly home?: string;
};

/** @returns what was done, in words @throws UsageError, ExecError */
export async function installHooks(
  worktree: Worktree,
  env: NodeJS.ProcessEnv,
  options: HookOptions,
): Promise<string> {
  const { top, repository } = worktree;
  await uninstallHooks(worktree, env);
  const path = await hooksPath(top, env);
  if (path?.scope === 'worktree' || path?.scope === 'command')
    throw new UsageError(
      `core.hooksPath is set for ${path.scope === 'command' ? 'this call' : 'this worktree'} alone; set it for the repository or for all, and repeat`,
    );
  const usual = join(repository, 'hooks');
  if (path === undefined && OURS.every(name => !existsSync(join(usual, name)))) {
    const madeFolder = mkdirSync(usual, { recursive: true }) !== undefined;
    remember(repository, { in: usual, ...(madeFolder && { madeFolder }) });
    for (const name of OURS) writeHook(join(usual, name), scriptOf(name, undefined, repository, options));
    return `hooks ${OURS.join(' and ')} are in ${usual}`;
  }
  const former = path?.value ?? usual;
  const own = join(ourFolder(repository), 'hooks');
  mkdirSync(own, { recursive: true });
  const before = path?.scope === 'local' ? { before: path.raw } : {};
  remember(repository, { in: own, path: own, ...before });
  const there = ONLY_WHERE_THERE.filter(name => existsSync(join(former, name)));
  for (const name of new Set([...OURS, ...PASSED_ON, ...there]))
    writeHook(join(own, name), scriptOf(name, former, repository, options));
  await git(top, env, ['config', '--local', 'core.hooksPath', own]);
  return `hooks are in ${own}, before those of ${former}, which run as ever`;
}

/** @returns whether there were some @throws ExecError */
export async function uninstallHooks(
  { top, repository }: Worktree,
  env: NodeJS.ProcessEnv,
): Promise<boolean> {
  const record = recorded(repository);
  if (record === undefined) return false;
  if (record.path !== undefined) {
    // Somebody else may have set it since.
    const now = await configured(top, env, ['--local', 'core.hooksPath']);
    if (now === record.path) {
      const back =
        record.before === undefined ? ['--unset', 'core.hooksPath'] : ['core.hooksPath', record.before];
      await git(top, env, ['config', '--local', ...back]);
    }
  } else {
    for (const name of OURS.map(one => join(record.in, one))) if (isOurs(name)) rmSync(name);
    try {
      if (record.madeFolder) rmdirSync(record.in);
    } catch {
      // Others have hooks there by now.
    }
  }
  rmSync(ourFolder(repository), { recursive: true, force: true });
  return true;
}

// --- internal -----------------------------------------------------------------------------------

type Record = {
  /** Folder of our hooks. */
  readonly in: string;
  readonly madeFolder?: boolean;
  /** What core.hooksPath of the repository is because of us, and what it was; absent: nothing. */
  readonly path?: string;
  readonly before?: string;
};

const OURS = ['post-checkout', 'reference-transaction'] as const;

/** All others that git calls by their name (githooks(5)). */
const PASSED_ON = [
  ...['applypatch-msg', 'pre-applypatch', 'post-applypatch', 'pre-commit', 'pre-merge-commit'],
  ...[
    'prepare-commit-msg',
    'commit-msg',
    'post-commit',
    'pre-rebase',
    'post-merge',
    'pre-push',
    'pre-receive',
  ],
  ...['update', 'post-receive', 'post-update', 'pre-auto-gc', 'post-rewrite', 'sendemail-validate'],
  ...['post-index-change', 'p4-changelist', 'p4-prepare-changelist', 'p4-post-changelist', 'p4-pre-submit'],
];

/** That there is one of these makes git do something else. */
const ONLY_WHERE_THERE = ['push-to-checkout', 'proc-receive', 'fsmonitor-watchman'];

const MARK = '# Offshoot\'s: "offshoot git uninstall-hooks" takes it away.';

const ourFolder = (repository: string): string => join(repository, 'offshoot');
const recordFile = (repository: string): string => join(ourFolder(repository), 'hooks.json');

function remember(repository: string, record: Record): void {
  mkdirSync(ourFolder(repository), { recursive: true });
  writeFileSync(recordFile(repository), `${JSON.stringify(record)}\n`);
}

function recorded(repository: string): Record | undefined {
  try {
    return JSON.parse(readFileSync(recordFile(repository), 'utf8')) as Record;
  } catch {
    return undefined;
  }
}

function isOurs(file: string): boolean {
  try {
    return readFileSync(file, 'utf8').includes(MARK);
  } catch {
    return false;
  }
}

function writeHook(file: string, text: string): void {
  writeFileSync(file, text);
  chmodSync(file, 0o755);
}

/** What is in force there, as a path, and as it is written. */
async function hooksPath(
  top: string,
  env: NodeJS.ProcessEnv,
): Promise<{ readonly scope: string; readonly value: string; readonly raw: string } | undefined> {
  const text = await configured(top, env, ['--show-scope', 'core.hooksPath']);
  if (text === undefined) return undefined;
  const [scope = '', raw = ''] = text.split('\t');
  return { scope, raw, value: (await configured(top, env, ['--type=path', 'core.hooksPath'])) ?? raw };
}

async function configured(
  top: string,
  env: NodeJS.ProcessEnv,
  args: readonly string[],
): Promise<string | undefined> {
  try {
    const options = args.slice(0, -1);
    return (await git(top, env, ['config', ...options, '--get', args.at(-1)!])).stdout.replace(/\n$/, '');
  } catch (error) {
    if (error instanceof ExecError && error.exitCode === 1) return undefined;
    throw error;
  }
}

/**
 * POSIX sh without another program on git's way but those that are named: it starts us in the background, with nothing of
 * git's open, and ends as the hook before it did.
 * @param former folder of the hook that would have been called without us
 */
function scriptOf(
  name: string,
  former: string | undefined,
  repository: string,
  { launcher, home }: HookOptions,
): string {
  const before = former === undefined ? undefined : quoted(join(former, name));
  const head = ['#!/bin/sh', MARK];
  if (before !== undefined) head.push(`before=${before}`);
  if (name !== 'post-checkout' && name !== 'reference-transaction')
    return [...head, `[ -x "$before" ] || exit 0`, `exec "$before" "$@"`, ''].join('\n');
  const handOver = (what: string) => [
    `  (`,
    `    trap '' HUP INT`,
    ...(home === undefined ? [] : [`    OFFSHOOT_HOME=${quoted(home)}`, '    export OFFSHOOT_HOME']),
    `    exec ${quoted(launcher)} git hook ${what} </dev/null >/dev/null 2>&1 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-`,
    `  ) </dev/null >/dev/null 2>&1 &`,
  ];
  const isThere = `[ -x ${quoted(launcher)} ]`;
  if (name === 'post-checkout')
    return [
      ...head,
      'status=0',
      ...(before === undefined ? [] : ['if [ -x "$before" ]; then "$before" "$@" || status=$?; fi']),
      '# The third argument: 1 for a branch, 0 for files.',
      `if [ "\${3:-1}" = 1 ] && ${isThere}; then`,
      '  # Where git was called, which "git worktree add" tells nobody.',
      '  seen=$(readlink "/proc/$PPID/cwd" 2>/dev/null) || seen=',
      ...handOver('checkout "$seen"'),
      'fi',
      'exit $status',
      '',
    ].join('\n');
  const filter = `sed -n 's/^[0-9a-f]* 00*  *refs\\/heads\\///p'`;
  return [
    ...head,
    'if [ "$1" != committed ]; then',
    ...(before === undefined ? [] : ['  [ ! -x "$before" ] || exec "$before" "$@"']),
    '  exit 0',
    'fi',
    'status=0',
    ...(before === undefined
      ? [`deleted=$(${filter})`]
      : [
          'changes=$(cat)',
          `if [ -x "$before" ]; then printf '%s\\n' "$changes" | "$before" "$@" || status=$?; fi`,
          `deleted=$(printf '%s\\n' "$changes" | ${filter})`,
        ]),
    `if [ -n "$deleted" ] && ${isThere}; then`,
    // Names of branches hold neither blanks nor what a shell takes for a pattern (git-check-ref-format(1)).
    ...handOver(`deleted -- ${quoted(repository)} "$PPID" $deleted`),
    'fi',
    'exit $status',
    '',
  ].join('\n');
}

/** POSIX.1-2024, XCU 2.2.2. */
const quoted = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;
