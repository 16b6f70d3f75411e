/** How far a step is, by what a cluster says of its objects. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type StepPod, type StepSeen, stepState } from '../../../src/drivers/cluster/step-state.ts';

const job = { conditions: [] };
const failed = (reason: string) => ({
  conditions: [{ type: 'Failed', status: 'True', reason, message: 'so' }],
});
const pod = (status: StepPod['status'], deleting = false): StepPod => ({
  ...{ name: 'p', namespace: 'n', deleting, owner: 'u' },
  status,
});
const main = (state: object) => ({
  containerStatuses: [{ name: 'main', ready: false, restartCount: 0, state }],
});
const ended = (exitCode: number, more: object = {}) => pod(main({ terminated: { exitCode, ...more } }));

const cases: readonly (readonly [what: string, seen: Partial<StepSeen>, is: object])[] = [
  ['no pod yet', {}, { state: 'waiting', hopeless: false }],
  [
    'a quota',
    { refusal: 'pods "x" is forbidden: exceeded quota: small' },
    {
      state: 'waiting',
      cause: { reason: 'QuotaExceeded', message: 'pods "x" is forbidden: exceeded quota: small' },
      hopeless: false,
    },
  ],
  [
    'an image that was not found once',
    { pod: pod(main({ waiting: { reason: 'ErrImagePull', message: 'not found' } })) },
    { state: 'waiting', cause: { reason: 'ErrImagePull', message: 'not found' }, hopeless: false },
  ],
  [
    'and twice',
    { pod: pod(main({ waiting: { reason: 'ImagePullBackOff', message: 'not found' } })) },
    { state: 'waiting', cause: { reason: 'ImagePullBackOff', message: 'not found' }, hopeless: true },
  ],
  [
    'on its way',
    { pod: pod(main({ waiting: { reason: 'ContainerCreating' } })) },
    { state: 'waiting', hopeless: false },
  ],
  ['a script that runs', { pod: pod(main({ running: {} })) }, { state: 'running' }],
  ['a script that has ended', { pod: ended(0) }, { state: 'ended', code: 0, how: 'exit code 0' }],
  [
    'and whose pod goes',
    { pod: { ...ended(3), deleting: true } },
    { state: 'ended', code: 3, how: 'exit code 3' },
  ],
  ['a signal', { pod: ended(137, { signal: 9 }) }, { state: 'ended', code: 137, how: 'signal 9' }],
  [
    'too much memory',
    { pod: ended(137, { reason: 'OOMKilled' }) },
    { state: 'ended', code: 137, how: 'OOMKilled: more memory than its limit allows' },
  ],
  [
    'an interpreter that is not there',
    { pod: ended(128, { reason: 'StartError', message: 'exec: "/x": no such file or directory' }) },
    {
      state: 'waiting',
      cause: { reason: 'StartError', message: 'exec: "/x": no such file or directory' },
      hopeless: true,
    },
  ],
  ['a Job that took too long', { job: failed('DeadlineExceeded') }, { state: 'late' }],
  ['a Job that somebody deleted', { job: undefined }, { state: 'lost', why: 'its Job was deleted' }],
  [
    'a pod that somebody deleted',
    { pod: pod(main({ running: {} }), true) },
    { state: 'lost', why: 'its pod was deleted' },
  ],
  [
    'a node without room any more',
    { pod: pod({ phase: 'Failed', reason: 'Evicted', message: 'low on disk' }) },
    { state: 'lost', why: 'Evicted: low on disk' },
  ],
  ['a pod that is gone', { job: failed('BackoffLimitExceeded') }, { state: 'lost', why: 'so' }],
];
for (const [what, seen, is] of cases)
  test(`a step in a cluster: ${what}`, () => {
    assert.deepEqual(stepState({ job, pod: undefined, refusal: undefined, ...seen }), is);
  });
