import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { OffshootError } from '../../../src/model/errors.ts';
import { chooseTarget } from '../../../src/proxy/http/choose-target.ts';
import { DESTINATION, notReady, ready, readyFork, testRoutes, usersService } from '../../support/http.ts';

const at = (port: number) => ({ host: '127.0.0.1', port });
const { book } = testRoutes({
  destinations: {
    [DESTINATION]: usersService(ready(at(1)), {
      pr1: readyFork('mine', at(2)),
      pr12: readyFork('other', at(3)),
      broken: notReady('broken-box'),
      empty: readyFork('empty-box'),
    }),
    failed: usersService(notReady()),
    empty: usersService(ready()),
  },
  tombstones: { buried: 'old-box' },
});

/** Port of who answers. */
const choose = (keys: readonly string[], destination = DESTINATION) =>
  chooseTarget(book.destination(destination)!, keys, book.tombstone).addresses[0]!.port;

suite('chooseTarget', () => {
  test('no key, or keys without a fork here: the baseline', () => {
    assert.equal(choose([]), 1);
    assert.equal(choose(['elsewhere', 'pr', 'pr123']), 1);
  });

  test('names of Object.prototype are no forks', () => {
    assert.equal(choose(['constructor']), 1);
  });

  test('a key is compared whole', () => {
    assert.equal(choose(['pr1']), 2);
    assert.equal(choose(['pr12']), 3);
  });

  test('the first key with a fork here decides', () => {
    assert.equal(choose(['elsewhere', 'pr12', 'pr1']), 3);
  });

  test('also when that fork is not ready: never the baseline, never the next key', () => {
    assert.throws(() => choose(['broken', 'pr1']), {
      code: 'proxy/fork-not-ready',
      message:
        'the fork of Deployment demo/users in sandbox "broken-box" is not ready: CrashLoopBackOff: it exited with code 1',
    } satisfies Partial<OffshootError>);
  });

  test('the key of a sandbox that was deleted leads nowhere, also where it had no fork', () => {
    for (const destination of [DESTINATION, 'failed', 'empty'])
      assert.throws(() => choose(['elsewhere', 'buried', 'pr1'], destination), {
        code: 'proxy/sandbox-gone',
        message: 'the routing key belonged to sandbox "old-box", which was deleted',
      } satisfies Partial<OffshootError>);
    assert.equal(choose(['pr1', 'buried']), 2);
  });

  test('a baseline that is not ready says why', () => {
    assert.throws(() => choose([], 'failed'), {
      code: 'proxy/baseline-not-ready',
      message: 'the baseline of Deployment demo/users is not ready: CrashLoopBackOff: it exited with code 1',
    } satisfies Partial<OffshootError>);
  });

  test('ready without an address is not ready', () => {
    assert.throws(() => choose(['empty']), { code: 'proxy/fork-not-ready' });
    assert.throws(() => choose([], 'empty'), { code: 'proxy/baseline-not-ready' });
  });
});
