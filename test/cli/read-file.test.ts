import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { UsageError } from '../../src/cli/output.ts';
import { readSource, readSources } from '../../src/cli/read-file.ts';
import { fakeCli } from '../support/cli.ts';
import { tempDir } from '../support/temp.ts';

test('a file, standard input, and a folder in order of its names', async () => {
  await using dir = await tempDir();
  await mkdir(join(dir.path, 'k8s'));
  for (const name of ['b.yml', 'a.yaml', 'c.json', 'README.md'])
    await writeFile(join(dir.path, 'k8s', name), name);
  const { cli } = fakeCli({ cwd: dir.path, input: 'typed' });
  const first = { file: 'k8s/a.yaml', text: 'a.yaml', path: join(dir.path, 'k8s/a.yaml') };
  assert.deepEqual(await readSource(cli, 'k8s/a.yaml'), first);
  assert.deepEqual(await readSources(cli, 'k8s/a.yaml'), [first]);
  assert.deepEqual(
    (await readSources(cli, 'k8s')).map(s => [s.file, s.text]),
    [
      [join('k8s', 'a.yaml'), 'a.yaml'],
      [join('k8s', 'b.yml'), 'b.yml'],
      [join('k8s', 'c.json'), 'c.json'],
    ],
  );
  assert.deepEqual(await readSources(cli, '-'), [{ file: '<stdin>', text: 'typed', path: '-' }]);
});

test('of the folders below, those of packages and charts of Helm are left out, and our own file is', async () => {
  await using dir = await tempDir();
  for (const file of [
    'offshoot.yaml',
    'a.yaml',
    'x/b.yaml',
    'x/node_modules/p/package.json',
    'x/chart/Chart.yaml',
  ]) {
    await mkdir(join(dir.path, file, '..'), { recursive: true });
    await writeFile(join(dir.path, file), '');
  }
  const { cli, stderr } = fakeCli({ cwd: dir.path });
  const found = await readSources(cli, '.', { recursive: true });
  assert.deepEqual(
    found.map(({ file, found }) => [file, found]),
    [
      ['a.yaml', true],
      [join('x', 'b.yaml'), true],
    ],
  );
  assert.equal(stderr(), 'left out: x/chart is a chart of Helm; "helm template" renders it\n');
  await assert.rejects(
    readSources(cli, 'x/chart'),
    /^UsageError: x\/chart is a chart of Helm, .*: helm template chart x\/chart \| offshoot deploy -f -$/,
  );
});

test('what cannot be read is named as it was given', async () => {
  await using dir = await tempDir();
  await writeFile(join(dir.path, 'file.yaml'), '');
  await mkdir(join(dir.path, 'empty'));
  const { cli } = fakeCli({ cwd: dir.path });
  const refused = (promise: Promise<unknown>, sentence: RegExp) =>
    assert.rejects(promise, (error: unknown) => error instanceof UsageError && sentence.test(error.message));
  await refused(readSource(cli, 'nix.yaml'), /^cannot read nix\.yaml: it does not exist$/);
  await refused(readSources(cli, 'nix'), /^cannot read nix: it does not exist$/);
  await refused(readSource(cli, 'empty'), /^cannot read empty: it is a folder$/);
  await refused(readSources(cli, 'empty'), /^empty holds no \.yaml, \.yml or \.json file$/);
  await refused(readSources(cli, 'file.yaml/x'), /^cannot read file\.yaml\/x: ENOTDIR$/);
});

test('standard input has an end', async () => {
  const { cli } = fakeCli({ input: 'x'.repeat(4 * 1024 * 1024 + 1) });
  await assert.rejects(readSource(cli, '-'), /standard input is larger than 4 MiB/);
});
