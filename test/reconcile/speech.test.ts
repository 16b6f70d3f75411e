import assert from 'node:assert/strict';
import { describe } from 'node:test';
import { storeBaseline } from '../../src/baseline/store-baseline.ts';
import type { Service } from '../../src/model/kubernetes.ts';
import { noteFound, routedCondition } from '../../src/reconcile/speech.ts';
import { applied, deploy, deployment, fork, service } from '../support/documents.ts';
import { it, testStore } from '../support/stores.ts';

type Ports = NonNullable<Service['spec']['ports']>;

/** Deployment `users` behind a Service with these ports, and what the condition of its fork says. */
async function testRouted(...ports: Ports) {
  const store = testStore();
  const name = await deploy(store, deployment('users'), service('users', ...ports));
  await store.modify('manifest', name, () => ({
    status: { ready: true, reason: 'Listening', message: '', observedGeneration: 1 },
  }));
  const sandbox = await applied(store, 'sb', { forks: [fork('users')] });
  return {
    store,
    says() {
      const { status, reason, message } = routedCondition(storeBaseline(store), sandbox)!;
      return `${status} ${reason}: ${message}`;
    },
    [Symbol.asyncDispose]: () => store.close(),
  };
}

describe('a fork is routed', () => {
  it('by key, where its Services speak HTTP', async () => {
    await using r = await testRouted({ name: 'http', port: 80 }, { name: 'grpc-api', port: 81 });
    assert.equal(r.says(), 'True ByKey: requests with its key reach its forks');
  });

  it('not, where one passes through', async () => {
    await using r = await testRouted({ name: 'http', port: 80 }, { name: 'redis', port: 6379 });
    assert.equal(
      r.says(),
      'False PassesThrough: no routing key travels through Service demo/users:6379 (TCP): ' +
        'connections there reach the baseline, not the fork; a port that speaks HTTP says so by appProtocol: http',
    );
    await deploy(r.store, service('users', { name: 'http', port: 80 }));
    assert.match(r.says(), /^True ByKey/);
    await deploy(r.store, service('other', { name: 'redis', port: 6379 }));
    assert.match(r.says(), /^True ByKey/, 'a Service of another workload');
  });

  it('as far as anybody knows, until another protocol was seen there', async () => {
    await using r = await testRouted({ port: 80 });
    assert.match(r.says(), /^True ByKey: .* if Service demo\/users:80 speaks HTTP/);
    await noteFound(r.store, { 'svc:demo/users:80': 'tcp' });
    assert.match(r.says(), /^False PassesThrough: .*demo\/users:80 \(TCP\)/);
    await noteFound(r.store, { 'svc:demo/users:80': 'http' });
    assert.equal(r.says(), 'True ByKey: requests with its key reach its forks');
  });

  it('if there is one', async () => {
    await using r = await testRouted({ port: 80 });
    assert.equal(routedCondition(storeBaseline(r.store), await applied(r.store, 'none', {})), undefined);
  });
});
