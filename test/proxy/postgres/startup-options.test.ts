import assert from 'node:assert/strict';
import { test } from 'node:test';
import { takeBranchOption } from '../../../src/proxy/postgres/startup-options.ts';

const table: readonly (readonly [options: string, branches: string[], rest: string])[] = [
  ['-c offshoot.branch=abcd1', ['abcd1'], ''],
  ['-coffshoot.branch=abcd1', ['abcd1'], ''],
  ['--offshoot.branch=abcd1', ['abcd1'], ''],
  ['-c OFFSHOOT.Branch=abcd1', ['abcd1'], ''],
  ['-c offshoot.branch=ab\\cd1', ['abcd1'], ''],
  ['\t-c  offshoot.branch=abcd1 \n', ['abcd1'], ''],
  ['-c offshoot.branch=abcd1 --offshoot.branch=abcd2', ['abcd1', 'abcd2'], ''],
  ['-c work_mem=5MB -c offshoot.branch=abcd1 --jit=off', ['abcd1'], '-c work_mem=5MB --jit=off'],
  ['-c search_path=a\\ b\\\\c -c offshoot.branch=abcd1', ['abcd1'], '-c search_path=a\\ b\\\\c'],
  ['-c\\ offshoot.branch=abcd1', [], '-c\\ offshoot.branch=abcd1'],
  ['-c offshoot.branches=abcd1', [], '-c offshoot.branches=abcd1'],
  ['-c offshoot.branch', [], '-c offshoot.branch'],
  ['offshoot.branch=abcd1', [], 'offshoot.branch=abcd1'],
  // What follows -c is its value, also when it looks like another option.
  ['-c -coffshoot.branch=abcd1', [], '-c -coffshoot.branch=abcd1'],
  ['-c', [], '-c'],
  ['', [], ''],
];
for (const [options, branches, rest] of table)
  test(`options ${JSON.stringify(options)}`, () => {
    assert.deepEqual(takeBranchOption(options), { branches, rest });
  });
