/** Runs tests as somebody who is not root, where the tests are run by root. */
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { chooseServerUser } from '../../src/drivers/postgres/user.ts';
import { exec } from '../../src/lib/exec.ts';
import { blockedAt, type UserIds } from '../../src/lib/reach.ts';

/** Who that is; undefined, and the test skipped, when he cannot run tests here. */
export async function ordinaryUser(t: TestContext): Promise<UserIds | undefined> {
  if (process.getuid?.() !== 0) return t.skip('this is not root: the other tests show it') as undefined;
  const { uid, gid, name } = await chooseServerUser();
  const here = import.meta.dirname;
  const blocked =
    (await blockedAt(here, { uid, gid })) ?? (await blockedAt(join(process.execPath, '..'), { uid, gid }));
  if (blocked !== undefined) return t.skip(`the user "${name}" may not enter ${blocked}`) as undefined;
  return { uid, gid };
}

/**
 * Without NODE_TEST_CONTEXT in its environment it is a test run of its own.
 * @param args files of tests, below `cwd`, and options
 * @returns what it printed. @throws ExecError when a test fails
 */
export async function testAs(user: UserIds, cwd: string, args: readonly string[]): Promise<string> {
  const options = { env: { PATH: process.env.PATH ?? '' }, cwd, ...user, deadlineMs: 120_000 };
  const { stdout } = await exec(process.execPath, ['--test', '--test-reporter=spec', ...args], options);
  return stdout;
}
