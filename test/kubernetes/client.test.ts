import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { clusterClient } from '../../src/kubernetes/client.ts';

import { type KubernetesObject, resourceOf, resources } from '../../src/kubernetes/resource.ts';
import { type Fault, fakeApiServer } from '../support/fake-api-server.ts';

const sandboxes = resourceOf('sandbox');
const place = { namespace: 'demo', name: 'x' };
const sandbox = (spec: object = {}): KubernetesObject => ({ metadata: { ...place }, spec });

describe('a client', () => {
  it('creates, reads, replaces, applies and removes', async () => {
    await using server = await fakeApiServer();
    using client = closing(clusterClient(server.access));
    const made = await client.create(sandboxes, sandbox({ a: 1 }));
    assert.deepEqual(await client.get(sandboxes, place), made);
    assert.equal(await client.get(sandboxes, { ...place, name: 'y' }), undefined);
    const seen = await client.replace(sandboxes, { ...made, status: { ready: true } } as typeof made, {
      subresource: 'status',
    });
    assert.deepEqual(
      [seen.spec, (seen as { status?: object }).status, seen.metadata],
      [{ a: 1 }, { ready: true }, { ...made.metadata, resourceVersion: seen.metadata.resourceVersion }],
    );
    const applied = await client.apply(sandboxes, sandbox({ b: 2 }));
    assert.deepEqual(applied.spec, { a: 1, b: 2 });
    await assert.rejects(client.replace(sandboxes, made), { code: 'kubernetes/conflict' });
    await assert.rejects(client.create(sandboxes, sandbox()), {
      code: 'kubernetes/conflict',
      message:
        'somebody else was first at "create sandboxes.offshoot.dev "x" in namespace "demo"": sandboxes.offshoot.dev "x" already exists',
    });
    await assert.rejects(client.remove(sandboxes, place, { uid: 'another' }), {
      code: 'kubernetes/conflict',
    });
    assert.deepEqual(
      [(await client.remove(sandboxes, place))?.metadata.name, await client.remove(sandboxes, place)],
      ['x', undefined],
    );
  });

  it('names verb and object in every error, as RBAC does', async () => {
    await using server = await fakeApiServer();
    using client = closing(clusterClient(server.access, { longest: 1_000 }));
    using hasty = closing(clusterClient(server.access, { deadlineMs: 300 }));
    const message = 'User "system:serviceaccount:x:y" cannot';
    const told: readonly (readonly [Fault, string, RegExp])[] = [
      [
        { status: 401 },
        'kubernetes/unauthorized',
        /does not know who asks "get secrets "x" in namespace "demo""/,
      ],
      [
        { status: 403, body: { message } },
        'kubernetes/forbidden',
        /does not allow "get secrets "x" .*: User "system/,
      ],
      [{ status: 410 }, 'kubernetes/expired', /has forgotten what "get secrets/],
      [
        { status: 422, body: { message: 'spec.forks: Required value' } },
        'kubernetes/invalid',
        /Required value/,
      ],
      [{ status: 503, body: 'no' }, 'kubernetes/unavailable', /status 503/],
      [{ status: 429, headers: { 'retry-after': '5' } }, 'kubernetes/unavailable', /a fault/],
      [{ status: 200, body: 'x'.repeat(2_000) }, 'kubernetes/too-long', /longer than 1000 bytes/],
      [{ raw: 'HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n{' }, 'kubernetes/unreachable', /is no JSON/],
      ['cut', 'kubernetes/unreachable', /ECONNRESET; whether it was done is not known/],
      ['hang', 'kubernetes/unreachable', /no answer within/],
    ];
    for (const [fault, code, sentence] of told) {
      server.fault = () => fault;
      const asking = (fault === 'hang' ? hasty : client).get(resources.Secret, place);
      await assert.rejects(asking, { code, message: sentence });
    }
    server.fault = () => undefined;
    await assert.rejects(client.replace(sandboxes, sandbox(), { subresource: 'status' }), {
      code: 'kubernetes/absent',
      message: 'the cluster has no sandboxes.offshoot.dev/status "x" in namespace "demo"',
    });
  });

  it('waits as long as the server asks for, and is not asked twice where it matters', async () => {
    await using server = await fakeApiServer();
    using client = closing(clusterClient(server.access));
    let busy = 1;
    server.fault = () => (busy-- > 0 ? { status: 429, headers: { 'retry-after': '0' } } : undefined);
    await client.create(sandboxes, sandbox());
    assert.deepEqual(server.asked, ['POST sandboxes.offshoot.dev', 'POST sandboxes.offshoot.dev']);
    server.asked.length = 0;
    server.fault = () => 'done, then cut';
    await assert.rejects(client.create(sandboxes, { ...sandbox(), metadata: { ...place, name: 'y' } }), {
      code: 'kubernetes/unreachable',
    });
    assert.equal(server.asked.length, 1);
    assert.ok(server.get('sandboxes.offshoot.dev', 'demo/y'));
  });

  it('gives up when it is told so', async () => {
    await using server = await fakeApiServer();
    using client = closing(clusterClient(server.access));
    server.fault = () => 'hang';
    const stop = new AbortController();
    const asking = client.get(sandboxes, place, { signal: stop.signal });
    stop.abort(new Error('enough'));
    await assert.rejects(asking, { message: 'enough' });
  });
});

const closing = <T extends { close(): void }>(client: T): T & Disposable =>
  Object.assign(client, { [Symbol.dispose]: () => client.close() });
