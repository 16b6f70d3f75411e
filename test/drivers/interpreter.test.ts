import assert from 'node:assert/strict';
import { it } from 'node:test';
import { interpreterOf, missingCommand } from '../../src/drivers/interpreter.ts';

it('reads the first line as the kernel does: one program, at most one argument', () => {
  assert.deepEqual(interpreterOf('#!/bin/bash\necho'), ['/bin/bash']);
  assert.deepEqual(interpreterOf('#! /usr/bin/env -S node --test  \n'), ['/usr/bin/env', '-S node --test']);
  assert.deepEqual(interpreterOf('#!/bin/sh'), ['/bin/sh']);
  assert.deepEqual(interpreterOf('echo\n#!/bin/bash\n'), ['/bin/sh']);
  assert.deepEqual(interpreterOf(''), ['/bin/sh']);
});

it('finds the command in the words of each shell', () => {
  for (const line of [
    '/home/script: 3: foo: not found',
    'sh: 1: foo: not found',
    '/home/script: line 3: foo: command not found',
    'zsh:3: command not found: foo',
    "env: 'foo': No such file or directory",
    '/usr/bin/env: ‘foo’: No such file or directory',
    "/usr/bin/env: 'foo': Permission denied",
    "env: can't execute 'foo': No such file or directory",
    '/home/script: 1: foo: Permission denied',
  ])
    assert.equal(missingCommand(`sh: 1: earlier: not found\n${line}\n`), 'foo', line);
  assert.equal(missingCommand('page not found today\n'), undefined);
});
