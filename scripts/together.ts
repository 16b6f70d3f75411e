/** Runs the test files that are named, one after the other in this process; each is a suite with its path as the name. */
import { relative } from 'node:path';
import { suite } from 'node:test';
import { pathToFileURL } from 'node:url';
import { root } from './checks.ts';

for (const file of process.argv.slice(2))
  suite(relative(root, file), async () => void (await import(pathToFileURL(file).href)));
