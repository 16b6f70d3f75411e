import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  documentError,
  formatPath,
  formatProblem,
  type Problem,
  toProblem,
} from '../../../src/model/document/problem.ts';

test('a problem is one line with place, path and suggestion, as far as they are known', () => {
  const full: Problem = {
    file: 'a.yaml',
    line: 4,
    column: 5,
    path: 'spec',
    message: 'unknown field "forkz"',
    suggestion: 'forks',
  };
  assert.equal(formatProblem(full), 'a.yaml:4:5: spec: unknown field "forkz" (did you mean "forks"?)');
  assert.equal(formatProblem({ file: 'a.yaml', path: '', message: 'it is empty' }), 'a.yaml: it is empty');
});

test('paths are written as one would write them in a program', () => {
  assert.equal(formatPath(['spec', 'forks', 0, 'forkOf']), 'spec.forks[0].forkOf');
  assert.equal(formatPath(['spec', 'labels', 'signadot/x', 'a"b']), 'spec.labels["signadot/x"]["a\\"b"]');
  assert.equal(formatPath([]), '');
});

test('a message is cut where a name in it is endless', () => {
  const { message } = toProblem('a.yaml', { path: [], message: `unknown field "${'x'.repeat(1_000_000)}"` });
  assert.equal(message.length, 501);
});

test('the error has the problems in the order of the text, counts all and carries at most 100', () => {
  const problems = Array.from({ length: 150 }, (_, i): Problem => {
    return { file: 'a.yaml', line: 150 - i, column: 1, path: '', message: `problem ${i}` };
  });
  const error = documentError('document/invalid', 'a.yaml', problems);
  assert.equal(error.message, 'a.yaml is not valid: 150 problems');
  const lines = (error.problems as readonly Problem[]).map(problem => problem.line);
  assert.deepEqual(
    lines,
    Array.from({ length: 100 }, (_, i) => i + 1),
  );
  assert.equal(
    documentError('document/not-supported', 'a.yaml', problems.slice(0, 1)).message,
    'a.yaml is valid, but asks for what is not supported yet: 1 problem',
  );
});
