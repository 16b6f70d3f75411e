import assert from 'node:assert/strict';
import { test } from 'node:test';
import { OffshootError } from '../../../src/model/errors.ts';
import { applyPatch } from '../../../src/model/patch/apply.ts';
import type { Patch } from '../../../src/model/sandbox.ts';

const document = { metadata: { annotations: { a: '1' } }, list: ['x'] };

const applies: readonly (readonly [name: string, patch: Patch, expected: unknown])[] = [
  [
    'strategic in YAML',
    { type: 'strategic', value: 'metadata:\n  annotations:\n    b: "2"\n' },
    { metadata: { annotations: { a: '1', b: '2' } }, list: ['x'] },
  ],
  [
    'merge in JSON with tabs',
    { type: 'merge', value: '{\n\t"list": [\n\t\t"y"\n\t]\n}' },
    { metadata: { annotations: { a: '1' } }, list: ['y'] },
  ],
  [
    'json in YAML',
    { type: 'json', value: '- op: add\n  path: /list/-\n  value: y' },
    { metadata: { annotations: { a: '1' } }, list: ['x', 'y'] },
  ],
  [
    'a number as key',
    { type: 'merge', value: 'metadata: {annotations: {8080: web}}' },
    { metadata: { annotations: { a: '1', 8080: 'web' } }, list: ['x'] },
  ],
  [
    'aliases',
    { type: 'merge', value: 'metadata: &m {annotations: null}\nspec: *m' },
    { metadata: {}, list: ['x'], spec: {} },
  ],
];

for (const [name, patch, expected] of applies) {
  test(`applies: ${name}`, () => assert.deepEqual(applyPatch(document, patch), expected));
}

const fails: readonly (readonly [name: string, patch: Patch, sentence: string])[] = [
  [
    'broken YAML',
    { type: 'merge', value: 'a: 1\nb: [s3cret' },
    'Flow sequence in block collection must be sufficiently indented and end with a ] at line 2, column 11',
  ],
  ['two documents', { type: 'merge', value: 'a: 1\n---\nb: 1' }, 'it holds more than one document'],
  [
    'a key twice',
    { type: 'merge', value: '{"a": 1, "a": 2}' },
    'Map keys must be unique at line 1, column 10',
  ],
  [
    'too many aliases',
    { type: 'merge', value: bomb() },
    'Excessive alias count indicates a resource exhaustion attack',
  ],
  ['empty text', { type: 'strategic', value: '' }, 'it must be a map'],
  ['operations for a merge', { type: 'merge', value: '[{op: add}]' }, 'it must be a map'],
  ['a map for operations', { type: 'json', value: 'op: add' }, 'it must be a list of operations'],
  [
    'the prototype in YAML',
    { type: 'merge', value: '__proto__: {polluted: 1}' },
    'the key "__proto__" is not allowed',
  ],
  [
    'the prototype deep down',
    { type: 'strategic', value: '{"a": [{"__proto__": {"polluted": 1}}]}' },
    'the key "__proto__" is not allowed',
  ],
  [
    'the prototype in a value',
    { type: 'json', value: '[{op: add, path: /x, value: {__proto__: {polluted: 1}}}]' },
    'the key "__proto__" is not allowed',
  ],
];

for (const [name, patch, why] of fails) {
  test(`fails: ${name}`, () => {
    assert.throws(
      () => applyPatch(document, patch),
      (error: unknown) => {
        assert(error instanceof OffshootError);
        assert.equal(error.code, 'fork/patch-failed');
        assert.equal(error.message, `patch: the ${patch.type} patch fails at its text: ${why}`);
        return true;
      },
    );
    assert.equal(({} as Record<string, unknown>).polluted, undefined);
  });
}

/** Each line doubles the one before: 2^30 elements if they were all made. */
function bomb(): string {
  const lines = Array.from({ length: 30 }, (_, i) => `l${i + 1}: &l${i + 1} [*l${i}, *l${i}]`);
  return ['l0: &l0 x', ...lines].join('\n');
}
