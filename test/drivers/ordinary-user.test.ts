import { join } from 'node:path';
import { it } from 'node:test';
import { chooseServerUser } from '../../src/drivers/postgres/user.ts';
import { exec } from '../../src/lib/exec.ts';
import { blockedAt } from '../../src/lib/reach.ts';

/** Test runs that show what differs: nothing may be mounted, and no other user started. */
const runs = [
  ['volume/choose.test.ts', 'postgres/server.test.ts'],
  ['--test-name-pattern=write load|removes a volume', 'volume/copy.test.ts'],
];

it('the drivers work for an ordinary user', async t => {
  if (process.getuid?.() !== 0) return t.skip('this is not root: the other tests show it');
  const { uid, gid, name } = await chooseServerUser();
  const here = import.meta.dirname;
  const blocked =
    (await blockedAt(here, { uid, gid })) ?? (await blockedAt(join(process.execPath, '..'), { uid, gid }));
  if (blocked !== undefined) return t.skip(`the user "${name}" may not enter ${blocked}`);
  // Without NODE_TEST_CONTEXT in its environment each is a test run of its own.
  const options = { env: {}, cwd: here, uid, gid, deadlineMs: 60_000 };
  await Promise.all(runs.map(args => exec(process.execPath, ['--test', ...args], options)));
});
