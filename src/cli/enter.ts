/** Runs a program where a container runs: it takes our place at the terminal, and its end is ours. */
import { bootId } from '../lib/boot.ts';
import { exec } from '../lib/exec.ts';
import { findProgram } from '../lib/find-program.ts';
import { identify } from '../lib/process.ts';
import { OffshootError } from '../model/errors.ts';
import type { Surroundings } from '../model/surroundings.ts';
import type { Cli } from './context.ts';
import { runProgram } from './run-program.ts';

/**
 * By nsenter(1), and with our own streams, so that a terminal is a terminal.
 * @returns its exit code; 128 and the signal's number when one has killed it
 * @throws OffshootError workload/closed
 */
export async function runInside(
  cli: Cli,
  what: string,
  there: Surroundings,
  argv: readonly string[],
): Promise<number> {
  const { env, cwd, uid, signal } = cli;
  const closed = (why: string) => new OffshootError('workload/closed', { what, why });
  const isHere = there.boot === bootId() && identify(there.pid)?.startTime === there.startTime;
  if (!isHere) throw closed('it runs on another machine than this one, or has just ended');
  const path = `${env.PATH ?? ''}:/usr/sbin:/usr/bin:/sbin:/bin`;
  const nsenter = await findProgram('nsenter', path, cwd);
  if (nsenter === undefined) throw closed('there is no nsenter on the PATH (package util-linux)');
  const own = await signalsKept(path, cwd);
  const [file, ...args] = wayInto(nsenter, there, uid, argv, own);
  const { TERM, COLORTERM } = env;
  const around = { ...there.env, ...(TERM && { TERM }), ...(COLORTERM && { COLORTERM }) };
  try {
    return await runProgram(cli, file!, args, around);
  } catch (error) {
    signal.throwIfAborted();
    throw closed((error as Error).message);
  }
}

// --- internal -----------------------------------------------------------------------------------

type SignalsKept = { readonly ignored: readonly string[]; readonly again: readonly string[] };

/**
 * What goes before nsenter, and before the program: nsenter waits for the program, and a signal that reaches both must
 * not end it first. By env(1) of the GNU coreutils from 8.31 on; without it, the shorter life of nsenter is borne.
 */
async function signalsKept(path: string, cwd: string): Promise<SignalsKept> {
  const none = { ignored: [], again: [] };
  const env = await findProgram('env', path, cwd);
  if (env === undefined) return none;
  const again = [env, `--default-signal=${SIGNALS}`];
  try {
    await exec(env, [`--default-signal=${SIGNALS}`, 'true'], { env: { PATH: path } });
  } catch {
    return none;
  }
  return { ignored: [env, `--ignore-signal=${SIGNALS}`], again };
}

const SIGNALS = 'INT,QUIT,TERM,HUP';

function wayInto(
  nsenter: string,
  { pid, through, mounts, cwd }: Surroundings,
  uid: number,
  argv: readonly string[],
  own: SignalsKept,
): readonly string[] {
  const work = [...own.again, '/bin/sh', '-c', 'cd "$0" && exec "$@"', cwd, ...argv];
  const seen = mounts ? ['--mount', '--root', '--uts'] : [];
  if (uid === 0)
    return [...own.ignored, nsenter, `--target=${pid}`, ...seen, '--net', '--pid', '--', ...work];
  if (!mounts) return [...own.ignored, ...work];
  const oneself = [nsenter, `--target=${pid}`, '--user', '--preserve-credentials', ...seen, '--', ...work];
  if (through === undefined) return [...own.ignored, ...oneself];
  // The network and the processes belong to a user namespace above the one that the program is in.
  const outer = [`--user=/proc/${through}/ns/user`, `--net=/proc/${pid}/ns/net`, `--pid=/proc/${pid}/ns/pid`];
  return [...own.ignored, nsenter, '--preserve-credentials', ...outer, '--', ...oneself];
}
