/** A controller in a pod, with the rights that the chart gives it and no others: kubectl is the door. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { apply, kubectl, noImage } from '../support/cluster.ts';
import {
  applyUsers,
  forksIn,
  type Installation,
  installation,
  preview,
  sandboxOfUsers,
} from '../support/installation.ts';

describe('a controller in a cluster', { skip: noImage }, () => {
  let c: Installation;

  before(async () => {
    c = await installation();
    await applyUsers(c.baseline);
  });
  after(() => c?.[Symbol.asyncDispose]());

  it('makes what kubectl applies, and leaves nothing when kubectl deletes it', async () => {
    await apply([sandboxOfUsers(c)]);
    await c.kubectl('wait', 'sandbox/fix', '--for=condition=Ready', '--timeout=240s');
    assert.match(
      await c.kubectl('get', 'sandbox', 'fix'),
      /True +AllDesired.* http:\/\/api--fix\.preview\.localhost:8080 /,
    );
    const kinds = new Set((await forksIn(c.baseline)).map(line => line.split(' ')[0]));
    assert.deepEqual([...kinds].sort(), ['Deployment', 'Pod', 'ReplicaSet', 'Service']);

    const made = await c.kubectl(
      ...['exec', 'deployment/offshoot-controller', '--', 'offshoot', 'key', 'create', 'test', '-o', 'json'],
    );
    const { key } = JSON.parse(made) as { readonly key: string };
    const host = 'api--fix.preview.localhost:8080';
    assert.equal(await preview(c, host, key), '200 debug v1');
    assert.match(await preview(c, host, 'ofs_none'), /^401 /);

    await c.kubectl('delete', 'sandbox', 'fix', '--timeout=240s');
    assert.deepEqual(await forksIn(c.baseline), []);
    // What is the user's is as it was.
    const left = await kubectl(['-n', c.baseline, 'get', 'deployments,services', '-o', 'name']);
    assert.deepEqual(left.stdout.trim().split('\n'), ['deployment.apps/users', 'service/users']);
  });

  it('runs the steps of a plugin, in whatever order documents come', async () => {
    await apply([withResource(c, 'thing')]);
    await apply([plugin(c.namespace, 'thing', { script: 'echo done' })]);
    await c.kubectl('wait', 'sandbox/with-thing', '--for=condition=Ready', '--timeout=240s');
    await c.kubectl('delete', 'sandbox', 'with-thing', '--timeout=240s');
    // A pod may end a moment after its Job.
    await c.kubectl('wait', 'jobs,pods', '-l', 'offshoot.dev/step', '--for=delete', '--timeout=240s');
  });
});

// --- internal ------------------------------------------------------------------------------------

const plugin = (namespace: string, name: string, step: object) => ({
  apiVersion: 'offshoot.dev/v1alpha1',
  kind: 'ResourcePlugin',
  metadata: { name, namespace },
  spec: { create: [{ name: 'make', ...step }], delete: [] },
});

const withResource = (c: Installation, name: string) => ({
  apiVersion: 'offshoot.dev/v1alpha1',
  kind: 'Sandbox',
  metadata: { name: `with-${name}`, namespace: c.namespace },
  spec: { cluster: 'local', resources: [{ name, plugin: name }] },
});
