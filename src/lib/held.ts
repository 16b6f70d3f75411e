/**
 * Starts a program that waits: it has a pid, so that it can be written down and put where it belongs, but runs
 * nothing of its own until it is let go; when whoever should let it go is gone, it ends.
 */
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { closeSync, openSync, unlinkSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { exec } from './exec.ts';
import { locksOf } from './mounts.ts';
import { type Bind, begin, type PrivateMounts } from './namespaces.ts';
import { type Child, posixSpawn, type Start, type Starter } from './posix-spawn.ts';
import { identify, type ProcessId } from './process.ts';

/** What the wrapper needs of the machine. Absolute paths. */
export type Shells = {
  /** A POSIX shell; it starts faster than bash, but drops variables whose names it cannot use itself. */
  readonly sh: string;
  /** Passes such variables on, as Spring has them (`spring.datasource.url`). */
  readonly bash?: string;
  /** env(1), which puts right what a shell has changed. */
  readonly env?: string;
  /** nsenter(1), which becomes another user before it becomes something else. */
  readonly nsenter?: string;
  /** Variables that each of the two adds to the environment of what it becomes. */
  readonly added: { readonly sh: readonly string[]; readonly bash: readonly string[] };
};

/** How a program gets into namespaces: the start itself happens within them, or is led there by programs. */
export type Entrance = {
  /** Absent where programs alone lead there. */
  within?<T>(work: () => T): T;
  /** Goes before its argument vector: a program that makes it root of a user namespace of ours, with options that take others behind them. */
  readonly through: readonly string[];
  /** Only what is started by what is started is inside. */
  readonly apart?: boolean;
};

export type HeldProgram = {
  /** The program, as a path or a name on the PATH of `env`, then its arguments. */
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
  readonly uid?: number;
  readonly gid?: number;
  /** Where its output goes. Its input is /dev/null. */
  readonly stdout: number | 'pipe' | 'ignore';
  readonly stderr: number | 'pipe' | 'ignore';
  /** Descriptors that it inherits as 3, 4, … */
  readonly inherit?: readonly number[];
  readonly mounts?: {
    readonly how: PrivateMounts;
    readonly binds: readonly Bind[];
    /** Where it works when the mounts are made, if that is not `cwd`. */
    readonly cwd?: string;
    /** What it sees as `/` then. */
    readonly root?: string;
    /** Of its own, where `how` has one. */
    readonly hostname?: string;
    /** It sees the processes of the namespace that it is in, and no others. */
    readonly processes?: boolean;
  };
  /** Where it starts and stays; default: where we are. */
  readonly inside?: Entrance;
  /**
   * Where its exit code is written, as a line, for whoever did not see it end. The shell then stays, as its parent and
   * as the leader of its group.
   */
  readonly exitFile?: string;
};

export type Held = {
  readonly child: Child;
  /** Of the program that it becomes, too: leader of a process group and a session of its own. */
  readonly id: ProcessId;
  /** Lets it run. @param more further arguments, each without a line end */
  go(more?: readonly string[]): void;
  /** Ends it before it has run. */
  drop(): void;
};

/** A variable that the shells of this machine cannot hand over. */
export class HeldVariableError extends Error {
  readonly variable: string;

  constructor(variable: string) {
    super(`the variable "${variable}" needs bash, which is not on the PATH`);
    this.name = 'HeldVariableError';
    this.variable = variable;
  }
}

/** @param path where to look for bash and env, as in `PATH` */
export async function findShells(path: string): Promise<Shells> {
  const sh = '/bin/sh';
  const { stdout } = await exec(sh, ['-c', FIND, 'sh', FORGET, ...BASH_OPTIONS], { env: { PATH: path } });
  const said = stdout.split('\n').map(line => line.split(' ', 2) as [string, string?]);
  const all = (what: string) => said.flatMap(([key, value]) => (key === what && value ? [value] : []));
  const [[bash], [env], [nsenter]] = [all('bash'), all('env'), all('nsenter')];
  const found = { ...(bash && { bash }), ...(env && { env }), ...(nsenter && { nsenter }) };
  return { sh, ...found, added: { sh: all('sh+'), bash: all('bash+') } };
}

/**
 * @throws HeldVariableError; the system's error (with `code`, e.g. ENOENT) when nothing can be started
 */
export async function hold(program: HeldProgram, shells: Shells): Promise<Held> {
  const { env, cwd, stdout, stderr, inherit = [], mounts, inside } = program;
  const starter = await starterFor(program, shells);
  const [file, ...args] = [...(inside?.through ?? []), ...wrapped(program, shells)];
  const table = hasTable(mounts) ? [await openTable(mounts)] : [];
  const stdio = ['pipe', stdout, stderr, ...inherit, ...table] as const;
  let child: Child;
  try {
    const start: Start = [file!, args, { cwd, env, stdio }];
    child = inside?.within ? inside.within(() => starter.here(...start)) : await starter.aside(...start);
  } finally {
    for (const fd of table) closeSync(fd);
  }
  const gate = child.stdin!;
  if (child.pid === undefined) throw await new Promise<Error>(resolve => child.once('error', resolve));
  child.on('error', () => {}); // can only be about a signal, and none is sent this way
  gate.on('error', () => {}); // it has ended already
  child.unref();
  return {
    child,
    // One that ended already has no start time; it then counts as dead, which it is.
    id: identify(child.pid) ?? { pid: child.pid, startTime: 'ended' },
    go(more = []) {
      if (more.some(argument => argument.includes('\n'))) throw new TypeError('an argument has a line end');
      gate.end([...more.map(argument => `+${argument}\n`), 'go\n'].join(''));
    },
    drop: () => void gate.end(),
  };
}

// --- internal -----------------------------------------------------------------------------------

/** Without a copy of us, where the machine lets us. */
async function starterFor({ uid, gid }: HeldProgram, { nsenter }: Shells): Promise<Starter> {
  const starter = await posixSpawn();
  if (starter === undefined || (uid !== undefined && nsenter === undefined)) {
    const here = (...[file, args, options]: Start) =>
      spawn(file, args, {
        ...{ ...options, stdio: [...options.stdio], detached: true },
        ...(uid !== undefined && { uid }),
        ...(gid !== undefined && { gid }),
      });
    return { here, aside: async (...start) => here(...start) };
  }
  if (uid === undefined) return starter;
  // It is in no other namespace then; what it drops first are the groups of ours.
  const become = ['--setuid', `${uid}`, '--setgid', `${gid ?? uid}`, '--'];
  const asUser = ([file, args, options]: Start): Start => [nsenter!, [...become, file, ...args], options];
  return {
    here: (...start) => starter.here(...asUser(start)),
    aside: (...start) => starter.aside(...asUser(start)),
  };
}

/**
 * The vector of the wrapper: a shell with a constant script that gets everything as positional arguments, so that
 * nothing is ever parsed as shell text. It ends in `exec`, and unshare(1) does not fork, so the pid that was spawned
 * is in the end the program itself.
 */
function wrapped(
  { argv, env, mounts, inherit = [], exitFile = '', inside }: HeldProgram,
  shells: Shells,
): readonly string[] {
  const odd = Object.keys(env).find(name => !USABLE.test(name));
  if (odd !== undefined && shells.bash === undefined) throw new HeldVariableError(odd);
  const [shell, added] =
    odd === undefined ? [[shells.sh], shells.added.sh] : [[shells.bash!, ...BASH_OPTIONS], shells.added.bash];
  const { enter: [unshare, ...options] = [], mount = '', umount = '', hide = '' } = mounts?.how ?? {};
  const { root, cwd = '' } = mounts ?? {};
  const isNamed = mounts?.hostname !== undefined && mounts.how.hostname !== undefined;
  const table = hasTable(mounts) ? String(FIRST_INHERITED + inherit.length) : '';
  const asRoot = inside === undefined || inside.through.length === 0 ? (mounts?.how.asRoot ?? []) : []; // there it is root already
  const put = putRight(env, added);
  const repair = put.length === 0 || shells.env === undefined ? [] : [shells.env, ...put];
  return [
    ...(unshare === undefined ? [] : [unshare, ...(isNamed ? ['--uts'] : []), ...options, ...asRoot]),
    ...shell,
    '-c',
    SCRIPT,
    'sh',
    mount,
    umount,
    hide,
    table,
    root === undefined ? cwd : '',
    exitFile,
    inside?.apart ? 'stay' : '',
    ...(isNamed ? [mounts.how.hostname!, mounts.hostname!] : ['', '']),
    ...repair,
    ...(mounts === undefined ? [] : begin(mounts.how, root === undefined ? undefined : { root, cwd })),
    ...argv,
  ];
}

type Mounts = NonNullable<HeldProgram['mounts']>;

const hasTable = (mounts: Mounts | undefined): mounts is Mounts =>
  mounts !== undefined && (mounts.binds.length > 0 || mounts.processes === true);

/** A file for mount(8), which takes nothing but a regular one; without a name, so that nothing is left of it. */
async function openTable({ how, binds, root = '/', processes }: Mounts): Promise<number> {
  const keeps = how.asOneself === undefined ? () => [] : await locksOf();
  const path = join('/tmp', `offshoot-mounts-${randomUUID()}`);
  const file = openSync(path, 'wx+', 0o600);
  unlinkSync(path);
  const lines = binds.map(bind => tableLine(bind, keeps(bind.source)));
  // Last, because a view of another root brings the machine's along.
  if (processes) lines.push(`offshoot ${escaped(join(root, 'proc'))} proc nosuid,nodev,noexec 0 0\n`);
  writeSync(file, lines.join(''));
  return file;
}

const FIRST_INHERITED = 3;

/** As in fstab(5), where space, tab, newline and backslash are three octal digits. */
const tableLine = ({ source, target, readOnly }: Bind, locks: readonly string[]): string =>
  `${escaped(source)} ${escaped(target)} none ${['rbind', ...(readOnly ? ['ro', ...locks] : [])]} 0 0\n`;

const escaped = (path: string): string =>
  path.replace(/[ \t\n\\#]/g, letter => `\\${letter.charCodeAt(0).toString(8).padStart(3, '0')}`);

/** Names that every shell passes on. */
const USABLE = /^[A-Za-z_]\w*$/;
/** Names that shells keep for themselves. Their values are no secrets, they may stand in an argument of env(1). */
const OF_SHELLS =
  /^(_|BASH|BASHOPTS|BASHPID|BASH_.*|EUID|IFS|LINENO|OLDPWD|OPTERR|OPTIND|PPID|PS[0-4]|PWD|RANDOM|SECONDS|SHELLOPTS|SHLVL|SRANDOM|UID)$/;

/** Arguments of env(1) that undo what a shell does to an environment. */
function putRight(env: Readonly<Record<string, string>>, added: readonly string[]): readonly string[] {
  const superfluous = added.filter(name => !(name in env)).flatMap(name => ['-u', name]);
  const changed = Object.keys(env).filter(name => OF_SHELLS.test(name));
  return [...superfluous, ...changed.map(name => `${name}=${env[name]}`)];
}

/** What shells always add. */
const FORGET = 'unset PWD OLDPWD _';

// A namespace begins as a copy of the machine's mounts, and where the machine's are private its unmounting does
// not reach the copy: a file system would stay busy for as long as the program runs. Hence the unmounting first,
// which an ordinary user may not do.
// Binds are recursive, because in a user namespace a mount cannot be separated from the mounts below it; all are made
// by one process, because each one more costs more than all mounts. A variable of the script that the program has too
// would be changed for the program, hence the odd names. The file for the exit code is opened first, because what is
// mounted may lie over it.
// The host name is written by the shell itself where it may, because a program more costs a millisecond of each start.
// A signal to the group reaches the program; the shell that waits for it lives on, to write how it ended, or because it
// is not itself in the process namespace that its children are born in; then it ends as its program did.
const SCRIPT = `_held_mount=$1 _held_umount=$2 _held_hide=$3 _held_table=$4 _held_cwd=$5 _held_exit=$6
_held_stay=$7 _held_hostname=$8 _held_name=$9
shift 9
[ -z "$_held_exit" ] || exec 9>>"$_held_exit"
if [ -n "$_held_hide" ]; then
  while read -r _ _held_target _; do
    case $_held_target in "$_held_hide"/*) "$_held_umount" -l "$_held_target" 2>/dev/null;; esac
  done < /proc/self/mounts
fi
if [ -n "$_held_table" ]; then
  "$_held_mount" -a -T "/proc/self/fd/$_held_table" || exit 125
  eval "exec $_held_table<&-"
fi
if [ -n "$_held_name" ]; then
  { echo "$_held_name" >/proc/sys/kernel/hostname; } 2>/dev/null || "$_held_hostname" "$_held_name" || exit 125
fi
[ -z "$_held_cwd" ] || cd "$_held_cwd" || exit 125
while IFS= read -r _held_line; do
  case $_held_line in
    +*) set -- "$@" "\${_held_line#+}";;
    go)
      ${FORGET}
      [ -n "$_held_exit$_held_stay" ] || exec "$@" </dev/null
      trap : TERM INT HUP
      "$@" </dev/null 9>&-
      _held_code=$?
      if [ -n "$_held_exit" ]; then echo "$_held_code" >&9
      elif [ "$_held_code" -gt 128 ]; then
        trap - TERM INT HUP
        kill "-$((_held_code - 128))" "$$"
      fi
      exit "$_held_code";;
  esac
done
exit 125`;

/**
 * Without its start files: a bash that finds a socket as its input, as ours is, takes itself for one started by rshd
 * and reads them (bash(1), "Invocation").
 */
const BASH_OPTIONS = ['--norc', '--noprofile', '-p'];

// Says where bash and env are, and what each shell adds to an empty environment.
const FIND = `forget=$1
shift
bash=$(command -v bash) env=$(command -v env)
echo "bash $bash"
echo "env $env"
echo "nsenter $(command -v nsenter)"
[ -n "$env" ] || exit 0
added() {
  "$env" -i "$@" -c "$forget; exec $env" | while IFS= read -r line; do echo "$added \${line%%=*}"; done
}
added=sh+; added /bin/sh
[ -z "$bash" ] || { added=bash+; added "$bash" "$@"; }
exit 0`;
