import assert from 'node:assert/strict';
import { it } from 'node:test';
import { pathId, pathName } from '../../src/drivers/labels.ts';

it('makes one path segment of any id, and back', () => {
  for (const id of ['base.demo.users-service', '..', '.', '../up', 'a/b', 'ü %']) {
    const name = pathName(id);
    assert.ok(!name.includes('/') && !name.startsWith('.'), name);
    assert.equal(pathId(name), id);
  }
  assert.equal(pathName('base.demo.users-service'), 'base.demo.users-service');
});

it('takes only names that it makes itself', () => {
  for (const name of ['%', '%zz', '%E0%A4%A', 'a b', '.', '%61']) assert.equal(pathId(name), undefined, name);
});
