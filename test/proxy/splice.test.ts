import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { until } from '../../src/lib/wait.ts';
import { splice } from '../../src/proxy/splice.ts';
import { serveTcp } from '../support/http.ts';

/** Both ends of one connection. */
async function connection(t: TestContext): Promise<{ near: Socket; far: Socket }> {
  const { promise, resolve } = Promise.withResolvers<Socket>();
  const far = connect({ ...(await serveTcp(t, resolve)), allowHalfOpen: true });
  t.after(() => far.destroy());
  return { near: await promise, far };
}

test('one end that is gone: what is on its way to a slow reader still arrives, and the reader may still write', async t => {
  const [one, other] = [await connection(t), await connection(t)];
  const size = 16 * 1024 * 1024; // more than kernels buffer
  one.near.write(Buffer.alloc(size));
  let over = false;
  void splice(one.near, other.near, 60_000).then(() => {
    over = true;
  });
  other.far.end().resume();
  await once(other.near, 'close');
  let received = 0;
  for await (const chunk of one.far) received += chunk.length;
  assert.equal(received, size);
  one.far.end(Buffer.alloc(size));
  await until(() => over || undefined, { what: 'the end of both', deadlineMs: 60_000 });
});
