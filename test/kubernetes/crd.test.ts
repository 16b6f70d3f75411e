/** The definitions are what API servers take, and take what the project shows as documents, whole. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { z } from 'zod';
import { crdFiles, customResourceDefinition } from '../../src/kubernetes/crd.ts';
import { type KeptKind, keptKinds } from '../../src/kubernetes/kinds.ts';
import { structural } from '../../src/kubernetes/structural.ts';
import { shownDocuments } from '../support/document-files.ts';
import { misfits, notStructural } from '../support/structural.ts';

const schemaOf = (kind: KeptKind) => customResourceDefinition(kind).spec.versions[0]!.schema.openAPIV3Schema;

for (const kind of keptKinds)
  test(`the schema of ${kind} is structural`, () => {
    assert.deepEqual(notStructural(schemaOf(kind)), []);
  });

test('every document that the project shows fits, and nothing of it is pruned', () => {
  const documents = shownDocuments();
  for (const kind of ['sandbox', 'plugin'] as const)
    assert.ok(documents.filter(document => document.kind === kind).length >= 3, `few of ${kind}`);
  const wrong = documents.flatMap(({ kind, from, spec }) =>
    misfits(schemaOf(kind).properties!.spec!, spec).map(what => `${from}: ${what}`),
  );
  assert.deepEqual(wrong, []);
});

test('a value that does not fit is told', () => {
  const { spec } = schemaOf('sandbox').properties!;
  const bad = { description: 7, ttl: { duration: '2y' }, forks: [{ forkOf: { kind: 'Job' } }], other: {} };
  assert.deepEqual(misfits(spec!, bad), [
    '.: lacks cluster',
    '.description: integer instead of string',
    '.ttl.duration: pattern',
    '.forks[0].forkOf: lacks namespace',
    '.forks[0].forkOf: lacks name',
    '.forks[0].forkOf.kind: not one of the enum',
    '.other: is pruned',
  ]);
});

describe('what has no structural form is refused, not left out', () => {
  const cases: Readonly<Record<string, [z.ZodType, RegExp]>> = {
    'a text without a limit': [z.string(), /the schema: a string without a limit/],
    'a list without a limit': [z.array(z.boolean()), /the schema: a array without a limit/],
    'a map without a limit': [z.record(z.string(), z.boolean()), /the schema: a object without a limit/],
    'one of two types': [z.strictObject({ a: z.union([z.boolean(), z.int()]) }), /the schema.a: "anyOf"/],
    'anything at all': [z.array(z.unknown()).max(3), /the schema\[\]: it has no type/],
  };
  for (const [name, [schema, message]] of Object.entries(cases))
    test(name, () => void assert.throws(() => structural(schema), message));
});

test('the files in the chart are up to date', () => {
  for (const [path, text] of Object.entries(crdFiles()))
    assert.equal(readFileSync(join(import.meta.dirname, '../..', path), 'utf8'), text, path);
});
