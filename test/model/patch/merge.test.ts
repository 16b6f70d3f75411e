/** RFC 7386; the first table is its appendix A. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { mergePatch } from '../../../src/model/patch/merge.ts';

const appendixA: readonly (readonly [original: string, patch: string, result: string])[] = [
  ['{"a":"b"}', '{"a":"c"}', '{"a":"c"}'],
  ['{"a":"b"}', '{"b":"c"}', '{"a":"b","b":"c"}'],
  ['{"a":"b"}', '{"a":null}', '{}'],
  ['{"a":"b","b":"c"}', '{"a":null}', '{"b":"c"}'],
  ['{"a":["b"]}', '{"a":"c"}', '{"a":"c"}'],
  ['{"a":"c"}', '{"a":["b"]}', '{"a":["b"]}'],
  ['{"a":{"b":"c"}}', '{"a":{"b":"d","c":null}}', '{"a":{"b":"d"}}'],
  ['{"a":[{"b":"c"}]}', '{"a":[1]}', '{"a":[1]}'],
  ['["a","b"]', '["c","d"]', '["c","d"]'],
  ['{"a":"b"}', '["c"]', '["c"]'],
  ['{"a":"foo"}', 'null', 'null'],
  ['{"a":"foo"}', '"bar"', '"bar"'],
  ['{"e":null}', '{"a":1}', '{"e":null,"a":1}'],
  ['[1,2]', '{"a":"b","c":null}', '{"a":"b"}'],
  ['{}', '{"a":{"bb":{"ccc":null}}}', '{"a":{"bb":{}}}'],
];

for (const [original, patch, result] of appendixA) {
  test(`${original} with ${patch}`, () => {
    const document = JSON.parse(original);
    assert.equal(JSON.stringify(mergePatch(document, JSON.parse(patch))), result);
    assert.equal(JSON.stringify(document), original);
  });
}

test('names of Object.prototype are ordinary keys', () => {
  const patch = JSON.parse('{"constructor":{"prototype":{"polluted":1}},"toString":{"a":null}}');
  assert.deepEqual(mergePatch({}, patch), { constructor: { prototype: { polluted: 1 } }, toString: {} });
  assert.equal(({} as Record<string, unknown>).polluted, undefined);
});
