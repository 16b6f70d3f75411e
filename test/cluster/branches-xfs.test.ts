/** Branches on a volume of XFS: they share blocks (reflinks), and their node is an ordinary user without a capability. */
import assert from 'node:assert/strict';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import { exec } from '../../src/lib/exec.ts';
import { findProgram } from '../../src/lib/find-program.ts';
import { until } from '../../src/lib/wait.ts';
import { apply, noImage, read } from '../support/cluster.ts';
import { installation } from '../support/installation.ts';
import { tempDir } from '../support/temp.ts';

const { OFFSHOOT_LAB: folder } = process.env;
const skip = noImage || (folder === undefined && 'it needs a machine to put a volume on: OFFSHOOT_LAB');

test('branches on XFS share blocks, without a privilege', { skip }, async t => {
  if ((await findProgram('mkfs.xfs', process.env.PATH ?? '', '/')) === undefined)
    return t.skip('there is no mkfs.xfs (Debian: xfsprogs)');
  await using stack = new AsyncDisposableStack();
  const { path } = stack.use(await tempDir());
  const [file, at] = [join(path, 'xfs.img'), `/var/lib/offshoot-xfs-${process.pid}`];
  await exec('truncate', ['--size', '6G', file]);
  await exec('mkfs.xfs', ['-q', file]);
  const onNode = (script: string) =>
    exec('bash', [resolve(folder!, 'lab'), 'node', '1', 'sh', '-euc', script], { deadlineMs: 60_000 });
  stack.defer(async () => void (await onNode(`umount ${at} || true; rmdir ${at}`)));
  await onNode(`mkdir ${at}; mount -o loop ${file} ${at}; chown 1000:1000 ${at}`);
  await using c = await installation(
    ...['--set', 'branches.nodes=1', '--set', 'controller.replicas=1', '--set', 'gateway.replicas=1'],
    ...['--set', 'branches.storage.kind=hostPath', '--set', `branches.storage.path=${at}`],
  );
  const offshoot = (...args: string[]) =>
    c.kubectl('exec', 'deployment/offshoot-controller', '--', 'offshoot', ...args);
  const metadata = { name: 'shop', namespace: c.namespace };
  await apply([
    {
      apiVersion: 'offshoot.dev/v1alpha1',
      kind: 'Project',
      metadata,
      spec: { database: 'app', role: 'app' },
    },
  ]);
  await until(async () => (await c.kubectl('get', 'branches', '-o', 'name')) || undefined, {
    ...{ what: 'it has a main', deadlineMs: 60_000, intervalMs: 200 },
  });
  await c.kubectl('wait', 'branches', '--all', '--for=condition=Ready', '--timeout=120s');
  assert.match(await offshoot('doctor'), /✓ branches +offshoot-branches-0: a branch shares the blocks/);
  const sql = (branch: string, text: string) => offshoot('sql', branch, '-p', 'shop', '-c', text);
  await sql('main', "create table t as select repeat('x', 1000) as x from generate_series(1, 150000)");
  // What main has written until now is on the disk when one grows from it.
  await offshoot('branch', 'create', 'first', '-p', 'shop');
  const used = async () =>
    Number(
      (
        await c.kubectl(
          'exec',
          'offshoot-branches-0',
          '--',
          'df',
          '-B1',
          '--output=used',
          '/var/lib/offshoot',
        )
      )
        .trim()
        .split('\n')[1],
    );
  const before = await used();
  await offshoot('branch', 'create', 'fix-42', '-p', 'shop');
  const grown = (await used()) - before;
  // The rows alone are 150 MB; a branch has WAL of its own. Who first reads rows writes them anew (hint bits).
  assert.ok(grown < 100e6, `a branch took ${grown} bytes`);
  assert.match(await sql('fix-42', 'select count(*) from t'), /\b150000\b/);
  await sql('fix-42', 'truncate t');
  assert.match(await sql('main', 'select count(*) from t'), /\b150000\b/);
  const pod = await read<Pod>('-n', c.namespace, 'get', 'pod', 'offshoot-branches-0');
  const [{ securityContext } = assert.fail('no container')] = pod.spec.containers;
  assert.deepEqual(
    [securityContext.privileged ?? false, securityContext.capabilities, pod.spec.securityContext.runAsUser],
    [false, { drop: ['ALL'] }, 1000],
  );
});

// --- internal ------------------------------------------------------------------------------------

type Pod = {
  readonly spec: {
    readonly securityContext: { readonly runAsUser?: number };
    readonly containers: readonly {
      readonly securityContext: { readonly privileged?: boolean; readonly capabilities?: object };
    }[];
  };
};
