/**
 * The lab: a cluster out of a folder (`OFFSHOOT_LAB`) with a program `lab` that builds one, brings it up and takes it down.
 * A cluster that somebody has brought up is used and left as it is; else there is one for the time of the tests.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, join, resolve } from 'node:path';
import { installMissing } from './packages.ts';

export type Lab = AsyncDisposable & {
  /** For programs that use the cluster: where it is, and `kubectl` and `helm` on the PATH. */
  readonly env: Readonly<Record<string, string>>;
  /** Path of its program; it needs `env`. */
  readonly program: string;
  /** Folder with all that it writes. */
  readonly home: string;
  /** Somebody else brought the cluster up: it stays. */
  readonly kept: boolean;
};

export type LabOptions = {
  /** Folder with all that it writes. */
  readonly home: string;
  readonly say: (sentence: string) => void;
  readonly signal: AbortSignal;
};

/** As the lab itself has it. */
export const labHome = (): string =>
  process.env.LAB_HOME ?? join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'offshoot-lab');

/** Why there is no cluster, in a sentence. */
export class NoLab extends Error {}

/**
 * The cluster of the lab in `folder`, built when that is needed (up to ten minutes).
 * @throws NoLab
 */
export async function openLab(folder: string, { home, say, signal }: LabOptions): Promise<Lab> {
  const program = resolve(folder, 'lab');
  if (!existsSync(program)) throw new NoLab(`there is no lab in ${resolve(folder)}`);
  mkdirSync(home, { recursive: true });
  const env = {
    LAB_HOME: home,
    KUBECONFIG: join(home, 'pki', 'admin.kubeconfig'),
    PATH: [join(home, 'bin'), process.env.PATH ?? '', ...folders].join(delimiter),
  };
  if (existsSync(join(home, 'run')) && !existsSync(join(home, 'of-tests'))) {
    say(`using the cluster that is up in ${home}, and leaving it up`);
    return { env, program, home, kept: true, [Symbol.asyncDispose]: async () => {} };
  }
  const missing = await installMissing(program, env, say);
  if (missing.length > 0) throw new NoLab(`the lab cannot run here:\n${missing.join('\n')}`);
  await build(program, env, say, signal);
  const keeper = await keep(program, home, env);
  return {
    env,
    program,
    home,
    kept: false,
    async [Symbol.asyncDispose]() {
      keeper.stdin?.end();
      const [code] = keeper.exitCode === null ? await once(keeper, 'close') : [keeper.exitCode];
      if (code !== 0) throw new Error(`the lab in ${home} did not go down`);
    },
  };
}

// --- internal ------------------------------------------------------------------------------------

/** Where Go and the system's programs are when the PATH does not say it. */
const folders = ['/usr/local/go/bin', '/usr/local/sbin', '/usr/sbin', '/sbin'];
const buildDeadlineMs = 30 * 60_000;
const sayEachMs = 20_000;

/** Go names each package that it has compiled: their number is the progress. */
async function build(
  program: string,
  env: Lab['env'],
  say: (sentence: string) => void,
  signal: AbortSignal,
): Promise<void> {
  const start = performance.now();
  const child = spawn('bash', [program, 'build'], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { ...process.env, ...env, HOME: homedir(), GOFLAGS: `${process.env.GOFLAGS ?? ''} -v` },
    // A group of its own: compilers go with it.
    detached: true,
  });
  const end = () => void (child.pid !== undefined && process.kill(-child.pid, 'SIGKILL'));
  const deadline = AbortSignal.any([signal, AbortSignal.timeout(buildDeadlineMs)]);
  deadline.addEventListener('abort', end, { once: true });
  let output = '';
  let packages = 0;
  const progress = setInterval(() => {
    const seconds = Math.round((performance.now() - start) / 1000);
    say(`building the lab: ${packages} packages after ${seconds} s (some 2000, 6 to 10 minutes, once)`);
  }, sayEachMs);
  child.stderr.setEncoding('utf8').on('error', () => {});
  child.stderr.on('data', (text: string) => {
    packages += text.split('\n').filter(line => /^[\w.-]+(\/[\w.@-]+)*$/.test(line)).length;
    output = (output + text).slice(-4000);
  });
  const [code] = (await once(child, 'close').catch(error => [error.message])) as [number | string | null];
  deadline.removeEventListener('abort', end);
  clearInterval(progress);
  if (code !== 0) throw new NoLab(`the lab could not be built (${code ?? 'killed'}):\n${output}`);
}

/** Starts the process that takes the cluster down whatever becomes of us. @returns it, once the cluster is up */
async function keep(program: string, home: string, env: Lab['env']): Promise<ChildProcess> {
  const keeper = spawn(process.execPath, [join(import.meta.dirname, 'keep-lab.ts'), program, home], {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { ...process.env, ...env },
    // Not of our terminal, whose Ctrl-C would end it in the middle of taking the cluster down.
    detached: true,
  });
  keeper.stdin.on('error', () => {});
  keeper.stdout.setEncoding('utf8').on('error', () => {});
  const [word] = (await Promise.race([once(keeper.stdout, 'data'), once(keeper, 'close')])) as [unknown];
  if (word === 'up\n') return keeper;
  throw new NoLab(
    word === 'refused\n'
      ? `other tests have the lab in ${home}: wait for their end, or give another LAB_HOME on another machine`
      : `the lab did not come up: see ${join(home, 'logs')}`,
  );
}
