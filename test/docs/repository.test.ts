/** What must not be in the repository. */
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';

const root = join(import.meta.dirname, '../..');

test('no file holds a path of one machine', () => {
  const files = globSync('{*,{.ci,bench,docs,examples,scripts,src,test}/**/*}', {
    cwd: root,
    withFileTypes: true,
    exclude: entry => ['node_modules', '.cache', 'results'].includes(entry.name),
  }).filter(entry => entry.isFile());
  assert.ok(files.length > 50, `only ${files.length} files were found`);
  const found = files
    .map(entry => join(entry.parentPath, entry.name))
    .flatMap(file => machinePathsIn(readFileSync(file, 'utf8')).map(path => `${file}: ${path}`));
  assert.deepEqual(found, []);
});

test('paths of one machine are told from others', () => {
  const [home, users, superuser, work] = ['home', 'Users', 'root', 'work'].map(name => `/${name}`);
  const bad = [`${home}/ann/`, `${users}/ann/`, `${superuser}/x`, `${work}/main`];
  assert.deepEqual(machinePathsIn(`cd ${bad.join(' ; cat ')}`), bad);
  assert.deepEqual(
    machinePathsIn(`GET /users/1 ${home}/ .${work}/main $HOME/x https://x.org${superuser}/x`),
    [],
  );
});

test('package-lock.json names no registry', () => {
  const lock = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8'));
  const packages = Object.entries<{ resolved?: string }>(lock.packages);
  assert.ok(packages.length > 50, `only ${packages.length} packages were found`);
  const resolved = packages.filter(([, entry]) => entry.resolved !== undefined).map(([name]) => name);
  assert.deepEqual(resolved, []);
});

/** A folder of a person, of the superuser, or of a build machine. */
function machinePathsIn(text: string): string[] {
  return text.match(/(?<![\w.])\/(?:(?:home|Users)\/[a-z][\w.-]*\/|root\/\w+|work\/(?:main|shared))/g) ?? [];
}
