/** Folders that programs run from: what is done in them first, and what becomes of changes. */
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import type { WorkloadSeen, WorkloadSpec } from '../../../src/drivers/contract.ts';
import { copyTree } from '../../../src/lib/copy-tree.ts';
import { exec } from '../../../src/lib/exec.ts';
import { isAlive } from '../../../src/lib/process.ts';
import { until } from '../../../src/lib/wait.ts';
import type { ImageSpec } from '../../../src/model/image.ts';
import { labelled } from '../../support/labelled.ts';
import { tempDir } from '../../support/temp.ts';
import { ctx, specOf, testRuntime, untilReady, untilSeen } from '../../support/workload.ts';

/** A program that runs from a folder, listens nowhere, and tells in its log what it was started with. */
async function project(entry: Partial<ImageSpec>, id = 'web') {
  const runtime = await testRuntime();
  const dir = await tempDir();
  const notes = await tempDir();
  const { driver } = runtime;
  const path = (name: string) => join(dir.path, name);
  writeFileSync(path('app.sh'), 'echo first; exec sleep 600');
  const image = { dir: dir.path, command: ['sh', 'app.sh'], env: { NOTES: notes.path }, ...entry };
  const spec = (parts: Partial<WorkloadSpec> = {}, more: Partial<ImageSpec> = {}): WorkloadSpec => ({
    ...specOf({ image: 'app', ports: [] }, { images: { app: { ...image, ...more } } }),
    ...parts,
  });
  return {
    ...{ driver, path, spec, home: runtime.home },
    ensure: (name = id, parts: Partial<WorkloadSpec> = {}, more: Partial<ImageSpec> = {}) =>
      driver.ensure(name, spec(parts, more), ctx()),
    ready: (name = id) => untilReady(driver, name),
    seen: (what: string, wanted: (seen: WorkloadSeen) => boolean, name = id) =>
      untilSeen(driver, name, what, wanted),
    /** Lines that steps have written: they say what was done, and in which order. */
    notes: () => (existsSync(join(notes.path, 'n')) ? readFileSync(join(notes.path, 'n'), 'utf8') : ''),
    async logs(container?: string): Promise<readonly string[]> {
      const lines: string[] = [];
      const query = { lines: 100, follow: false, previous: false, ...(container && { container }) };
      for await (const line of driver.logs(id, query, ctx())) lines.push(`${line.container}: ${line.text}`);
      return lines;
    },
    async [Symbol.asyncDispose]() {
      await runtime[Symbol.asyncDispose]();
      await dir[Symbol.asyncDispose]();
      await notes[Symbol.asyncDispose]();
    },
  };
}

const step = (script: string, more: object = {}) => ({ command: ['sh', '-c', script], ...more });
const note = (word: string) => `echo ${word} >> $NOTES/n`;

