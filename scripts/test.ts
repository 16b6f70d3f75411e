/**
 * `npm test [-- FILE|FOLDER…]`: the checks, all tests, and whether they cleaned up. Its last line counts them all.
 * With arguments only the tests in those files and folders run, without the checks.
 */
import { globSync, statSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { run } from 'node:test';
import { checks, root } from './checks.ts';
import { leftovers, traces } from './leftovers.ts';
import { mark, type Result, report } from './report.ts';

const filesAtOnce = 2;
const testTimeoutMs = 120_000;
/** Tests that hold their process open would otherwise wait for ever. */
const runTimeoutMs = 40 * 60_000;

const chosen = process.argv.slice(2);
const files = testFiles(chosen);
const results: Result[] = [];

if (chosen.length === 0)
  for (const check of checks) {
    const start = performance.now();
    tell(`check: ${check.name}`, start, await check.run(false));
  }

const before = await traces();
const queue = files.values();
const signal = AbortSignal.timeout(runTimeoutMs);
await Promise.all(
  Array.from({ length: filesAtOnce }, async () => {
    // One run per file: a test knows the file that defines it, which may be a shared suite, not the one it runs for.
    for (const file of queue)
      results.push(
        ...(await report(file, run({ files: [file], cwd: root, timeout: testTimeoutMs, signal }))),
      );
  }),
);

const start = performance.now();
const left = await leftovers(before);
tell('nothing left behind', start, left.length === 0 ? undefined : left.join('\n'));

console.log('\nslowest:');
for (const { ms, name } of results.toSorted((a, b) => b.ms - a.ms).slice(0, 10))
  console.log(`  ${(ms / 1000).toFixed(2).padStart(6)} s  ${name}`);

const skipped = results.filter(result => result.outcome === 'skipped');
if (skipped.length > 0) console.log('\nskipped:');
for (const { name, reason } of skipped)
  console.log(`  ${name}: ${reason ?? 'without a reason, which is a failure'}`);

const count = (outcome: Result['outcome']) => results.filter(result => result.outcome === outcome).length;
const unexplained = skipped.filter(({ reason }) => reason === undefined).length;
const failed = count('failed') + unexplained;
const skips = skipped.length - unexplained;
process.exitCode = failed === 0 ? 0 : 1;
console.log(`\n${count('passed')} passed, ${failed} failed${skips === 0 ? '' : `, ${skips} skipped`}`);

// --- internal ------------------------------------------------------------------------------------

/** Absolute paths of the test files in `paths`, or of all. Ends the run when there is nothing to run. */
function testFiles(paths: readonly string[]): string[] {
  const found = (paths.length === 0 ? ['test'] : paths).flatMap(path => {
    const absolute = resolve(root, path);
    if (statSync(absolute, { throwIfNoEntry: false })?.isDirectory() !== true) return globSync(absolute);
    return globSync(join(absolute, '**/*.test.ts'));
  });
  if (found.length > 0) return found.sort();
  console.error(
    `no test files in ${paths.join(', ') || relative(root, 'test')}: give files or folders below test/`,
  );
  process.exit(2);
}

/** Records and prints a result that is not a test's. */
function tell(name: string, startedAt: number, problem: string | undefined): void {
  const outcome = problem === undefined ? 'passed' : 'failed';
  results.push({ name, ms: performance.now() - startedAt, outcome });
  console.log(`${mark[outcome]} ${name}`);
  if (problem !== undefined) console.log(problem.replaceAll(/^/gm, '    '));
}
