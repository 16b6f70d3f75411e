import assert from 'node:assert/strict';
import { describe } from 'node:test';
import type { BranchRecord } from '../../src/model/branch.ts';
import { ensureRoot, findBranch, listedProjects } from '../../src/rules/branches.ts';
import { planRepair, repair, type UnclaimedVolume } from '../../src/rules/repair.ts';
import { nameOfEntry, trashEntries } from '../../src/rules/trash.ts';
import { applied, defaultProject } from '../support/documents.ts';
import { verifierOpens } from '../support/scram.ts';
import { it, testStore } from '../support/stores.ts';

const volume = (id: string, more: Partial<BranchRecord> = {}): UnclaimedVolume => ({
  id,
  record: {
    id,
    project: 'shop',
    branch: 'main',
    createdAt: '2029-01-01T00:00:00.000Z',
    role: 'clerk',
    database: 'goods',
    ...more,
  },
});
const root = volume('broot');
const child = volume('bchild', { branch: 'fix', parent: 'broot', createdAt: '2029-02-01T00:00:00.000Z' });

describe('repair', () => {
  it('makes project and branches again, parents first, as they were but for their passwords', async () => {
    const store = testStore();
    const rows = await repair(store, [child, root]);
    assert.deepEqual(rows, [
      { id: 'broot', project: 'shop', branch: 'main', parent: null },
      { id: 'bchild', project: 'shop', branch: 'fix', parent: 'main' },
    ]);
    assert.deepEqual(store.get('project', 'shop')?.spec, { role: 'clerk', database: 'goods' });
    const found = store.get('branch', 'bchild')!;
    assert.deepEqual(found.spec, { project: 'shop', name: 'fix', parent: 'broot' });
    assert.equal(found.createdAt, child.record!.createdAt);
    assert.ok(verifierOpens(found.secret.verifier!, found.secret.password));
    assert.notEqual(found.secret.password, store.get('branch', 'broot')?.secret.password);
    await ensureRoot(store, 'shop');
    assert.equal(store.list('branch').length, 2, 'no second root is made');
    assert.deepEqual(
      (await store.events({ name: 'bchild', limit: 9 })).map(e => [e.severity, e.reason]),
      [['warning', 'BroughtBack']],
    );
  });

  it('brings what was in the trash back into the trash, under whatever name', async () => {
    const store = testStore();
    const trashed = { at: '2029-03-01T00:00:00.000Z', until: '2029-03-02T00:00:00.000Z' };
    const gone = volume('bgone', { project: 'old~abc123', trashed });
    const twin = { ...child, id: 'btwin', record: { ...child.record!, id: 'btwin', trashed } };
    const rows = await repair(store, [child, root, twin, gone]);
    assert.deepEqual(
      rows.map(r => [r.id, r.problem, r.note]),
      [
        ['broot', undefined, undefined],
        ['bgone', undefined, 'into the trash, where it was'],
        ['bchild', undefined, undefined],
        ['btwin', undefined, 'into the trash, where it was'],
      ],
    );
    assert.deepEqual(trashEntries(store).map(nameOfEntry).toSorted(), ['fix', 'old']);
    assert.deepEqual(
      listedProjects(store).map(p => p.name),
      ['shop'],
    );
    assert.deepEqual(store.get('project', 'old~abc123')?.spec.trashed, { name: 'old', ...trashed });
    assert.equal(findBranch(store, 'shop', 'fix')?.name, 'bchild');
  });

  it('only looks when it is asked what it would do', async () => {
    const store = testStore();
    assert.equal(planRepair(store, [root]).length, 1);
    assert.deepEqual([...store.list('branch'), ...store.list('project')], []);
  });

  it('leaves alone what it cannot bring back, and says why', async () => {
    const store = testStore();
    const main = await defaultProject(store);
    await applied(store, 'pr');
    const rows = await repair(store, [
      volume('bother', { project: 'default' }),
      { id: 'bdark' },
      volume('bcopy', { id: 'broot' }),
      volume('bword', { project: 'default', branch: '' }),
      volume('bsql', { project: 'evil', role: 'pg_read_all_data' }),
      volume('btwin', { createdAt: '2029-03-01T00:00:00.000Z' }),
      root,
    ]);
    const problems = Object.fromEntries(rows.map(row => [row.id, row.problem]));
    assert.equal(problems.bother, `there is another branch "main" in project "default": ${main.name}`);
    assert.equal(problems.bdark, 'its record cannot be read');
    assert.equal(problems.bcopy, 'its record is that of broot');
    assert.match(problems.bword!, /^"" is not a name for a branch: /);
    assert.match(problems.bsql!, /"pg_read_all_data" is not a valid role name/);
    assert.equal(problems.btwin, 'there is another branch "main" in project "shop": broot');
    assert.equal(problems.broot, undefined);
    assert.deepEqual(
      store.list('branch').map(b => b.name),
      [main.name, 'broot'],
    );
    await store.modify('project', 'shop', () => ({ deleted: true }));
    const [row] = planRepair(store, [child]);
    assert.equal(row?.problem, 'project "shop" is being deleted');
  });

  it('gives a branch back to its sandbox, or to nobody; old records have no role', async () => {
    const store = testStore();
    await applied(store, 'pr');
    const { role: _, database: __, ...old } = root.record!;
    const rows = await repair(store, [
      { id: 'broot', record: old },
      volume('bmine', { ...child.record, id: 'bmine', owner: 'sandbox/pr' }),
      volume('blost', { ...child.record, id: 'blost', branch: 'lost', owner: 'sandbox/gone' }),
    ]);
    assert.deepEqual(
      rows.map(row => row.note),
      [
        'its role and database are taken to be "app"',
        undefined,
        'sandbox gone is gone: it belongs to nobody',
      ],
    );
    assert.deepEqual(store.get('project', 'shop')?.spec, { role: 'app', database: 'app' });
    assert.equal(store.get('branch', 'bmine')?.spec.owner, 'sandbox/pr');
    assert.equal(store.get('branch', 'blost')?.spec.owner, undefined);
  });
});
