/** The table of fields, and with it docs/kinds.md, knows every field of the Kubernetes API. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { manifestFields, manifestTypes } from '../../src/model/document/manifest-fields.ts';

const types = join(import.meta.dirname, '../../node_modules/kubernetes-types');

/** Fields of an interface, as the package declares it. */
function fieldsOf(module: string, type: string): readonly string[] {
  const text = readFileSync(join(types, `${module}.d.ts`), 'utf8');
  const [, body] = new RegExp(`export interface ${type} \\{\\n([^]*?)\\n\\}`).exec(text) ?? [];
  assert.ok(body, `${module} has no ${type}`);
  return [...body.matchAll(/^\s+"?(\w+)"?\??: /gm)].map(([, field]) => field!);
}

for (const [type, rows] of Object.entries(manifestFields)) {
  const { module } = manifestTypes[type as keyof typeof manifestTypes];
  test(`${type}: each field of the API has its row, and no other`, () => {
    const fields = fieldsOf(module, type);
    assert.ok(fields.length > 1);
    assert.deepEqual(Object.keys(rows).toSorted(), fields.toSorted());
  });
}

test('what is not as in a cluster says how', () => {
  for (const [type, rows] of Object.entries(manifestFields))
    for (const [field, row] of Object.entries(
      rows as Readonly<Record<string, { how: string; note?: string }>>,
    ))
      assert.ok(row.how === 'done' || row.note, `${type}.${field}`);
});
