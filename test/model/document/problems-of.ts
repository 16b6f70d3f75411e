/** What a reader refuses, in the form `code` and `line:column: path: message` per problem. */
import assert from 'node:assert/strict';
import { formatProblem, type Problem } from '../../../src/model/document/problem.ts';
import { OffshootError } from '../../../src/model/errors.ts';

export type Refusal = { readonly code: string; readonly problems: readonly string[] };

/** Runs `read`, which must throw. The file's name is cut off the problems. */
export function refusalOf(read: () => unknown): Refusal {
  try {
    read();
  } catch (error) {
    assert.ok(error instanceof OffshootError, String(error));
    const problems = (error.problems ?? []) as readonly Problem[];
    return {
      code: error.code,
      problems: problems.map(p =>
        formatProblem(p)
          .slice(p.file.length + 1)
          .trim(),
      ),
    };
  }
  return assert.fail('it was accepted');
}

/** The problems alone, of a document that is invalid. */
export function problemsOf(read: () => unknown): readonly string[] {
  const { code, problems } = refusalOf(read);
  assert.equal(code, 'document/invalid');
  return problems;
}
