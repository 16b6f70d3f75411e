/** What the lab wants of the machine, and getting it where that is allowed. */
import { ExecError, exec } from '../../src/lib/exec.ts';
import { findProgram } from '../../src/lib/find-program.ts';

/**
 * Asks the lab what is wrong, and installs its system packages when programs are missing (as root, where there is apt-get, and
 * unless OFFSHOOT_NO_INSTALL=1).
 * @returns what is still wrong, a line each
 */
export async function installMissing(
  lab: string,
  env: Readonly<Record<string, string>>,
  say: (sentence: string) => void,
): Promise<readonly string[]> {
  const wrong = await doctor(lab, env);
  if (!wrong.some(line => line.includes('apt-get install')) || !(await mayInstall(env))) return wrong;
  const { stdout } = await exec('bash', [lab, 'packages'], { env: { ...process.env, ...env } });
  const packages = stdout.trim().split(/\s+/);
  say(`installing the lab's system packages with apt-get: ${packages.join(' ')}`);
  const first = await aptGet(env, 'install', '-y', '--no-install-recommends', ...packages);
  if (first !== undefined) {
    // A fresh machine has no package lists, an old one outdated lists.
    await aptGet(env, 'update');
    const second = await aptGet(env, 'install', '-y', '--no-install-recommends', ...packages);
    if (second !== undefined) return [...wrong, second];
  }
  return doctor(lab, env);
}

// --- internal ------------------------------------------------------------------------------------

/** Lines of what is wrong; that nothing is built yet is not. */
async function doctor(lab: string, env: Readonly<Record<string, string>>): Promise<readonly string[]> {
  const run = exec('bash', [lab, 'doctor'], { env: { ...process.env, ...env } });
  const output = await run.then(
    ({ stdout }) => stdout,
    error => {
      if (error instanceof ExecError)
        return error.stdout === '' ? `WRONG ${error.message} ${error.stderr}` : error.stdout;
      throw error;
    },
  );
  return output
    .split('\n')
    .filter(line => line.startsWith('WRONG') && !line.startsWith('WRONG binaries built'));
}

async function mayInstall(env: Readonly<Record<string, string>>): Promise<boolean> {
  return (
    process.env.OFFSHOOT_NO_INSTALL !== '1' &&
    process.getuid?.() === 0 &&
    (await findProgram('apt-get', env.PATH ?? '', '/')) !== undefined
  );
}

/** @returns what went wrong */
async function aptGet(
  env: Readonly<Record<string, string>>,
  ...args: readonly string[]
): Promise<string | undefined> {
  const limits = ['DPkg::Lock::Timeout=60', 'Acquire::Retries=1', 'Acquire::http::Timeout=20'];
  try {
    await exec('apt-get', [...limits.flatMap(limit => ['-o', limit]), ...args], {
      env: { ...process.env, ...env, DEBIAN_FRONTEND: 'noninteractive' },
      deadlineMs: 5 * 60_000,
    });
    return undefined;
  } catch (error) {
    if (!(error instanceof ExecError)) throw error;
    return `apt-get ${args[0]}: ${error.stderr.trim().split('\n').at(-1) || error.message}`;
  }
}