describe('setup and build', { concurrency: 4 }, () => {
  it('are done once for all who wait, again when their inputs have changed, and what was removed is made again', async () => {
    await using p = await project({
      setup: step(`${note('setup')}; mkdir -p node_modules`),
      build: step(`${note('build')}; mkdir -p dist; cp src/* dist; echo built`, { inputs: ['src'] }),
    });
    mkdirSync(p.path('src'));
    writeFileSync(p.path('src/a'), '1');
    writeFileSync(p.path('package-lock.json'), '{}');
    const names = Array.from({ length: 5 }, (_, i) => `web${i}`);
    await Promise.all(names.map(name => p.ensure(name)));
    await Promise.all(names.map(name => p.ready(name)));
    assert.equal(p.notes(), 'setup\nbuild\n');

    const again = async (restart: string) => {
      await p.ensure('web0', { restart });
      await p.seen('it is started anew', seen => seen.ready && seen.leaving.length === 0, 'web0');
      await p.ready('web0');
    };
    writeFileSync(p.path('app.sh'), 'echo second; exec sleep 600');
    await again('1');
    assert.equal(p.notes(), 'setup\nbuild\n');
    writeFileSync(p.path('src/a'), '22');
    await again('2');
    assert.equal(p.notes(), 'setup\nbuild\nbuild\n');
    assert.equal(readFileSync(p.path('dist/a'), 'utf8'), '22');
    rmSync(p.path('dist'), { recursive: true });
    await again('3');
    assert.equal(p.notes(), 'setup\nbuild\nbuild\nbuild\n');
    // What it is built with is new.
    writeFileSync(p.path('package-lock.json'), '{"a":1}');
    await again('4');
    assert.equal(p.notes(), 'setup\nbuild\nbuild\nbuild\nsetup\nbuild\n');
  });

  it('say why they fail, once for all, and are tried again when somebody mends it or asks', async () => {
    await using p = await project({ build: step('echo building; cat src/a || exit 3', { inputs: ['src'] }) });
    mkdirSync(p.path('src'));
    await p.ensure();
    const failed = await p.seen('it has failed', ({ reason }) => reason === 'BuildFailed');
    assert.equal(failed.ready, false);
    assert.match(
      failed.message,
      /^build failed: "echo building; cat src\/a \|\| exit 3" in .* ended with exit code 3: cat: /,
    );
    assert.equal(failed.log[0], 'building');
    assert.deepEqual((await p.logs()).slice(0, 1), ['build: building']);
    assert.equal((await p.logs('main')).length, 0);
    // By itself, without anybody who asks.
    writeFileSync(p.path('src/a'), '1');
    await p.ready();
    assert.deepEqual(
      (await p.logs()).filter(line => !line.includes('cat: ')),
      ['build: building', ...['build: building', 'build: 1', 'main: first']],
    );
  });

  it('are tried again by another wish although nothing has changed', async () => {
    await using p = await project({ setup: step('test -e $NOTES/ok') });
    await p.ensure('web', { wish: '1' });
    await p.seen('it has failed', ({ reason }) => reason === 'SetupFailed');
    const there = p.spec().images.app!.env!.NOTES!;
    writeFileSync(join(there, 'ok'), '');
    await p.ensure('web', { wish: '2' });
    await p.ready();
  });

  it('need not be done where what setup makes is copied from a folder in which the same was done', async () => {
    const setup = step(
      `${note('setup')}; mkdir -p node_modules/dep; echo $$ > node_modules/dep/i.js; echo $$ > made`,
    );
    await using p = await project({ setup, env: { NOTES: '/dev/null' } });
    const folder = async (lock = '{}') => {
      const dir = await tempDir();
      // As in the first one: what was written a moment before is taken for what setup has written.
      writeFileSync(join(dir.path, 'app.sh'), 'echo first; exec sleep 600');
      writeFileSync(join(dir.path, 'package-lock.json'), lock);
      return dir;
    };
    writeFileSync(p.path('package-lock.json'), '{}');
    await p.ensure();
    await p.ready();
    const madeBy = (dir: string) => readFileSync(join(dir, 'node_modules', 'dep', 'i.js'), 'utf8');
    const first = madeBy(p.path(''));
    const start = async (name: string, dir: string) => {
      await p.ensure(name, {}, { dir });
      await p.ready(name);
      return madeBy(dir) === first ? 'spared' : 'done';
    };
    const copied = async (name: string, change: (dir: string) => void, lock?: string) => {
      await using dir = await folder(lock);
      for (const part of ['node_modules', 'made']) await copyTree(p.path(part), join(dir.path, part));
      change(dir.path);
      const seen = await start(name, dir.path);
      await p.driver.remove(name, ctx());
      return seen;
    };
    assert.equal(await copied('same', () => {}), 'spared');
    assert.equal(await copied('cache', dir => mkdirSync(join(dir, 'node_modules', '.cache'))), 'spared');
    assert.equal(await copied('lock', () => {}, '{"other": 1}'), 'done');
    assert.equal(
      await copied('file', dir => writeFileSync(join(dir, 'node_modules/dep/i.js'), first)),
      'done',
    );
    assert.equal(await copied('more', dir => writeFileSync(join(dir, 'node_modules/dep/more'), '')), 'done');
    assert.equal(await copied('beside', dir => rmSync(join(dir, 'made'))), 'done');
    // The original is not what was made for that any more.
    writeFileSync(p.path('package-lock.json'), '{"newer": 1}');
    assert.equal(await copied('stale', () => {}), 'done');
  });

  it('end at their deadline with all that they have started, also when they are deaf', async () => {
    await using p = await project({
      build: step(
        `trap "" TERM; sh -c 'trap "" TERM; while :; do sleep 1; done' & while :; do sleep 1; done`,
        {
          timeoutMs: 300,
        },
      ),
    });
    await p.ensure();
    const { message } = await p.seen('it has failed', ({ reason }) => reason === 'BuildFailed');
    assert.match(message, /did not end within 0 s$/);
  });

  it('end when nobody waits for them any more', async () => {
    await using p = await project({ setup: step(`${note('$$')}; exec sleep 600`) });
    await p.ensure();
    await p.seen(
      'it runs',
      ({ reason, message }) => reason === 'SettingUp' && /setup runs: .*sleep 600/.test(message),
    );
    const pid = await until(() => p.notes().trim() || undefined, { what: 'it runs', deadlineMs: 60_000 });
    await p.driver.remove('web', ctx());
    await until(() => !existsSync(`/proc/${pid}`) || undefined, { what: 'it has ended', deadlineMs: 60_000 });
  });

  it('run what the user has, and say when that is there no more', async () => {
    await using bin = await tempDir();
    const runtime = { name: 'node', folder: bin.path };
    writeFileSync(join(bin.path, 'node'), '#!/bin/sh\necho the own one "$@"; exec sleep 600\n', {
      mode: 0o755,
    });
    await using p = await project({ runtime, command: ['node', 'app.js'] });
    await p.ensure();
    await p.seen('it runs', ({ log }) => log.includes('the own one app.js'));
    rmSync(join(bin.path, 'node'));
    await p.ensure('web', { restart: '1' });
    const { message } = await p.seen('it is missed', ({ reason }) => reason === 'CommandNotFound');
    assert.match(message, /the runtime "node" of container "main" is not in .* any more/);
  });
});

