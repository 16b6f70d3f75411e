import assert from 'node:assert/strict';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { socketPair } from '../../src/lib/socket-pair.ts';

test('what is written to one end is read from the other, and so is its end', async () => {
  const [one, other] = socketPair('192.0.2.1');
  assert.equal(one.remoteAddress, '192.0.2.1');
  one.end('there');
  assert.equal(await text(other), 'there');
  one.resume();
  await once(one, 'close');
  assert.ok(other.closed, 'the one that has connected does not stay half open');
});

test('a writer waits for its reader', async () => {
  const [one, other] = socketPair('');
  const chunk = Buffer.alloc(16 * 1024, 'x');
  while (one.write(chunk));
  let drained = false;
  one.once('drain', () => {
    drained = true;
  });
  await new Promise(setImmediate);
  assert.ok(!drained);
  other.resume();
  await once(one, 'drain');
  one.end();
  other.end();
  await once(other, 'close');
});

test('an end that goes away in the middle resets the other; one that has said all does not', async () => {
  const [one, other] = socketPair('');
  one.write('half of it');
  const failed = once(other, 'error');
  one.destroy();
  assert.equal((await failed)[0].code, 'ECONNRESET');

  const [second, first] = socketPair('');
  first.write('all of it');
  first.destroySoon();
  assert.equal(await text(second), 'all of it');
  second.on('error', () => {});
  const refused = new Promise<NodeJS.ErrnoException | null | undefined>(
    done => void second.write('too late', done),
  );
  assert.equal((await refused)?.code, 'EPIPE');
});
