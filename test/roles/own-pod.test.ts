/** What a controller says of its own pod, also of an API server that was away. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ClusterClient } from '../../src/kubernetes/client.ts';
import type { KubernetesObject } from '../../src/kubernetes/resource.ts';
import { silentLog } from '../../src/lib/log.ts';
import { OffshootError } from '../../src/model/errors.ts';
import { tellOfOwnPod } from '../../src/roles/own-pod.ts';

const pod = { POD_NAME: 'c-1', POD_UID: 'u', POD_NAMESPACE: 'tools' };

/** @param failures how many writes fail first */
function server(failures: number) {
  const written: KubernetesObject[] = [];
  let tries = 0;
  const client = {
    async create(_: unknown, object: KubernetesObject) {
      tries += 1;
      if (tries <= failures)
        throw new OffshootError('kubernetes/unreachable', {
          verb: 'create',
          what: 'events',
          why: 'ECONNREFUSED',
        });
      written.push(object);
      return object;
    },
  } as unknown as Pick<ClusterClient, 'create'>;
  return { client, written, tries: () => tries };
}

test('an event that could not be written is written when the API server is back', async () => {
  const s = server(3);
  const tell = tellOfOwnPod(s.client, pod, silentLog, new AbortController().signal, [1, 5]);
  await tell('NotReady', 'the API server is away');
  assert.deepEqual(
    s.written.map(({ reason, message, involvedObject }) => [
      reason,
      message,
      (involvedObject as { name: string }).name,
    ]),
    [['NotReady', 'the API server is away', 'c-1']],
  );
});

test('not any more when the controller ends, and outside of a pod there is none', async () => {
  const s = server(Number.POSITIVE_INFINITY);
  const ending = new AbortController();
  const telling = tellOfOwnPod(
    s.client,
    pod,
    silentLog,
    ending.signal,
    [3_600_000, 3_600_000],
  )('NotReady', 'x');
  ending.abort();
  await telling;
  assert.deepEqual([s.tries(), s.written], [1, []]);
  await tellOfOwnPod(s.client, {}, silentLog, new AbortController().signal)('NotReady', 'x');
  assert.equal(s.tries(), 1);
});
