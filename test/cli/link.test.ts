/** What a folder works with, and what a command means by it. */
import assert from 'node:assert/strict';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { findLink, writeLink } from '../../src/cli/link.ts';
import { UsageError } from '../../src/cli/output.ts';
import { chooseBranch, chooseProject } from '../../src/cli/target.ts';
import { testApi } from '../support/api.ts';
import { fakeCli } from '../support/cli.ts';
import { tempDir } from '../support/temp.ts';

test('a link is found from the folders below, and changed where it is', async () => {
  await using dir = await tempDir();
  const below = join(dir.path, 'a', 'b');
  await mkdir(below, { recursive: true });
  assert.equal(findLink(below), undefined);
  const file = writeLink(dir.path, { project: 'shop', branch: 'main' });
  assert.equal(file, join(dir.path, '.offshoot', 'link.json'));
  assert.deepEqual(findLink(below), { project: 'shop', branch: 'main', file });
  assert.equal(writeLink(below, { project: 'shop', branch: 'fix' }), file);
  assert.deepEqual(JSON.parse(await readFile(file, 'utf8')), { project: 'shop', branch: 'fix' });
});

test('a link that is none is named', async () => {
  await using dir = await tempDir();
  const file = writeLink(dir.path, { project: 'shop', branch: 'main' });
  for (const text of ['{', '{}', '{"project":1,"branch":"x"}']) {
    await writeFile(file, text);
    assert.throws(
      () => findLink(dir.path),
      (error: unknown) => error instanceof UsageError && error.message.startsWith(`${file} is not a link`),
    );
  }
});

test('the project: flag, environment, link, the default one, the only one', async () => {
  await using api = await testApi();
  await using dir = await tempDir();
  writeLink(dir.path, { project: 'linked', branch: 'fix' });
  const env = { OFFSHOOT_API_URL: api.url, OFFSHOOT_API_KEY: api.apiKey };
  const named = { ...env, OFFSHOOT_PROJECT: 'named' };
  const choose = (cwd: string, e: Record<string, string>, flag?: string) =>
    chooseProject(fakeCli({ env: e, cwd }).cli, flag);
  assert.equal(await choose(dir.path, named, 'flag'), 'flag');
  assert.equal(await choose(dir.path, named), 'named');
  assert.equal(await choose(dir.path, { ...env, OFFSHOOT_PROJECT: '' }), 'linked');
  assert.equal(await choose('/', env), 'default');
  await api.client.projects.create({ name: 'shop' });
  assert.equal(await choose('/', env), 'default');
  await api.store.remove('project', 'default');
  assert.equal(await choose('/', env), 'shop');
  await api.client.projects.create({ name: 'blog' });
  await assert.rejects(choose('/', env), /choose one of: shop, blog/);
  for (const name of ['shop', 'blog']) await api.store.remove('project', name);
  await assert.rejects(choose('/', env), /there is none yet: "offshoot project create NAME"/);
});

test('the branch: argument, environment, the link if it is of that project, main', async () => {
  await using dir = await tempDir();
  writeLink(dir.path, { project: 'shop', branch: 'fix' });
  const choose = (project: string, argument?: string, env: Record<string, string> = {}) =>
    chooseBranch(fakeCli({ env, cwd: dir.path }).cli, project, argument);
  assert.equal(choose('shop', 'other', { OFFSHOOT_BRANCH: 'named' }), 'other');
  assert.equal(choose('shop', undefined, { OFFSHOOT_BRANCH: 'named' }), 'named');
  assert.equal(choose('shop'), 'fix');
  assert.equal(choose('blog'), 'main');
});
