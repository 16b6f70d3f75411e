import assert from 'node:assert/strict';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { it } from 'node:test';
import { fileSet, walk } from '../../src/lib/file-set.ts';
import { repositoryOf } from '../../src/lib/git-ignore.ts';
import { globToRegExp } from '../../src/lib/glob.ts';
import { tempDir } from '../support/temp.ts';

it('reads globs as shells do', () => {
  for (const [glob, path, fits] of [
    ['*.ts', 'a.ts', true],
    ['*.ts', 'src/a.ts', false],
    ['**/*.ts', 'a.ts', true],
    ['**/*.ts', 'src/deep/a.ts', true],
    ['src/**', 'src/deep/a.ts', true],
    ['src/**/a.ts', 'src/a.ts', true],
    ['src/**', 'srcs/a.ts', false],
    ['a.{ts,js}', 'a.js', true],
    ['a.{ts,js}', 'a.jsx', false],
    ['[!a]?', 'bc', true],
    ['[!a]?', 'ac', false],
    ['a+b(c).ts', 'a+b(c).ts', true],
    ['\\*', '*', true],
    ['[', '[', true],
    ['[z-a]', 'b', false],
  ] as const)
    assert.equal(globToRegExp(glob).test(path), fits, `${glob} ${path}`);
});

const files = [
  ...['app.ts', 'README.md', 'src/a.ts', 'src/gen/b.ts', 'src/deep/er/c.ts', '.env', 'debug.log'],
  ...['node_modules/x/index.js', 'dist/app.js', 'src/dist/kept.ts', 'pkg/one.tmp', 'pkg/kept.tmp', 'a.ts~'],
];

async function found(globs: readonly string[], ignored: Readonly<Record<string, string>> = {}) {
  await using dir = await tempDir();
  for (const file of ['.git/HEAD', ...files]) {
    mkdirSync(dirname(join(dir.path, file)), { recursive: true });
    writeFileSync(join(dir.path, file), '');
  }
  symlinkSync('src', join(dir.path, 'link'));
  for (const [file, text] of Object.entries(ignored)) writeFileSync(join(dir.path, file), text);
  const all = await walk(fileSet(dir.path, globs));
  return [...all.keys()].map(path => relative(dir.path, path)).sort();
}

it('holds what git would keep, and follows no link', async () => {
  const rules = '# made\n/dist/\n*.log\n.env\npkg/*.tmp\n!pkg/kept.tmp\n';
  assert.deepEqual(await found(['**'], { '.gitignore': rules, 'src/.gitignore': 'gen' }), [
    ...['.gitignore', 'README.md', 'app.ts', 'link', 'pkg/kept.tmp'],
    ...['src/.gitignore', 'src/a.ts', 'src/deep/er/c.ts', 'src/dist/kept.ts'],
  ]);
});

it('takes what globs name: folders whole, exceptions out, and by its own name also what git ignores', async () => {
  const ignored = { '.gitignore': '.env\n' };
  assert.deepEqual(await found(['src', '!src/gen', '.env', '*.md'], ignored), [
    ...['.env', 'README.md', 'src/a.ts', 'src/deep/er/c.ts', 'src/dist/kept.ts'],
  ]);
  assert.deepEqual(await found(['**/*.ts', '!src/**', 'src/gen/*']), ['app.ts', 'src/gen/b.ts']);
  assert.deepEqual(await found(['!src', '!**/*.tmp', '!dist'], ignored), [
    ...['.gitignore', 'README.md', 'app.ts', 'debug.log', 'link'],
  ]);
  assert.deepEqual(await found(['none/**']), []);
});

it('takes a folder that cannot be looked into for one without a repository', async () => {
  await using dir = await tempDir();
  const loop = join(dir.path, 'loop');
  symlinkSync('loop', loop);
  assert.equal(repositoryOf(loop), undefined);
});
