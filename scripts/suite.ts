/** Running test files and counting: what `npm test` and `npm run test:kubernetes` share. */
import { globSync, statSync } from 'node:fs';
import { join, matchesGlob, relative, resolve } from 'node:path';
import { run } from 'node:test';
import { root } from './checks.ts';
import { killTree } from './hung.ts';
import { mark, type Result, report, tellFailure } from './report.ts';

const filesAtOnce = 2;
/** Of a file that hangs, or holds its process open: a busy machine may need ten times as long as a quiet one. */
const fileTimeoutMs = 7 * 60_000;
/** Of all. */
const runTimeoutMs = 40 * 60_000;

/**
 * Absolute paths of the test files in `paths`, sorted. Ends the run when there is nothing to run.
 * @param except a glob from the root of the repository
 */
export function testFiles(paths: readonly string[], except?: string): string[] {
  const found = paths.flatMap(path => {
    const absolute = resolve(root, path);
    if (statSync(absolute, { throwIfNoEntry: false })?.isDirectory() !== true) return globSync(absolute);
    return globSync(join(absolute, '**/*.test.ts'));
  });
  const files = found.filter(file => except === undefined || !matchesGlob(relative(root, file), except));
  if (files.length > 0) return files.sort();
  console.error(`no test files in ${paths.join(', ')}: give files or folders below test/`);
  process.exit(2);
}

// A container engine of this machine is none of the tests' business; who wants one brings his own.
process.env.OFFSHOOT_ENGINE ??= 'none';

/** Folders whose tests leave their process as it was: a process for all of a folder spares a third of the processor's time. */
const together = [
  'test/api',
  'test/baseline',
  'test/data',
  'test/drivers/workload',
  'test/kubernetes',
  'test/lib',
  'test/model',
  'test/proxy',
  'test/reconcile',
  'test/roles',
  'test/rules',
  'test/store',
];

/** What takes longest, which goes first: otherwise the end is one of these alone, and half of the machine waits. */
const long = [
  'test/drivers/workload',
  'test/proxy',
  'test/soak/full.test.ts',
  'test/soak/kill.test.ts',
  'test/e2e/branches.test.ts',
  'test/docs/snippets.test.ts',
  'test/drivers/engine/podman.test.ts',
  'test/reconcile',
  'test/soak/operations.test.ts',
  'test/e2e/import.test.ts',
];

/**
 * Runs `files`, two at a time, each in a process of its own but for those of some folders, which share one, and prints how each
 * went.
 * @param mostMs milliseconds for each, after which it is killed with all its processes
 */
export async function runFiles(
  files: readonly string[],
  stop?: AbortSignal,
  mostMs = fileTimeoutMs,
): Promise<readonly Result[]> {
  const results: Result[] = [];
  const queue = jobsOf(files).values();
  const signal = AbortSignal.any([AbortSignal.timeout(runTimeoutMs), ...(stop === undefined ? [] : [stop])]);
  await Promise.all(
    Array.from({ length: filesAtOnce }, async () => {
      // One run per file: a test knows the file that defines it, which may be a shared suite, not the one it runs for.
      for (const { file, args } of queue) {
        let overdue = false;
        const timer = setTimeout(() => {
          overdue = true;
          killTree([file, ...args]);
        }, mostMs);
        const stream = run({ files: [file], argv: args, cwd: root, signal });
        results.push(...(await report(file, stream, args, () => overdue)));
        clearTimeout(timer);
      }
    }),
  );
  return results;
}

type Job = { readonly file: string; readonly args: readonly string[] };

function jobsOf(files: readonly string[]): readonly Job[] {
  const folderOf = (file: string) =>
    together.find(folder => relative(join(root, folder), file).split('/')[0] !== '..');
  const groups = Map.groupBy(files, file => folderOf(file) ?? file);
  const rank = (key: string) => {
    const place = long.indexOf(key.startsWith(root) ? relative(root, key) : key);
    return place === -1 ? long.length : place;
  };
  const ordered = [...groups].sort(([a], [b]) => rank(a) - rank(b));
  return ordered.map(([key, args]) =>
    args.length === 1 || !together.includes(key)
      ? { file: args[0]!, args: [] }
      : { file: join(import.meta.dirname, 'together.ts'), args },
  );
}

/** Prints a result that is not a test's. @param problem undefined when all is well */
export function tell(name: string, startedAt: number, problem: string | undefined): Result {
  const outcome = problem === undefined ? 'passed' : 'failed';
  const result = { name, ms: performance.now() - startedAt, outcome, detail: problem } as const;
  if (problem === undefined) console.log(`${mark.passed} ${name}`);
  else tellFailure(result);
  return result;
}

/**
 * Prints the slowest, the skipped and once more what failed, which many screens of a build server would have scrolled away, and as the last
 * line the count; sets the exit code.
 */
export function close(results: readonly Result[]): void {
  console.log('\nslowest:');
  for (const { ms, name } of results.toSorted((a, b) => b.ms - a.ms).slice(0, 10))
    console.log(`  ${(ms / 1000).toFixed(2).padStart(6)} s  ${name}`);

  const skipped = results.filter(result => result.outcome === 'skipped');
  if (skipped.length > 0) console.log('\nskipped:');
  for (const { name, reason } of skipped)
    console.log(`  ${name}: ${reason ?? 'without a reason, which is a failure'}`);

  const failures = results.filter(result => result.outcome === 'failed');
  if (failures.length > 0) console.log('\nfailed:');
  for (const failure of failures) tellFailure(failure);

  const count = (outcome: Result['outcome']) => results.filter(result => result.outcome === outcome).length;
  const unexplained = skipped.filter(({ reason }) => reason === undefined).length;
  const failed = count('failed') + unexplained;
  const skips = skipped.length - unexplained;
  process.exitCode = failed === 0 ? 0 : 1;
  console.log(`\n${count('passed')} passed, ${failed} failed${skips === 0 ? '' : `, ${skips} skipped`}`);
}
