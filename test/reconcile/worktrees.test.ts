import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { silentLog } from '../../src/lib/log.ts';
import { until } from '../../src/lib/wait.ts';
import { environmentLabels } from '../../src/model/environment.ts';
import { followWorktrees } from '../../src/reconcile/worktrees.ts';
import { testStore } from '../support/stores.ts';
import { tempDir } from '../support/temp.ts';

test('environments go when their folder does, also when that was meanwhile, and when it was exchanged before', async () => {
  await using dir = await tempDir();
  const store = testStore();
  await using cleanup = new AsyncDisposableStack();
  cleanup.defer(() => store.close());
  const repository = join(dir.path, 'shop.git');
  mkdirSync(repository);
  const make = async (name: string) => {
    const worktree = join(dir.path, name);
    const labels = environmentLabels({ repository, worktree, branch: name });
    const secret = { routingKey: `key-${name}`, resources: {} };
    await store.create('sandbox', name, { spec: { cluster: 'local', labels }, status: null, secret });
    return worktree;
  };
  const folder = (name: string) => mkdirSync(join(dir.path, name));
  const gone = (name: string) =>
    until(() => (store.get('sandbox', name)?.deletedAt === undefined ? undefined : true), {
      ...{ what: `environment ${name} is to go`, deadlineMs: 60_000 },
    });
  folder('stays');
  folder('before');
  folder('exchanged');
  for (const name of ['absent', 'stays', 'before', 'exchanged']) await make(name);
  cleanup.defer(followWorktrees(store, silentLog, 50));
  await gone('absent');
  folder('later');
  await make('later');
  rmSync(join(dir.path, 'later'), { recursive: true });
  await gone('later');
  // What happens in a folder is none of its business; another folder in its place is followed in turn.
  writeFileSync(join(dir.path, 'before', 'before'), '');
  rmSync(join(dir.path, 'before', 'before'));
  mkdirSync(join(dir.path, 'other'));
  renameSync(join(dir.path, 'exchanged'), join(dir.path, 'old'));
  renameSync(join(dir.path, 'other'), join(dir.path, 'exchanged'));
  rmSync(join(dir.path, 'before'), { recursive: true });
  await gone('before');
  assert.equal(store.get('sandbox', 'exchanged')?.deletedAt, undefined);
  rmSync(join(dir.path, 'exchanged'), { recursive: true });
  await gone('exchanged');
  // A program that works there, as a fork does, keeps the kernel from telling of the end of its folder.
  folder('used');
  writeFileSync(join(dir.path, 'used', '.git'), `gitdir: ${repository}/worktrees/used`);
  const program = spawn('sleep', ['600'], { cwd: join(dir.path, 'used'), stdio: 'ignore' });
  cleanup.defer(() => void program.kill('SIGKILL'));
  await once(program, 'spawn');
  await make('used');
  rmSync(join(dir.path, 'used'), { recursive: true });
  await gone('used');
  assert.equal(store.get('sandbox', 'stays')?.deletedAt, undefined);
  const events = await store.events({ kind: 'sandbox', name: 'before', limit: 10 });
  assert.deepEqual(
    events.map(({ reason, message }) => [reason, message]),
    [['WorktreeRemoved', `its worktree ${join(dir.path, 'before')} was removed`]],
  );
});
