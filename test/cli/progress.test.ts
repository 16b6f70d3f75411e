import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createProgress, type ProgressStep } from '../../src/cli/progress.ts';
import { until } from '../../src/lib/wait.ts';
import { fakeCli } from '../support/cli.ts';

const step = (state: ProgressStep['state'], more: Partial<ProgressStep> = {}): ProgressStep => ({
  label: 'fork demo/users',
  state,
  ...more,
});

test('elsewhere than on a terminal: one line when a step begins, and one when it ends', () => {
  const { cli, stdout, stderr } = fakeCli();
  const progress = createProgress(cli, { lateMs: 0 });
  progress.show([step('waiting')]);
  assert.equal(stderr(), '');
  progress.show([step('running', { detail: 'starts', ms: 1 })]);
  progress.show([step('running', { detail: 'still starts', ms: 2 })]);
  progress.show([step('done', { detail: 'not of interest any more', ms: 1_234 })]);
  progress.end();
  assert.equal(stderr(), '  … fork demo/users: starts (1 ms)\n  ✓ fork demo/users (1.2 s)\n');
  assert.equal(stdout(), '');
});

test('a step that ends soon has one line, one that goes on has that of its beginning, too', async () => {
  const { cli, stderr } = fakeCli();
  const progress = createProgress(cli, { lateMs: 30 });
  progress.show([step('running'), step('running', { label: 'slow', detail: 'starts' })]);
  progress.show([step('done', { ms: 5 }), step('running', { label: 'slow', detail: 'starts' })]);
  assert.equal(stderr(), '  ✓ fork demo/users (5 ms)\n');
  await until(() => (stderr().includes('slow') ? true : undefined), {
    what: 'the late line',
    deadlineMs: 60_000,
  });
  progress.end();
  assert.match(stderr(), /^ {2}✓ fork demo\/users \(5 ms\)\n {2}… slow: starts \(\d+ ms\)\n$/);
});

test('a step that fails and is tried again is told each time', () => {
  const { cli, stderr } = fakeCli();
  const progress = createProgress(cli, { lateMs: 0 });
  for (const state of ['running', 'failed', 'running', 'done'] as const)
    progress.show([step(state, { ms: 5 })]);
  progress.end();
  const marks = stderr()
    .split('\n')
    .map(line => line.trim()[0]);
  assert.deepEqual(marks, ['…', '✗', '…', '✓', undefined]);
});

test('on a terminal the lines are drawn over, cut to its width', () => {
  const { cli, stderr } = fakeCli({ columns: 30 });
  const progress = createProgress(cli);
  progress.show([
    step('running', { detail: 'x'.repeat(100), ms: 1 }),
    step('waiting', { label: 'endpoints' }),
  ]);
  progress.show([step('done', { ms: 7 }), step('done', { label: 'endpoints', ms: 8 })]);
  progress.end();
  const [first, second, last] = stderr().split('\x1b[0J').slice(1);
  assert.deepEqual(first!.split('\n').slice(0, 2), [
    `  … fork demo/users: ${'x'.repeat(8)}`,
    '  · endpoints',
  ]);
  assert.ok(first!.endsWith('\x1b[2A'), 'the cursor goes up by two lines');
  assert.equal(second!.replace('\x1b[2A', ''), '  ✓ fork demo/users (7 ms)\n  ✓ endpoints (8 ms)\n');
  assert.equal(last, '  ✓ fork demo/users (7 ms)\n  ✓ endpoints (8 ms)\n');
});

test('a terminal that is narrow and low is never written beyond, and has all of it at the end', () => {
  const { cli, stderr } = fakeCli({ columns: 12, rows: 5 });
  const progress = createProgress(cli);
  const steps = Array.from({ length: 30 }, (_, i) =>
    step(i < 28 ? 'done' : 'running', { label: `fork ${i}`, ms: 1 }),
  );
  progress.show(steps);
  progress.end();
  const [drawn, last] = stderr().split('\x1b[0J').slice(1);
  const [shown, up] = drawn!.split('\x1b');
  assert.deepEqual(shown!.split('\n'), ['  ✓ fork 0 ', '  … fork 28', '  … fork 29', '  and 27 mo', '']);
  assert.equal(up, '[4A');
  assert.equal(last!.split('\n').length, 31);
  assert.ok(last!.split('\n').every(line => line.length < 12));
});

test('nothing to show, nothing drawn', () => {
  const { cli, stderr } = fakeCli({ columns: 80 });
  createProgress(cli).end();
  assert.equal(stderr(), '');
});
