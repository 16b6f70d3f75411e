/** A controller in a pod, with the rights that the chart gives it and no others: kubectl is the door. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { runCli } from '../support/cli.ts';
import { apply, kubectl, noImage } from '../support/cluster.ts';
import {
  applyUsers,
  forksIn,
  type Installation,
  installation,
  preview,
  sandboxOfUsers,
} from '../support/installation.ts';
import { tempDir } from '../support/temp.ts';

describe('a controller in a cluster', { skip: noImage }, () => {
  let c: Installation;
  let dir: Awaited<ReturnType<typeof tempDir>>;

  before(async () => {
    dir = await tempDir();
    c = await installation();
    await applyUsers(c.baseline);
    for (const account of ['visitor', 'stranger']) await c.kubectl('create', 'serviceaccount', account);
    await c.kubectl(
      ...['create', 'rolebinding', 'visitor', '--role=offshoot-api'],
      `--serviceaccount=${c.namespace}:visitor`,
    );
  });
  after(async () => {
    await c?.[Symbol.asyncDispose]();
    await dir[Symbol.asyncDispose]();
  });

  /** The command line of somebody who may use the API through the API server, and nothing else in the cluster. */
  const visitor = async (args: readonly string[], account = 'visitor') => {
    const env = { KUBECONFIG: await kubeconfigOf(c, account, dir.path) };
    return runCli(['--context', '.', '--namespace', c.namespace, ...args], { env });
  };

  it('makes what kubectl applies, and leaves nothing when kubectl deletes it', async () => {
    await apply([sandboxOfUsers(c)]);
    await c.kubectl('wait', 'sandbox/fix', '--for=condition=Ready', '--timeout=240s');
    assert.match(
      await c.kubectl('get', 'sandbox', 'fix'),
      /True +AllDesired.* http:\/\/api--fix\.preview\.localhost:8080 /,
    );
    const kinds = new Set((await forksIn(c.baseline)).map(line => line.split(' ')[0]));
    assert.deepEqual([...kinds].sort(), ['Deployment', 'Pod', 'ReplicaSet', 'Service']);

    const made = await visitor(['key', 'create', 'test', '-o', 'json']);
    const { key } = JSON.parse(made.stdout) as { readonly key: string };
    const host = 'api--fix.preview.localhost:8080';
    assert.equal(await preview(c, host, key), '200 debug v1');
    assert.match(await preview(c, host, 'ofs_none'), /^401 /);

    await c.kubectl('delete', 'sandbox', 'fix', '--timeout=240s');
    assert.deepEqual(await forksIn(c.baseline), []);
    // What is the user's is as it was.
    const left = await kubectl(['-n', c.baseline, 'get', 'deployments,services', '-o', 'name']);
    assert.deepEqual(left.stdout.trim().split('\n'), ['deployment.apps/users', 'service/users']);
  });

  it('is reached through the API server by whoever RBAC lets', async () => {
    const file = join(dir.path, 'sandbox.json');
    const { metadata, spec } = sandboxOfUsers(c, 'remote');
    await writeFile(file, JSON.stringify({ name: metadata.name, spec }));
    const applied = await visitor(['sandbox', 'apply', '-f', file]);
    assert.equal(applied.code, 0, applied.stderr);
    assert.match((await visitor(['sandbox', 'list'])).stdout, /^remote .*True|^remote .*ready/im);
    assert.match(
      (await visitor(['status'])).stdout,
      /previews +http:\/\/<endpoint>--<sandbox>\.preview\.localhost:8080/,
    );
    const said = async (...args: string[]) => {
      const { code, stdout, stderr } = await visitor(args);
      assert.equal(code, 0, `${args.join(' ')}: ${stderr}`);
      return stdout;
    };
    assert.match(await said('logs', 'sandbox/remote'), /listens, debug/);
    const stamped = await said('logs', 'sandbox/remote', '--timestamps', '--since', '1h');
    assert.match(stamped, /^.*\d{4}-\d\d-\d\dT[\d:.]+Z.* listens, debug/m);
    const soon = new Date(Date.now() + 3_600_000).toISOString();
    assert.equal(await said('logs', 'sandbox/remote', '--since', soon), '');
    await said('wait', 'sandbox/remote');
    assert.match(await said('sandbox', 'get-env', 'remote'), /LOG_LEVEL='?"?debug/);
    assert.match(await said('events'), /remote/);
    for (const command of ['exec', 'shell']) {
      const { code, stderr } = await visitor([
        command,
        'sandbox/remote',
        ...(command === 'exec' ? ['--', 'true'] : []),
      ]);
      assert.deepEqual([code, /kubectl exec/.test(stderr)], [1, true], stderr);
    }
    // kubectl sees the same object.
    await c.kubectl('wait', 'sandbox/remote', '--for=condition=Ready', '--timeout=60s');
    const deleted = await visitor(['sandbox', 'delete', 'remote']);
    assert.equal(deleted.code, 0, deleted.stderr);
    assert.deepEqual(await forksIn(c.baseline), []);

    const refused = await visitor(['sandbox', 'list'], 'stranger');
    assert.equal(refused.code, 4, refused.stderr);
    assert.match(
      refused.stderr,
      /does not allow "create serviceaccounts\/token "offshoot-user" in namespace/,
    );
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

/** The one of the tests, for another account. */
async function kubeconfigOf(c: Installation, account: string, dir: string): Promise<string> {
  const file = join(dir, `${account}.json`);
  const token = await c.kubectl('create', 'token', account);
  const view = await kubectl(['config', 'view', '--raw', '--minify', '--flatten', '-o', 'json']);
  const config = JSON.parse(view.stdout) as { readonly users: readonly { readonly name: string }[] };
  const users = config.users.map(({ name }) => ({ name, user: { token: token.trim() } }));
  await writeFile(file, JSON.stringify({ ...config, users }), { mode: 0o600 });
  return file;
}

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
