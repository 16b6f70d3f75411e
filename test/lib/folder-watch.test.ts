import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { it } from 'node:test';
import { promisify } from 'node:util';
import { fileSet } from '../../src/lib/file-set.ts';
import { type FolderChange, watchFolder } from '../../src/lib/folder-watch.ts';
import { until } from '../../src/lib/wait.ts';
import { tempDir } from '../support/temp.ts';

type Watched = AsyncDisposable & {
  readonly path: string;
  readonly changes: FolderChange[];
  /** The next change, which is awaited. */
  next(): Promise<FolderChange>;
  trouble(): string | undefined;
  newest(): number;
};

async function watched(
  globs: readonly string[],
  fill: (path: string) => void = () => {},
  most?: number,
): Promise<Watched> {
  const dir = await tempDir();
  fill(dir.path);
  const changes: FolderChange[] = [];
  const watch = watchFolder(fileSet(dir.path, globs, most), {
    changed: change => void changes.push(change),
    troubled: () => {},
  });
  await watch.ready;
  let seen = 0;
  return {
    path: dir.path,
    changes,
    async next() {
      await until(() => changes[seen], { what: 'a change is told', deadlineMs: 60_000 });
      return changes[seen++]!;
    },
    trouble: watch.trouble,
    newest: watch.newest,
    async [Symbol.asyncDispose]() {
      watch.close();
      await dir[Symbol.asyncDispose]();
    },
  };
}

it('tells of files that are written, replaced, removed, and come with new folders', async () => {
  await using w = await watched(['**'], path => {
    mkdirSync(join(path, 'src'));
    writeFileSync(join(path, 'src/a.ts'), '1');
  });
  writeFileSync(join(w.path, 'src/a.ts'), '22');
  assert.equal((await w.next()).file, 'src/a.ts');

  writeFileSync(join(w.path, 'src/.a.ts.swp'), '');
  writeFileSync(join(w.path, 'new.ts'), '333');
  renameSync(join(w.path, 'new.ts'), join(w.path, 'src/a.ts'));
  assert.equal((await w.next()).file, 'src/a.ts');

  mkdirSync(join(w.path, 'lib/deep'), { recursive: true });
  writeFileSync(join(w.path, 'lib/deep/b.ts'), '');
  assert.equal((await w.next()).file, 'lib/deep/b.ts');
  writeFileSync(join(w.path, 'lib/deep/b.ts'), 'x');
  assert.equal((await w.next()).file, 'lib/deep/b.ts');

  rmSync(join(w.path, 'lib'), { recursive: true });
  assert.equal((await w.next()).file, 'lib/deep/b.ts');
  assert.ok(w.newest() > 0);
});

it('tells nothing of what is ignored, is not meant, or is as it was', async () => {
  await using w = await watched(['src/**', '!**/*.log'], path => {
    mkdirSync(join(path, 'src/node_modules/x'), { recursive: true });
    writeFileSync(join(path, 'src/a.ts'), '');
  });
  writeFileSync(join(w.path, 'other.ts'), '');
  writeFileSync(join(w.path, 'src/a.log'), '');
  writeFileSync(join(w.path, 'src/node_modules/x/index.js'), '');
  // A temporary file that is gone before anybody looks.
  writeFileSync(join(w.path, 'src/b.ts'), '');
  rmSync(join(w.path, 'src/b.ts'));
  writeFileSync(join(w.path, 'src/last.ts'), '');
  assert.equal((await w.next()).file, 'src/last.ts');
  assert.equal(w.changes.length, 1);
});

