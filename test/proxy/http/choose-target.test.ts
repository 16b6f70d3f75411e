import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { OffshootError } from '../../../src/model/errors.ts';
import { chooseTarget } from '../../../src/proxy/http/choose-target.ts';
import { notReady, ready, readyFork, usersService } from '../../support/http.ts';

const at = (port: number) => ({ host: '127.0.0.1', port });
const baseline = ready(at(1));
const mine = readyFork('mine', at(2));
const other = readyFork('other', at(3));
const users = usersService(baseline, { pr1: mine, pr12: other, broken: notReady('broken-box') });

suite('chooseTarget', () => {
  test('no key, or keys without a fork here: the baseline', () => {
    assert.equal(chooseTarget(users, []), baseline);
    assert.equal(chooseTarget(users, ['elsewhere', 'pr', 'pr123']), baseline);
  });

  test('names of Object.prototype are no forks', () => {
    assert.equal(chooseTarget(users, ['constructor']), baseline);
  });

  test('a key is compared whole', () => {
    assert.equal(chooseTarget(users, ['pr1']), mine);
    assert.equal(chooseTarget(users, ['pr12']), other);
  });

  test('the first key with a fork here decides', () => {
    assert.equal(chooseTarget(users, ['elsewhere', 'pr12', 'pr1']), other);
  });

  test('also when that fork is not ready: never the baseline, never the next key', () => {
    assert.throws(() => chooseTarget(users, ['broken', 'pr1']), {
      code: 'proxy/fork-not-ready',
      message:
        'the fork of Deployment demo/users in sandbox "broken-box" is not ready: CrashLoopBackOff: it exited with code 1',
    } satisfies Partial<OffshootError>);
  });

  test('a baseline that is not ready says why', () => {
    assert.throws(() => chooseTarget(usersService(notReady()), []), {
      code: 'proxy/baseline-not-ready',
      message: 'the baseline of Deployment demo/users is not ready: CrashLoopBackOff: it exited with code 1',
    } satisfies Partial<OffshootError>);
  });

  test('ready without an address is not ready', () => {
    assert.throws(() => chooseTarget(usersService(baseline, { k: readyFork('empty') }), ['k']), {
      code: 'proxy/fork-not-ready',
    });
    assert.throws(() => chooseTarget(usersService(ready()), []), { code: 'proxy/baseline-not-ready' });
  });
});