describe('changed code', { concurrency: 4 }, () => {
  it('is told of who runs it and was started before, and of nobody else', async () => {
    await using p = await project({ watch: ['**', '!data'] });
    await using other = await tempDir();
    writeFileSync(join(other.path, 'app.sh'), 'exec sleep 600');
    const told: string[] = [];
    p.driver.code!.onChange(id => void told.push(id));
    await p.ensure('one');
    await p.ensure('two');
    await p.ensure('else', {}, { dir: other.path });
    await p.ensure('itself', {}, { watch: undefined, reload: 'app' } as object);
    await Promise.all(['one', 'two', 'else', 'itself'].map(name => p.ready(name)));
    mkdirSync(p.path('data'));
    writeFileSync(p.path('data/x'), '');
    writeFileSync(p.path('app.sh'), 'echo second; exec sleep 600');
    await until(() => told.length >= 2 || undefined, { what: 'it is told', deadlineMs: 60_000 });
    assert.deepEqual(told.sort(), ['one', 'two']);

    await p.ensure('one', { restart: '1' });
    await p.seen(
      'it is started anew',
      ({ ready, leaving, log }) => ready && leaving.length === 0 && log.includes('second'),
      'one',
    );
    writeFileSync(p.path('app.sh'), 'echo third; exec sleep 600');
    await until(() => told.length >= 4 || undefined, { what: 'it is told again', deadlineMs: 60_000 });
    await p.driver.remove('two', ctx());
    writeFileSync(join(other.path, 'app.sh'), 'exec sleep 601');
    await until(() => told.includes('else') || undefined, { what: 'of the other', deadlineMs: 60_000 });
    assert.deepEqual(told.sort(), ['else', 'one', 'one', 'two', 'two']);
  });

  it('is one change when git checks out many files, and nothing of the version before stays', async () => {
    await using p = await project({ watch: ['**'] });
    await using quiet = await tempDir();
    const env = { PATH: process.env.PATH, HOME: quiet.path, GIT_CONFIG_NOSYSTEM: '1' };
    const git = (...args: readonly string[]) =>
      exec('git', ['-c', 'user.name=t', '-c', 'user.email=t@example.com', ...args], { cwd: p.path(''), env });
    const version = async (name: string) => {
      await git('checkout', '--quiet', '-b', name);
      for (let i = 0; i < 500; i++) {
        mkdirSync(p.path(`src/${i % 25}`), { recursive: true });
        writeFileSync(p.path(`src/${i % 25}/${i}.js`), `${name} ${i}`);
      }
      writeFileSync(p.path('app.sh'), `echo ${name}; sleep 600 & exec sleep 600`);
      await git('add', '--all');
      await git('commit', '--quiet', '--message', name);
    };
    await git('init', '--quiet', '--initial-branch=none');
    await version('one');
    await version('two');
    const told: string[] = [];
    p.driver.code!.onChange(id => void told.push(id));
    await p.ensure();
    await p.ready();
    const ofPod = async () => (await labelled(p.home)).filter(({ part }) => part.startsWith('workload/'));
    const before = await ofPod();
    assert.ok(before.length >= 2, 'it has a child of its own');
    await git('checkout', '--quiet', 'one');
    await until(() => told.length > 0 || undefined, { what: 'it is told', deadlineMs: 60_000 });
    await p.ensure('web', { restart: '1' });
    await p.seen('it is the other', s => s.ready && s.leaving.length === 0 && s.log.includes('one'));
    await until(() => !before.some(isAlive) || undefined, { what: 'no other is left', deadlineMs: 60_000 });
    // What is told next is the next edit: there was nothing between.
    writeFileSync(p.path('src/7/7.js'), 'edited');
    await until(() => told.length > 1 || undefined, { what: 'the edit is told', deadlineMs: 60_000 });
    assert.deepEqual(told, ['web', 'web']);
  });

  it('is found where nobody watches, too', async () => {
    await using p = await project({});
    await p.ensure('one');
    await p.ensure('itself', {}, { reload: 'app' });
    await Promise.all([p.ready('one'), p.ready('itself')]);
    const { changed } = p.driver.code!;
    assert.deepEqual(await changed(['one', 'itself', 'none']), []);
    writeFileSync(p.path('app.sh'), 'echo second; exec sleep 600');
    assert.deepEqual(await changed(['one', 'itself', 'none']), ['one']);
  });
});
