import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { test } from 'node:test';
import { readOnAfterFailedWrite } from '../../src/proxy/read-on.ts';
import { serveTcp } from '../support/http.ts';

test('what a peer said before it hung up is read, although a write to it failed first', async t => {
  const hungUp = Promise.withResolvers<void>();
  const server = await serveTcp(t, peer =>
    peer.once('data', () => {
      peer.write('its answer');
      peer.resetAndDestroy();
      // In the same turn, so that the answer cannot have been read yet.
      client.write('more');
      client.write('and more');
      hungUp.resolve();
    }),
  );
  const client = connect(server);
  readOnAfterFailedWrite(client);
  let received = '';
  client.on('readable', () => {
    for (let chunk = client.read(); chunk !== null; chunk = client.read()) received += chunk;
  });
  client.on('end', () => assert.fail('a reset is no end'));
  await once(client, 'connect');
  client.write('a request');
  await hungUp.promise;
  const [error] = await once(client, 'error');
  assert.equal(received, 'its answer');
  assert.match((error as NodeJS.ErrnoException).code!, /^(EPIPE|ECONNRESET)$/);
});
