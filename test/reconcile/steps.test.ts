import assert from 'node:assert/strict';
import { it } from 'node:test';
import { type Condition, reasonOf } from '../../src/model/conditions.ts';
import { OffshootError } from '../../src/model/errors.ts';
import { type Outcome, type Step, together, walk } from '../../src/reconcile/steps.ts';
import { testClock } from '../support/documents.ts';

const done: Outcome = { done: true, reason: 'Done', message: 'is done' };
const waits: Outcome = { done: false, reason: 'Slow', message: 'takes its time', waits: { until: ['x'] } };

const step = (condition: string, run: () => Outcome | Promise<Outcome>): Step => ({
  condition,
  run: async () => run(),
});

/** A walk that notes what it reported, as `Type=Status` lists. */
function walker() {
  const clock = testClock();
  const abort = new AbortController();
  const reports: string[] = [];
  const brief = (conditions: readonly Condition[]) => conditions.map(c => `${c.type}=${c.status}`).join(' ');
  const report = async (conditions: readonly Condition[]) => void reports.push(brief(conditions));
  return {
    clock,
    abort,
    reports,
    brief,
    walk: (steps: readonly Step[], before: readonly Condition[] = []) =>
      walk(steps, before, { now: clock.now, signal: abort.signal, report }),
  };
}

it('goes through all steps in order and reports after each', async () => {
  const w = walker();
  const order: string[] = [];
  const steps = ['A', 'B'].map(name =>
    step(name, () => {
      order.push(`${name} after ${w.reports.length}`);
      return done;
    }),
  );
  const walked = await w.walk(steps);
  assert.deepEqual(order, ['A after 0', 'B after 1']);
  assert.deepEqual(w.reports, ['A=True', 'A=True B=True']);
  assert.deepEqual(walked.conditions[1], {
    type: 'B',
    status: 'True',
    reason: 'Done',
    message: 'is done',
    lastTransitionTime: w.clock.now().toISOString(),
  });
  assert.deepEqual([walked.stopped, walked.error], [undefined, undefined]);
});

it('stops at the first step that is not done; those behind it wait', async () => {
  const w = walker();
  const walked = await w.walk([
    step('A', () => done),
    step('B', () => waits),
    step('C', () => assert.fail('it must not run')),
  ]);
  assert.deepEqual(walked.stopped, { condition: 'B', outcome: waits });
  assert.equal('error' in walked, false);
  assert.equal(w.brief(walked.conditions), 'A=True B=False C=Unknown');
  const [, b, c] = walked.conditions;
  assert.deepEqual([b?.reason, b?.message], ['Slow', 'takes its time']);
  assert.deepEqual([c?.reason, c?.message], ['Waiting', 'waits for B']);
});

it('takes what a step throws for its outcome, and hands it on', async () => {
  const w = walker();
  const missing = new OffshootError('branch/parent-missing', { parent: 'p', project: 'q' });
  const walked = await w.walk([
    step('A', () => Promise.reject(missing)),
    step('B', () => assert.fail('it must not run')),
  ]);
  assert.equal(walked.error, missing);
  assert.equal(walked.stopped?.condition, 'A');
  assert.deepEqual(
    [walked.conditions[0]?.reason, walked.conditions[0]?.message],
    ['BranchParentMissing', missing.message],
  );
  assert.deepEqual(w.reports, ['A=False']);

  const bug = new TypeError('secret detail');
  const internal = await w.walk([step('A', () => Promise.reject(bug))]);
  assert.equal(internal.error, bug);
  assert.equal(internal.conditions[0]?.reason, 'Internal');
  assert.doesNotMatch(internal.conditions[0]?.message ?? '', /secret/);
});

it('moves the time of a transition only when the status changes', async () => {
  const w = walker();
  const first = await w.walk([step('A', () => done), step('B', () => waits)]);
  const t1 = w.clock.now().toISOString();
  w.clock.forward(1_000);
  const second = await w.walk([step('A', () => done), step('B', () => done)], first.conditions);
  assert.deepEqual(
    second.conditions.map(c => c.lastTransitionTime),
    [t1, w.clock.now().toISOString()],
  );
});

it('ends with the reason of the signal and leaves no condition of the step that was stopped', async () => {
  const w = walker();
  const stop = new Error('stop');
  const stopped = w.walk([
    step('A', () => done),
    step('B', () => {
      w.abort.abort(stop);
      throw new Error('a consequence');
    }),
  ]);
  await assert.rejects(stopped, error => error === stop);
  assert.deepEqual(w.reports, ['A=True']);
});

it('makes reasons of codes', () => {
  assert.equal(reasonOf('branch/parent-missing'), 'BranchParentMissing');
  assert.equal(reasonOf('internal'), 'Internal');
});

it('waits that are put together end with the first of them, and say what stands in the way of any', () => {
  const why = new OffshootError('api/not-found', { kind: 'k', name: 'n' });
  assert.equal(together([undefined, undefined]), undefined);
  assert.deepEqual(together([undefined, { until: ['x'] }]), { until: ['x'] });
  const waits = [{ until: ['x', 'y'], again: 9 }, { until: ['y', 'z'], again: 5, why }, { until: ['x'] }];
  assert.deepEqual(together(waits), { until: ['x', 'y', 'z'], again: 5, why });
});
