import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type TestApi, testApi } from '../../support/api.ts';
import { type FakeCliOptions, runCli } from '../../support/cli.ts';

const runner =
  (api: TestApi) =>
  (args: readonly string[], options: FakeCliOptions = {}) =>
    runCli(args, { ...options, env: { OFFSHOOT_API_URL: api.url, OFFSHOOT_API_KEY: api.apiKey } });

/** With branch `fix` and project `shop`, both deleted. */
async function apiWithTrash() {
  const api = await testApi();
  const { id } = await api.client.branches.create('default', { name: 'fix' });
  api.sizes.set(id, { bytes: 12 * 1024 ** 2, exact: true });
  await api.client.branches.delete('default', 'fix');
  await api.client.projects.create({ name: 'shop' });
  const { trashed } = await api.client.projects.delete('shop');
  return { api, fix: id, shop: trashed!.id, [Symbol.asyncDispose]: () => api[Symbol.asyncDispose]() };
}

test('trash list and status say what is there', async () => {
  await using t = await apiWithTrash();
  const run = runner(t.api);
  const { stdout } = await run(['trash', 'list']);
  const [head, fix, shop] = stdout.split('\n');
  assert.match(head!, /^NAME {2}KIND {5}PROJECT {2}ID +SIZE {4}DELETED {2}GOES IN$/);
  assert.match(fix!, new RegExp(`^fix   branch   default  ${t.fix} +12 MiB  \\ds +24h$`));
  assert.match(shop!, new RegExp(`^shop  project  -        ${t.shop} +- {7}\\ds +24h$`));
  assert.match(
    (await run(['status'])).stdout,
    /^trash {6}2 entries, 12 MiB; the first goes in 24h; see "offshoot trash list"$/m,
  );
  assert.equal(JSON.parse((await run(['status', '-o', 'json'])).stdout).trash.length, 2);
});

test('what destroys is asked for at a terminal, and needs --yes elsewhere', async () => {
  await using t = await apiWithTrash();
  const run = runner(t.api);
  const terminal = { terminal: true, columns: 80 };
  const empty = ['trash', 'empty'];
  const held = async () => (await t.api.client.trash.list()).map(e => e.name);

  const nobody = await run(empty);
  assert.equal(nobody.code, 2);
  assert.match(
    nobody.stderr,
    /^error: deleting all that the trash holds needs a yes.*\nhint: repeat with --yes\n$/,
  );
  for (const answer of ['n\n', '\n', '', 'yesterday\n']) {
    const { code, stderr } = await run(empty, { ...terminal, input: answer });
    assert.equal(code, 1, answer);
    assert.match(stderr, /It holds branch fix, project shop\./);
    assert.match(stderr, /Delete all that the trash holds\? \[y\/N\] /);
    assert.match(stderr, /error: all that the trash holds was not deleted\n$/);
  }
  const deleting = ['project', 'delete', 'default'];
  const declined = await run(deleting, { ...terminal, input: 'no\n' });
  assert.match(
    declined.stderr,
    /can be restored for a while\.\n.*Delete project default\?.*was not deleted/s,
  );
  assert.match(
    (await run([...deleting, '--now'], terminal)).stderr,
    /is removed for good, with its branch main/,
  );
  assert.deepEqual(await held(), ['fix', 'shop']);

  const one = await run([...empty, 'fix'], { ...terminal, input: 'y\n' });
  assert.deepEqual([one.code, one.stderr.endsWith('branch fix is removed\n')], [0, true], one.stderr);
  assert.equal((await run([...empty, '--yes'])).stderr, '1 removed from the trash\n');
  assert.deepEqual(await held(), []);
  assert.equal((await run(empty)).stderr, 'the trash is empty\n');
  assert.equal((await run([...empty, 'fix', '--yes'])).code, 3);
  assert.match((await run([...deleting, '-y'])).stderr, /^project default is in the trash for 24h; /);
});

test('trash restore returns when it is ready', async () => {
  await using t = await apiWithTrash();
  const status = {
    state: 'ready',
    reason: 'Ready',
    message: '',
    conditions: [],
    observedGeneration: 9,
  } as const;
  // Where nothing reconciles, somebody has to start what came back; what a branch said before counts no more.
  const started: string[] = [];
  t.api.store.onChange(change => {
    if (change.type !== 'put' || change.kind !== 'branch') return;
    const { name, spec, status: before } = t.api.store.get('branch', change.name) ?? {};
    if (name === undefined || spec?.trashed !== undefined || before?.state === 'ready') return;
    started.push(name);
    void t.api.store.modify('branch', name, () => ({ status }));
  });
  for (const { name } of t.api.store.list('branch'))
    await t.api.store.modify('branch', name, () => ({ status }));
  const run = runner(t.api);
  const back = await run(['trash', 'restore', 'shop', '--as', 'store', '-o', 'json']);
  assert.equal(back.stderr, 'project store is back\n');
  assert.equal(JSON.parse(back.stdout).name, 'store');
  assert.equal((await run(['trash', 'restore', 'fix'])).stderr, 'branch fix is back\n');
  assert.equal((await run(['trash', 'restore', 'fix'])).code, 3);
  assert.ok(started.includes(t.fix), 'it was ready by another start');
});
