import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { jsonSchemaFiles } from '../../../src/model/document/json-schema.ts';

for (const [path, content] of Object.entries(jsonSchemaFiles())) {
  test(`${path} is up to date`, () => {
    assert.equal(readFileSync(join(import.meta.dirname, '../../..', path), 'utf8'), content);
  });
}

test('unknown fields are errors in every object of the schemas', () => {
  const isOpen = (node: unknown): boolean =>
    typeof node === 'object' &&
    node !== null &&
    (('properties' in node && !('additionalProperties' in node && node.additionalProperties === false)) ||
      Object.values(node).some(isOpen));
  for (const content of Object.values(jsonSchemaFiles())) assert.equal(isOpen(JSON.parse(content)), false);
});