it('waits for the end of what git does, and tells of it once', async () => {
  await using w = await watched(['**'], path => {
    mkdirSync(join(path, '.git'));
    for (let i = 0; i < 500; i++) {
      mkdirSync(join(path, `d${i % 20}`), { recursive: true });
      writeFileSync(join(path, `d${i % 20}/${i}.ts`), '');
    }
  });
  writeFileSync(join(w.path, '.git/index.lock'), '');
  for (let i = 0; i < 500; i++) writeFileSync(join(w.path, `d${i % 20}/${i}.ts`), 'changed');
  for (let i = 0; i < 500; i++) {
    mkdirSync(join(w.path, `e${i % 20}`), { recursive: true });
    writeFileSync(join(w.path, `e${i % 20}/${i}.ts`), '');
  }
  // It looks in vain as long as the lock is there: what is told is told after this.
  await new Promise(resolve => setImmediate(resolve));
  assert.equal(w.changes.length, 0);
  rmSync(join(w.path, '.git/index.lock'));
  await w.next();
  writeFileSync(join(w.path, 'e7/467.ts'), 'again');
  assert.equal((await w.next()).file, 'e7/467.ts');
  assert.equal(w.changes.length, 2);
});

it('goes on with a folder that has taken the place of another', async () => {
  await using w = await watched(['src/**'], path => {
    for (const folder of ['src/lib', 'new/lib']) {
      mkdirSync(join(path, folder), { recursive: true });
      writeFileSync(join(path, folder, 'a.ts'), folder);
    }
  });
  renameSync(join(w.path, 'src'), join(w.path, 'old'));
  renameSync(join(w.path, 'new'), join(w.path, 'src'));
  await w.next();
  writeFileSync(join(w.path, 'src/lib/a.ts'), 'edited');
  assert.equal((await w.next()).file, 'src/lib/a.ts');
  renameSync(join(w.path, 'src/lib'), join(w.path, 'src/lib2'));
  renameSync(join(w.path, 'old/lib'), join(w.path, 'src/lib'));
  await w.next();
  writeFileSync(join(w.path, 'src/lib/a.ts'), 'edited again');
  assert.equal((await w.next()).file, 'src/lib/a.ts');
});

it('sees a folder that comes later, goes and comes back', async () => {
  await using w = await watched(['src/**']);
  mkdirSync(join(w.path, 'src'));
  writeFileSync(join(w.path, 'src/a.ts'), '');
  await w.next();
  rmSync(join(w.path, 'src'), { recursive: true });
  await w.next();
  mkdirSync(join(w.path, 'src'));
  writeFileSync(join(w.path, 'src/a.ts'), 'x');
  await w.next();
});

it('says what to do about more files than anybody edits', async () => {
  const fill = (path: string) => {
    for (let i = 0; i < 21; i++) {
      mkdirSync(join(path, `d${i}`));
      writeFileSync(join(path, `d${i}/a`), '');
    }
  };
  await using w = await watched(['**'], fill, 20);
  assert.match(w.trouble()!, /is not watched: it holds more than 20 files; name those that matter/);
});

it('says when the user has no watches left, and what to do', async t => {
  await using dir = await tempDir();
  for (let i = 0; i < 10; i++) mkdirSync(join(dir.path, `d${i}`));
  const module = (name: string) => JSON.stringify(new URL(`../../src/lib/${name}`, import.meta.url).href);
  const script = `
    import { fileSet } from ${module('file-set.ts')};
    import { watchFolder } from ${module('folder-watch.ts')};
    const watch = watchFolder(fileSet(process.argv[1], ['**']), { changed() {}, troubled() {} });
    await watch.ready;
    console.log(watch.trouble());
    watch.close();`;
  // user_namespaces(7): each has limits of its own.
  const limited = 'echo 5 >/proc/sys/user/max_inotify_watches && exec "$@"';
  const node = [process.execPath, '--input-type=module', '--eval', script, dir.path];
  const args = ['--user', '--map-root-user', 'sh', '-c', limited, 'sh', ...node];
  const ran = promisify(execFile)('unshare', args, { timeout: 60_000 });
  const { stdout } = await ran.catch((error: Error & { stderr?: string }) => {
    const refused = /unshare|max_inotify_watches/.exec(error.stderr ?? '');
    if (refused === null) throw error;
    t.skip(`no user namespace with limits of its own: ${error.stderr!.trim()}`);
    return { stdout: undefined };
  });
  if (stdout === undefined) return;
  assert.equal(
    stdout.trim(),
    `${dir.path} is not watched: this user has no inotify watches left; raise fs.inotify.max_user_watches, or name fewer folders in "watch"`,
  );
});
