import assert from 'node:assert/strict';
import { it } from 'node:test';
import { crashSince } from '../../src/reconcile/crashes.ts';

const life = (restarts: number, more: { ready?: boolean; log?: readonly string[] } = {}) => ({
  ...{ ready: false, message: 'container "main" ended: exit code 7', restarts },
  ...more,
});

it('tells how a program has ended, and its last lines, once for each time', () => {
  const log = ['one', 'two', 'x'.repeat(300), 'boom'];
  assert.equal(
    crashSince(life(1), life(2, { log }), 'fork of demo/users'),
    `fork of demo/users: container "main" ended: exit code 7 (restart 2); last lines: two | ${'x'.repeat(200)} | boom`,
  );
  assert.equal(
    crashSince(life(0), life(1, { ready: true }), 'it'),
    'it: it has ended, and runs again (restart 1)',
  );
  assert.equal(crashSince(life(2), life(2), 'it'), undefined);
  assert.equal(crashSince(life(2), life(0), 'it'), undefined, 'it was tried again');
  assert.equal(crashSince(undefined, life(3), 'it'), undefined, 'nobody knows since when');
});
