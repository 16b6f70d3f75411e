import assert from 'node:assert/strict';
import { describe } from 'node:test';
import { applyPlugin, deletePlugin, findPlugin } from '../../src/rules/plugins.ts';
import { applied, install, tablePlugin } from '../support/documents.ts';
import { it, testStore } from '../support/stores.ts';

/** A store with plugin `table@1.0.0`. */
async function pluginStore() {
  const store = testStore();
  await install(store, 'table@1.0.0', tablePlugin);
  return { store, [Symbol.asyncDispose]: () => store.close() };
}

const db = { name: 'db', plugin: 'table' };

describe('plugins', () => {
  const other = { ...tablePlugin, description: 'another' };

  it('have versions that never change', async () => {
    await using s = await pluginStore();
    assert.deepEqual(await applyPlugin(s.store, { name: 'table@v1', spec: tablePlugin }), {
      name: 'table@1.0.0',
      outcome: 'unchanged',
    });
    await assert.rejects(applyPlugin(s.store, { name: 'table@1.0.0', spec: other }), {
      code: 'plugin/exists',
      hint: 'publish a new version, e.g. name: table@1.1.0',
    });
    assert.equal((await applyPlugin(s.store, { name: 'table@1.1.0', spec: other })).outcome, 'created');
  });

  it('without a version are a working copy, which may change while nobody uses it', async () => {
    await using s = await pluginStore();
    assert.equal(await install(s.store, 'draft', tablePlugin), 'draft@0.0.0');
    await install(s.store, 'draft', other);
    assert.deepEqual(s.store.get('plugin', 'draft@0.0.0')?.spec, other);
    await applied(s.store, 'one', { resources: [{ name: 'db', plugin: 'draft' }] });
    assert.equal((await applyPlugin(s.store, { name: 'draft', spec: other })).outcome, 'unchanged');
    await assert.rejects(install(s.store, 'draft', tablePlugin), { code: 'plugin/exists' });
    await s.store.remove('sandbox', 'one');
    await install(s.store, 'draft', tablePlugin);
  });

  it('are found by version, and the highest without one', async () => {
    await using s = await pluginStore();
    for (const version of ['1.9.0', '1.10.0', '2.0.0-rc.1'])
      await install(s.store, `table@${version}`, tablePlugin);
    await install(s.store, 'table-x@9.0.0', tablePlugin);
    const found = (reference: string) => findPlugin(s.store, reference)?.name;
    assert.equal(found('table'), 'table@2.0.0-rc.1');
    assert.equal(found('table@latest'), 'table@2.0.0-rc.1');
    assert.equal(found('table@v1.9'), 'table@1.9.0');
    assert.equal(found('table@3.0.0'), undefined);
    assert.equal(found('tab'), undefined);
    await install(s.store, 'table@2.0.0', tablePlugin);
    assert.equal(found('table'), 'table@2.0.0');
  });

  it('stay while a sandbox holds something that they made', async () => {
    await using s = await pluginStore();
    await applied(s.store, 'one', { resources: [db] });
    await applied(s.store, 'two', { resources: [db] });
    await assert.rejects(deletePlugin(s.store, 'table'), {
      code: 'plugin/in-use',
      params: { plugin: 'table@1.0.0', sandboxes: 'one, two' },
    });
    for (const name of ['one', 'two']) await s.store.remove('sandbox', name);
    assert.equal(await deletePlugin(s.store, 'table'), 'table@1.0.0');
    await assert.rejects(deletePlugin(s.store, 'table'), { code: 'api/not-found' });
  });
});
