/** Prints the results of a test file once it has ended: one line, and all that is known about its failures. */
import { availableParallelism, freemem, loadavg } from 'node:os';
import { dirname, relative } from 'node:path';
import type { EventData, TestsStream } from 'node:test';
import { inspect, styleText } from 'node:util';
import { root } from './checks.ts';

export type Result = {
  /** File and names of the enclosing tests, outermost first. */
  readonly name: string;
  readonly ms: number;
  readonly outcome: 'passed' | 'failed' | 'skipped';
  /** Of skipped ones, in words; undefined when nobody gave one. */
  readonly reason?: string | undefined;
  /** Of failed ones, all that is known. */
  readonly detail?: string | undefined;
};

export const mark: Readonly<Record<Result['outcome'], string>> = {
  passed: styleText('green', '✔'),
  failed: styleText('red', '✖'),
  skipped: styleText('yellow', '↷'),
};

/**
 * Reads `stream`, the run of one test file, to its end.
 * @param parts files of which it is made, each a suite of its own with its path as the name
 * @param overdue whether its time was over, and it was killed
 * @returns one result per test; a suite, or a test with subtests that failed, counts only when it fails by itself
 */
export async function report(
  file: string,
  stream: TestsStream,
  parts: readonly string[] = [],
  overdue = () => false,
): Promise<readonly Result[]> {
  const results: Result[] = [];
  /** Names of the tests that are open, outermost first. */
  const path: string[] = [];
  let output = '';
  const start = performance.now();

  const add = (
    data: EventData.TestPass | EventData.TestFail,
    outcome: Result['outcome'],
    detail?: string,
  ): void => {
    const names = data.name === file ? ['(the whole file)'] : [...path.slice(0, data.nesting), data.name];
    const name = [...(parts.length === 0 || data.name === file ? [relative(root, file)] : []), ...names].join(
      ' › ',
    );
    results.push({ name, ms: data.details.duration_ms, outcome, reason: reasonOf(data), detail });
  };
  stream.on('test:start', data => path.splice(data.nesting, Infinity, data.name));
  stream.on('test:pass', data => {
    if (isSkipped(data)) add(data, 'skipped');
    else if (data.details.type !== 'suite') add(data, 'passed');
  });
  stream.on('test:fail', data => {
    if (isSkipped(data)) return add(data, 'skipped');
    const error = data.details.error as Error & { failureType?: string };
    if (error.failureType === 'subtestsFailed') return;
    const why = data.name === file && overdue() ? killed() : textOf(error.cause ?? error);
    add(data, 'failed', `line ${data.line}: ${why}\n(${surroundings()})`);
  });
  const killed = (): string => {
    const passed = results.filter(({ outcome }) => outcome === 'passed').map(({ name }) => `\n  ${name}`);
    return `it was not over in time, and was killed; it had passed:${passed.join('') || ' nothing'}`;
  };
  const keepOutput = (data: EventData.TestStdout | EventData.TestStderr) => {
    output += data.message;
  };
  stream.on('test:stdout', keepOutput);
  stream.on('test:stderr', keepOutput);
  stream.resume();
  await new Promise((done, failed) => stream.on('end', done).on('error', failed));

  const failures = results.filter(({ outcome }) => outcome === 'failed');
  for (const failure of failures) tellFailure(failure);
  if (failures.length > 0 && output !== '') console.log(indented(`what the file printed:\n${output}`));
  const counts = (['passed', 'failed', 'skipped'] as const)
    .map(outcome => ({ outcome, n: results.filter(result => result.outcome === outcome).length }))
    .filter(({ n }) => n > 0)
    .map(({ outcome, n }) => `${n} ${outcome}`);
  const ms = Math.round(performance.now() - start);
  const outcome = failures.length === 0 ? 'passed' : 'failed';
  const what =
    parts.length === 0
      ? relative(root, file)
      : `${dirname(relative(root, parts[0]!))} (${parts.length} files)`;
  console.log(`${mark[outcome]} ${what}: ${counts.join(', ')} (${ms} ms)`);
  return results;
}

/** Prints the name of a test that failed, and why. */
export function tellFailure({ name, detail }: Result): void {
  console.log(`${mark.failed} ${name}`);
  if (detail !== undefined) console.log(indented(detail));
}

// --- internal ------------------------------------------------------------------------------------

/** A test that is still to be written counts as skipped, whatever came out. */
const isSkipped = (data: EventData.TestPass | EventData.TestFail): boolean =>
  (data.skip ?? data.todo ?? false) !== false;

function reasonOf({ skip, todo }: EventData.TestPass | EventData.TestFail): string | undefined {
  const reason = skip ?? todo;
  return typeof reason === 'string' && reason.trim() !== '' ? reason : undefined;
}

/** An assertion's message has all that is in its fields; frames of the test runner tell nothing. */
function textOf(thrown: unknown): string {
  const assertion = thrown instanceof Error && 'code' in thrown && thrown.code === 'ERR_ASSERTION';
  const text = assertion ? (thrown.stack ?? thrown.message) : inspect(thrown);
  return text
    .split('\n')
    .filter(line => !/^\s+at .*\(?node:(internal\/|async_hooks)/.test(line))
    .join('\n');
}

/** What the machine was doing, which a failure now and then may come from. */
const surroundings = (): string =>
  `${new Date().toISOString()}, load ${loadavg()
    .map(load => load.toFixed(1))
    .join(
      ' ',
    )} on ${availableParallelism()} processors, ${Math.round(freemem() / 2 ** 20)} MiB of memory free`;

const indented = (text: string): string => text.trimEnd().replaceAll(/^/gm, '    ');
