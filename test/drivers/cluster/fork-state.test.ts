/** What is said of a fork in a cluster, by what the cluster says of its objects. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type DeploymentSeen, forkState, type PodSeen } from '../../../src/drivers/cluster/fork-state.ts';

const rolledOut = { observedGeneration: 2, replicas: 1, updatedReplicas: 1, availableReplicas: 1 };

describe('a fork in a cluster', () => {
  it('is ready when its newest pod is available and no older one is left', () => {
    const ready = pod({
      conditions: [{ type: 'Ready', status: 'True' }],
      containerStatuses: [container({ ready: true })],
    });
    assert.deepEqual(forkState(deployment(rolledOut), [ready]), {
      ...{ ready: true, serving: true, reason: 'Running', message: 'ready', restarts: 0 },
    });
    const old = { ...ready, name: 'old', hash: 'before' };
    const { ready: isReady, serving } = forkState(deployment({ ...rolledOut, replicas: 2 }), [old]);
    assert.deepEqual([isReady, serving], [false, true], 'the older one serves meanwhile');
    assert.equal(forkState(deployment({ ...rolledOut, observedGeneration: 1 }), [ready]).ready, false);
    assert.equal(forkState(deployment(rolledOut), [{ ...ready, deleting: true }]).serving, false);
  });

  const causes: readonly (readonly [
    string,
    PodSeen['status'] | undefined,
    DeploymentSeen['status'],
    object,
  ])[] = [
    ['no pod yet', undefined, {}, { reason: 'Starting', message: 'its pod is being made' }],
    [
      'no room on any node',
      {
        conditions: [
          { type: 'PodScheduled', status: 'False', message: '0/1 nodes are available: 1 Insufficient cpu.' },
        ],
      },
      {},
      { reason: 'Unschedulable', message: '0/1 nodes are available: 1 Insufficient cpu.' },
    ],
    [
      'a quota',
      undefined,
      {
        conditions: [
          {
            type: 'ReplicaFailure',
            status: 'True',
            reason: 'FailedCreate',
            message: 'pods "x" is forbidden: exceeded quota: small',
          },
        ],
      },
      { reason: 'QuotaExceeded', message: 'pods "x" is forbidden: exceeded quota: small' },
    ],
    [
      'an admission that refuses',
      undefined,
      {
        conditions: [
          { type: 'ReplicaFailure', status: 'True', reason: 'FailedCreate', message: 'violates PodSecurity' },
        ],
      },
      { reason: 'FailedCreate', message: 'violates PodSecurity' },
    ],
    [
      'an image that is not there',
      {
        containerStatuses: [
          container({
            state: { waiting: { reason: 'ImagePullBackOff', message: 'Back-off pulling image "x:1"' } },
          }),
        ],
      },
      {},
      { reason: 'ImagePullBackOff', message: 'Back-off pulling image "x:1"' },
    ],
    [
      'a program that ends again and again',
      {
        containerStatuses: [
          container({
            restartCount: 2,
            state: { waiting: { reason: 'CrashLoopBackOff', message: 'back-off 20s' } },
            lastState: { terminated: { exitCode: 3, reason: 'Error' } },
          }),
        ],
      },
      {},
      {
        ...{ reason: 'CrashLoopBackOff', restarts: 2 },
        message: 'container "main" ended with exit code 3; started 3 times',
        logOf: { pod: 'users-1', container: 'main', previous: true },
      },
    ],
    [
      'one that has just ended',
      { containerStatuses: [container({ state: { terminated: { exitCode: 1 } } })] },
      {},
      {
        ...{ reason: 'CrashLoopBackOff', message: 'container "main" ended with exit code 1' },
        logOf: { pod: 'users-1', container: 'main', previous: false },
      },
    ],
    [
      'one that takes too much memory',
      {
        containerStatuses: [
          container({
            restartCount: 1,
            state: { waiting: { reason: 'CrashLoopBackOff' } },
            lastState: { terminated: { exitCode: 137, reason: 'OOMKilled' } },
          }),
        ],
      },
      {},
      {
        reason: 'OOMKilled',
        message: 'container "main" took more memory than its limit allows; started 2 times',
        restarts: 1,
      },
    ],
    [
      'an init container that fails',
      {
        initContainerStatuses: [container({ name: 'migrate', state: { terminated: { exitCode: 1 } } })],
        containerStatuses: [container({ state: { waiting: { reason: 'PodInitializing' } } })],
      },
      {},
      { reason: 'Init:CrashLoopBackOff', message: 'container "migrate" ended with exit code 1' },
    ],
    [
      'one that still runs',
      {
        initContainerStatuses: [container({ name: 'migrate', state: { running: {} } })],
        containerStatuses: [container({ state: { waiting: { reason: 'PodInitializing' } } })],
      },
      {},
      { reason: 'Init:Running', message: 'init container "migrate" runs' },
    ],
    [
      'a variable of a Secret that is not there',
      {
        containerStatuses: [
          container({
            state: { waiting: { reason: 'CreateContainerConfigError', message: 'secret "x" not found' } },
          }),
        ],
      },
      {},
      { reason: 'CreateContainerConfigError', message: 'secret "x" not found' },
    ],
    [
      'a probe that does not pass',
      { containerStatuses: [container({ started: true, state: { running: {} } })] },
      {},
      { reason: 'Starting', message: 'container "main" runs, and is not ready' },
    ],
    [
      'one that comes no further',
      undefined,
      {
        conditions: [
          {
            type: 'Progressing',
            status: 'False',
            reason: 'ProgressDeadlineExceeded',
            message: 'has timed out progressing.',
          },
        ],
      },
      { reason: 'ProgressDeadlineExceeded', message: 'has timed out progressing.' },
    ],
    [
      'an eviction',
      { phase: 'Failed', reason: 'Evicted', message: 'The node was low on resource: memory.' },
      {},
      { reason: 'Evicted', message: 'The node was low on resource: memory.' },
    ],
  ];
  for (const [name, status, of, expected] of causes)
    it(`says why it is not ready: ${name}`, () => {
      const seen = forkState(deployment(of), status === undefined ? [] : [pod(status)]);
      assert.deepEqual(
        {
          ready: seen.ready,
          ...Object.fromEntries(Object.keys(expected).map(key => [key, seen[key as keyof typeof seen]])),
        },
        { ready: false, ...expected },
      );
    });
});

// --- internal ------------------------------------------------------------------------------------

function deployment(status: DeploymentSeen['status']): DeploymentSeen {
  return { hash: 'now', generation: 2, status };
}

function pod(status: PodSeen['status']): PodSeen {
  return { name: 'users-1', namespace: 'shop', hash: 'now', deleting: false, status };
}

function container(more: object): NonNullable<PodSeen['status']['containerStatuses']>[number] {
  return { name: 'main', ready: false, restartCount: 0, ...more };
}
