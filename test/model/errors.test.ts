import assert from 'node:assert/strict';
import { test } from 'node:test';
import { errorTable, OffshootError, toOffshootError } from '../../src/model/errors.ts';

test('an error has the sentence and the hint of its row, and keeps what is not for clients apart', () => {
  const params = {
    resource: 'usersDb',
    sandbox: 'pr-1',
    step: 'provision',
    why: 'it ended with exit code 1',
  };
  const cause = new Error('secret');
  const error = new OffshootError('sandbox/resource-failed', params, {
    cause,
    detail: 'secret',
    output: 'no luck',
  });
  assert.equal(
    error.message,
    'resource "usersDb" of sandbox "pr-1" failed in step "provision": it ended with exit code 1',
  );
  assert.match(error.hint!, /mend the cause, then apply again or "offshoot sandbox delete pr-1"/);
  const body = error.toBody();
  assert.deepEqual(Object.keys(body), ['code', 'error', 'hint', 'output']);
  assert.doesNotMatch(JSON.stringify(body), /secret/);
  assert.equal(error.cause, cause);
});

test('whatever else is thrown becomes internal, with the cause kept', () => {
  const cause = new TypeError('secret');
  const error = toOffshootError(cause);
  assert.equal(error.code, 'internal');
  assert.equal(error.cause, cause);
  assert.doesNotMatch(JSON.stringify(error.toBody()), /secret/);
  assert.equal(toOffshootError(error), error);
});

test('want of file descriptors is said as such, whatever it has made fail', () => {
  const cause = Object.assign(new Error('spawn EMFILE'), { code: 'EMFILE' });
  const failed = new OffshootError('volume/busy', { path: '/p', why: 'w' }, { cause });
  const machine = Object.assign(new Error('file table overflow'), { code: 'ENFILE' });
  for (const thrown of [cause, failed, new Error('look failed', { cause: machine })]) {
    const error = toOffshootError(thrown);
    assert.equal(error.code, 'host/no-descriptors');
    assert.equal(toOffshootError(error), error);
  }
});

test('every row has an HTTP status of an error and a code that a shell sees as one', () => {
  for (const [code, row] of Object.entries(errorTable)) {
    assert.ok(row.http >= 400 && row.http < 600, code);
    assert.ok(row.exit >= 1 && row.exit <= 5, code);
  }
});
