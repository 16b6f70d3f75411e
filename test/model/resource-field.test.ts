import assert from 'node:assert/strict';
import { test } from 'node:test';
import { resourceField } from '../../src/model/resource-field.ts';

const node = { name: 'box', cpus: 4, memoryBytes: 8 * 1024 ** 3 };
const limits = { cpu: '250m', memory: '100Mi', 'ephemeral-storage': 1e9 };
const requests = { cpu: 0.1, memory: '1e6' };
const limited = { name: 'a', image: 'a', resources: { limits, requests } };
const free = { name: 'a', image: 'a' };

const cases: readonly (readonly [resource: string, divisor: string, limited?: string, free?: string])[] = [
  ['limits.cpu', '1', '1', '4'],
  ['limits.cpu', '1m', '250', '4000'],
  ['requests.cpu', '1m', '100', '0'],
  ['limits.memory', '1', '104857600', '8589934592'],
  ['limits.memory', '1Mi', '100', '8192'],
  ['limits.memory', '1M', '105', '8590'],
  ['requests.memory', '1Ki', '977', '0'],
  ['requests.memory', '0', '1000000', '0'],
  ['requests.ephemeral-storage', '1k', '1000000', '0'],
  ['limits.hugepages-2Mi', '1', '0', '0'],
  ['limits.gpu', '1'],
  ['cpu', '1'],
];
for (const [resource, divisor, ofLimited, ofFree] of cases)
  test(`${resource} in ${divisor}`, () => {
    assert.equal(resourceField(limited, resource, divisor, node), ofLimited);
    assert.equal(resourceField(free, resource, divisor, node), ofFree);
  });

test('what is no quantity is none', () => {
  const broken = { ...free, resources: { limits: { cpu: 'much' } } };
  assert.equal(resourceField(broken, 'limits.cpu', '1', node), undefined);
});
