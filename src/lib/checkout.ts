/**
 * Where what runs lies: in `src/`, or in what the set-up has bundled from it, `.cache/bundle/<what it was made of>/`
 * (scripts/bootstrap/bundle.mjs). Paths in the checkout come from here, because a module of a bundle does not lie where its source does.
 */
import { readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = fileURLToPath(import.meta.url);

/** Whether we are a bundle. */
export const bundled = !here.endsWith('.ts');

/** Folder of the modules that run. */
export const modules = bundled ? dirname(here) : dirname(dirname(here));

/** Of the checkout. */
export const root = join(modules, bundled ? '../../..' : '..');

/** Offshoot's. */
export const version = (JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string })
  .version;

/** What is started by its path, as a process or a thread; scripts/bootstrap/bundle.mjs has the same list. */
export type Program = 'cli/main' | 'proxy' | 'outpost' | 'importer' | 'api/manifest-worker';

/** Path of the module, for the Node that runs us. */
export const programFile = (program: Program): string =>
  join(modules, bundled ? `${basename(program)}.cjs` : `${program}.ts`);
