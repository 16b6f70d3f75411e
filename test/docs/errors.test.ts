/** docs/errors.md tells the truth, and every error is met by a test. */
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { errorsPage } from '../../scripts/gen-errors.ts';
import { errorTable } from '../../src/model/errors.ts';

const root = join(import.meta.dirname, '../..');
const codes = Object.keys(errorTable).sort();

test('docs/errors.md has a heading for every code, and no other', () => {
  const page = readFileSync(join(root, 'docs/errors.md'), 'utf8');
  const headings = [...page.matchAll(/^## (.+)$/gm)].map(([, code]) => code);
  assert.deepEqual(headings.sort(), codes);
});

test('every sentence and hint can be said, whatever parameters are given', () => {
  assert.doesNotMatch(errorsPage(), /undefined|NaN|\[object/);
});

test('every code appears in a test', () => {
  const tests = globSync('test/**/*.ts', { cwd: root, exclude: ['test/docs/**'] })
    .map(file => readFileSync(join(root, file), 'utf8'))
    .join('\n');
  const missing = codes.filter(code => !tests.includes(`'${code}'`));
  assert.deepEqual(missing, [], 'these codes are asserted nowhere');
});
