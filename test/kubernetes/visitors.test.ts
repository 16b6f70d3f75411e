/** Who may use the API by a token of the cluster. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ClusterClient } from '../../src/kubernetes/client.ts';
import { admitVisitors, apiAudience } from '../../src/kubernetes/visitors.ts';

const account = { namespace: 'offshoot', name: 'offshoot-user' };
const user = 'system:serviceaccount:offshoot:offshoot-user';

/** @param status as the cluster answers to a review of any token */
function asking(status: object) {
  const asked: unknown[] = [];
  const client = {
    create: async (_resource: unknown, { spec }: { spec: unknown }) => {
      asked.push(spec);
      return { status };
    },
  } as unknown as ClusterClient;
  return { admits: admitVisitors(client, account), asked };
}

test('a token of the account, for us, is let in, and asked about once', async () => {
  const good = { authenticated: true, audiences: [apiAudience], user: { username: user } };
  const { admits, asked } = asking(good);
  assert.deepEqual(await Promise.all([admits('a.b.c'), admits('a.b.c')]), [true, true]);
  assert.deepEqual(asked, [{ token: 'a.b.c', audiences: [apiAudience] }]);
});

test('no other is', async () => {
  const good = { authenticated: true, audiences: [apiAudience], user: { username: user } };
  for (const change of [
    { authenticated: false },
    { audiences: ['offshoot'] },
    { audiences: undefined },
    { user: { username: 'system:serviceaccount:other:offshoot-user' } },
    { user: { username: 'system:serviceaccount:offshoot:offshoot-gateway' } },
  ])
    assert.equal(await asking({ ...good, ...change }).admits('a.b.c'), false, JSON.stringify(change));
  const { admits, asked } = asking(good);
  for (const token of ['ofs_x', '', 'a.b', `${'a'.repeat(9_000)}.b.c`])
    assert.equal(await admits(token), false);
  assert.deepEqual(asked, [], 'what is no token is no question');
});
