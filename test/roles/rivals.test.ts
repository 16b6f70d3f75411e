/** Two installations in one namespace: one of them decides. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ClusterClient } from '../../src/kubernetes/client.ts';
import type { KubernetesObject } from '../../src/kubernetes/resource.ts';
import { silentLog } from '../../src/lib/log.ts';
import { until } from '../../src/lib/wait.ts';
import { watchRivals } from '../../src/roles/rivals.ts';

/** @param at seconds of its creation */
const lease = (name: string, at: number): KubernetesObject => ({
  metadata: {
    ...{ name, namespace: 'tools', resourceVersion: '1', creationTimestamp: `2026-01-01T00:00:0${at}Z` },
    annotations: { 'offshoot.dev/controller': '{}' },
  },
});

function world(stillMs: number, ...all: KubernetesObject[]) {
  const leases = new Map(all.map(one => [one.metadata.name, one]));
  const client = {
    async *pages() {
      yield { items: [...leases.values()], resourceVersion: '1' };
    },
  } as unknown as Pick<ClusterClient, 'pages'>;
  const watch = (name: string) =>
    watchRivals({ client, namespace: 'tools', name, log: silentLog, everyMs: 5, stillMs });
  return { leases, watch };
}

const nodes = { metadata: { name: 'node', namespace: 'tools', creationTimestamp: '2025-01-01T00:00:00Z' } };

test('of two the older decides, and the other says whose turn it is', async () => {
  const older = lease('a-controller', 1);
  // Whatever else has a Lease is none of ours.
  const w = world(3_600_000, older, lease('b-controller', 2), nodes);
  const [a, b] = [w.watch('a-controller'), w.watch('b-controller')];
  try {
    await a.none;
    const [problem] = await until(() => (b.problems().length > 0 ? b.problems() : undefined), {
      ...{ what: 'it knows', deadlineMs: 60_000 },
    });
    assert.match(problem!, /another installation decides in namespace "tools" \(Lease "a-controller"\)/);
    assert.deepEqual(a.problems(), []);
    w.leases.delete('a-controller');
    await b.none;
    assert.deepEqual(b.problems(), []);
    // It comes back: whoever decides meanwhile stops.
    w.leases.set('a-controller', older);
    await until(() => b.found.aborted || undefined, { what: 'it is found', deadlineMs: 60_000 });
  } finally {
    await Promise.all([a.close(), b.close()]);
  }
});

test('of two of one second one decides', async () => {
  const w = world(3_600_000, lease('a-controller', 1), lease('b-controller', 1));
  const [a, b] = [w.watch('a-controller'), w.watch('b-controller')];
  try {
    await a.none;
    await until(() => b.problems()[0], { what: 'it knows', deadlineMs: 60_000 });
  } finally {
    await Promise.all([a.close(), b.close()]);
  }
});

test('one that nobody renews is of an installation that is gone', async () => {
  const w = world(20, lease('a-controller', 1), lease('b-controller', 2));
  const b = w.watch('b-controller');
  try {
    await b.none;
    assert.deepEqual(b.problems(), []);
  } finally {
    await b.close();
  }
});
