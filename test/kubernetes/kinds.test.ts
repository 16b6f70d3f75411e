import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { clusterKinds, keptKinds, objectName, storedName } from '../../src/kubernetes/kinds.ts';

describe('names of our objects in a cluster', () => {
  it('are those of the store, and of plugins name and version', () => {
    assert.equal(objectName('sandbox', 'pr-12'), 'pr-12');
    assert.equal(objectName('plugin', 'xata-branch@1.2.0'), 'xata-branch.1.2.0');
    assert.equal(objectName('plugin', 'xata-branch@0.0.0'), 'xata-branch');
    for (const name of ['xata-branch@1.2.0', 'xata-branch@0.0.0', 'x@1.0.0-rc.1'])
      assert.equal(storedName('plugin', objectName('plugin', name)), name);
    assert.equal(storedName('branch', 'br4f6k'), 'br4f6k');
  });

  it('that a cluster does not take are hashes, which an annotation explains', () => {
    const name = 'MyPlugin@1.0.0-RC.1';
    assert.match(objectName('plugin', name), /^x-[0-9a-f]{40}$/);
    assert.notEqual(objectName('plugin', name), objectName('plugin', 'myplugin@1.0.0-RC.1'));
    assert.equal(storedName('plugin', objectName('plugin', name), name), name);
    assert.ok(objectName('sandbox', 'x'.repeat(254)).length < 64);
  });
});

it('no two kinds share a word that kubectl takes for them', () => {
  const words = keptKinds.flatMap(kind => {
    const { plural, singular, shortNames } = clusterKinds[kind];
    return [plural, singular, ...shortNames];
  });
  assert.equal(new Set(words).size, words.length);
});
