import assert from 'node:assert/strict';
import { it } from 'node:test';
import { chooseServerUser } from '../../../src/drivers/postgres/user.ts';

const root = { uid: 0, gid: 0 };
const line = (name: string, uid: number) => `${name}:x:${uid}:${uid + 1}::/nonexistent:/usr/sbin/nologin`;

it('is an ordinary user himself', async () => {
  assert.deepEqual(await chooseServerUser({ uid: 7, gid: 8 }, ''), { uid: 7, gid: 8, name: 'uid 7' });
});

it('is the first that exists when we are root, and never another root', async () => {
  const passwd = [line('root', 0), line('nobody', 65534), line('postgres', 101)].join('\n');
  assert.deepEqual(await chooseServerUser(root, passwd), { name: 'postgres', uid: 101, gid: 102 });
  const own = `${line('offshoot', 0)}\n${passwd}`;
  assert.deepEqual((await chooseServerUser(root, own)).name, 'postgres');
});

it('is asked for when we are root and there is none', async () => {
  await assert.rejects(chooseServerUser(root, line('root', 0)), {
    code: 'postgres/no-user',
    message: 'PostgreSQL refuses to run as root, and none of the users offshoot, postgres, nobody exists',
  });
});
