import assert from 'node:assert/strict';
import { it } from 'node:test';
import { canonicalPluginName, comparePluginVersions } from '../../src/model/plugin-name.ts';

const names: readonly (readonly [name: string, version: string])[] = [
  ['p', '0.0.0'],
  ['p@1', '1.0.0'],
  ['p@v1.2', '1.2.0'],
  ['p@1.2.3', '1.2.3'],
  ['p@1.2.3-rc.1', '1.2.3-rc.1'],
  ['p@latest', 'latest'],
];

for (const [name, version] of names) {
  it(`${name} is version ${version} of p`, () =>
    assert.deepEqual(canonicalPluginName(name), { bare: 'p', version }));
}

it('orders versions as Semantic Versioning does', () => {
  // The pre-releases are the example of §11.4.
  const ordered = [
    'p@0.9.9',
    'p@1.0.0-alpha',
    'p@1.0.0-alpha.1',
    'p@1.0.0-alpha.beta',
    'p@1.0.0-beta',
    'p@1.0.0-beta.2',
    'p@1.0.0-beta.11',
    'p@1.0.0-rc.1',
    'p@1.0.0',
    'p@1.2.0',
    'p@1.10.0',
    'p@2.0.0-x-y',
    'p@10.0.0',
  ];
  assert.deepEqual(ordered.toReversed().sort(comparePluginVersions), ordered);
  for (const name of ordered) assert.equal(comparePluginVersions(name, name), 0);
});
