/**
 * `npm test [-- FILE|FOLDER…]`: the checks, all tests but those of a cluster, and whether they cleaned up. Its last line
 * counts them all. With arguments only the tests in those files and folders run, without the checks.
 */
import { checks } from './checks.ts';
import { leftovers, traces } from './leftovers.ts';
import type { Result } from './report.ts';
import { close, runFiles, tell, testFiles } from './suite.ts';

const chosen = process.argv.slice(2);
const files = chosen.length === 0 ? testFiles(['test'], 'test/cluster/**') : testFiles(chosen);
const results: Result[] = [];

if (chosen.length === 0)
  for (const check of checks) {
    const start = performance.now();
    results.push(tell(`check: ${check.name}`, start, await check.run(false)));
  }

const before = await traces();
results.push(...(await runFiles(files)));

const start = performance.now();
const left = await leftovers(before);
results.push(tell('nothing left behind', start, left.length === 0 ? undefined : left.join('\n')));
close(results);
