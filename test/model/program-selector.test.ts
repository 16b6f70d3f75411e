import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseProgramSelector } from '../../src/model/program-selector.ts';

test('selectors of programs', () => {
  const table = {
    users: { of: 'workload', name: 'users' },
    'deployment/users': { of: 'workload', kind: 'Deployment', name: 'users' },
    'StatefulSet/db': { of: 'workload', kind: 'StatefulSet', name: 'db' },
    'sts/db': { of: 'workload', kind: 'StatefulSet', name: 'db' },
    'sandbox/fix': { of: 'sandbox', sandbox: 'fix' },
    'sb/fix/users': { of: 'sandbox', sandbox: 'fix', fork: 'users' },
    'resource/fix/db': { of: 'resource', sandbox: 'fix', name: 'db' },
    'migration/fix': { of: 'migration', sandbox: 'fix' },
    'branch/main': { of: 'branch', name: 'main' },
  };
  for (const [text, selector] of Object.entries(table))
    assert.deepEqual(parseProgramSelector(text), selector);
  for (const text of [
    '',
    '/',
    'users/',
    'service/users',
    'resource/fix',
    'branch/a/b',
    'sandbox/a/b/c',
    '/users',
  ])
    assert.throws(() => parseProgramSelector(text), /names no program: write NAME, KIND\/NAME/, text);
});
