import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { findCycle, stepOrder } from '../../../src/model/document/step-order.ts';
import type { PluginStep } from '../../../src/model/plugin.ts';

/** `c<a,b` is a step c that takes outputs of a and b. */
function steps(...texts: readonly string[]): PluginStep[] {
  return texts.map(text => {
    const [name = '', needs = ''] = text.split('<');
    const inputs = needs
      .split(',')
      .filter(need => need !== '')
      .map((need, i) => ({ name: `i${i}`, valueFromStep: { name: need, output: 'o' } }));
    return { name, script: 'true', inputs };
  });
}

describe('steps run in layers', () => {
  const cases: readonly (readonly [what: string, steps: PluginStep[], layers: string])[] = [
    ['none', steps(), ''],
    ['independent ones at once', steps('a', 'b'), 'a b'],
    ['against the order of the list', steps('c<b', 'b<a', 'a'), 'a | b | c'],
    ['a diamond', steps('a', 'b<a', 'c<a', 'd<b,c'), 'a | b c | d'],
    ['steps of another workflow count as done', steps('drop<make', 'log<drop'), 'drop | log'],
    ['the same step needed twice', steps('a', 'b<a,a'), 'a | b'],
  ];
  for (const [what, list, layers] of cases) {
    test(what, () => {
      const text = stepOrder(list).map(layer => layer.map(step => step.name).join(' '));
      assert.equal(text.join(' | '), layers);
    });
  }
  test('a circle has no order', () => {
    assert.throws(() => stepOrder(steps('a<b', 'b<a')), /in a circle: a → b → a/);
  });
});

describe('circles are named', () => {
  const cases: readonly (readonly [graph: string, cycle: string | undefined])[] = [
    ['a:a', 'a → a'],
    ['a:b b:c c:a', 'a → b → c → a'],
    ['x:a a:b b:a', 'a → b → a'],
    ['x: a:x,b b:a', 'a → b → a'],
    ['a: b:a c:b', undefined],
    ['a:elsewhere', undefined],
  ];
  for (const [graph, cycle] of cases) {
    test(graph, () => {
      const nodes = graph.split(' ').map(text => {
        const [name = '', needs = ''] = text.split(':');
        return { name, needs: needs.split(',').filter(need => need !== '') };
      });
      assert.equal(findCycle(nodes)?.join(' → '), cycle);
    });
  }
});
