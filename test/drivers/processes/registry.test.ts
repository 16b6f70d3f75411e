import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { partKey } from '../../../src/drivers/labels.ts';
import type { Processes, Program } from '../../../src/drivers/processes/contract.ts';
import { type ExecError, exec } from '../../../src/lib/exec.ts';
import { identify, isAlive } from '../../../src/lib/process.ts';
import { until } from '../../../src/lib/wait.ts';
import { labelled } from '../../support/labelled.ts';
import { groupsMissing, testProcesses } from '../../support/processes.ts';
import { tempDir } from '../../support/temp.ts';

type TestRegistry = AsyncDisposable & {
  readonly home: string;
  processes: Processes;
  /** As another daemon finds it, after this one has died. */
  reopen(): Promise<Processes>;
};

/** @param grouped false: as on a machine without control groups */
async function registry(grouped = true): Promise<TestRegistry> {
  const dir = await tempDir();
  const open = () => testProcesses(dir.path, grouped);
  const test: TestRegistry = {
    home: dir.path,
    processes: await open(),
    async reopen() {
      this.processes.leave();
      this.processes = await open();
      return this.processes;
    },
    async [Symbol.asyncDispose]() {
      await this.processes.close();
      await dir[Symbol.asyncDispose]();
    },
  };
  return test;
}

const shell = (script: string, more: Partial<Program> = {}): Program => ({
  argv: ['/bin/sh', '-c', script],
  env: { PATH: process.env.PATH ?? '' },
  cwd: '/',
  stdout: 'ignore',
  stderr: 'ignore',
  ...more,
});

const gone = (pid: number) =>
  until(() => (identify(pid) === undefined ? true : undefined), {
    what: `${pid} is gone`,
    deadlineMs: 60_000,
  });

const MIB = 2 ** 20;

for (const grouped of [true, false]) {
  describe(`registry ${grouped ? 'with' : 'without'} control groups`, { concurrency: true }, () => {
    it('has a part on record before it runs, in a file that only we can read', async t => {
      await using r = await registry(grouped);
      if (grouped && groupsMissing(r.processes)) return t.skip(groupsMissing(r.processes));
      assert.equal(r.processes.grouped, grouped);
      const held = await r.processes.hold('kind/one', shell('sleep 600'));
      const folder = join(r.home, 'processes');
      assert.deepEqual(await readdir(folder), []);
      assert.equal(r.processes.find('kind/one'), undefined);
      const { leader } = held.go([], { why: 'test' });
      const [file] = await readdir(folder);
      assert.match(file!, /^kind_one\.[0-9a-f]{12}\.json$/);
      assert.equal((await stat(join(folder, file!))).mode & 0o777, 0o600);
      const record = JSON.parse(await readFile(join(folder, file!), 'utf8'));
      assert.deepEqual([record.part, record.leader, record.uid], ['kind/one', leader, process.getuid!()]);
      assert.deepEqual(r.processes.notes('kind/one'), { why: 'test' });
      assert.deepEqual(r.processes.list('kind'), ['kind/one']);
      assert.deepEqual([r.processes.list('kin'), r.processes.list('kind/one/two')], [[], []]);
      await r.processes.kill('kind/one');
      assert.ok(!isAlive(leader));
      assert.deepEqual([await readdir(folder), r.processes.list('kind')], [[], []]);
      await r.processes.kill('kind/one');
    });

    it('starts nothing that it cannot write down', async () => {
      await using r = await registry(grouped);
      const held = await r.processes.hold('a', shell('sleep 600'));
      await mkdir(join(r.home, 'processes', `${partKey('a')}.json.new`));
      assert.throws(() => held.go(), { code: 'EISDIR' });
      await held.drop();
      assert.ok(!isAlive(held.leader));
    });

    it('tells how a part ended', async () => {
      await using r = await registry(grouped);
      const ended = async (script: string) => (await r.processes.start('a', shell(script))).ended;
      assert.deepEqual(await ended('exit 3'), { code: 3, outOfMemory: false });
      assert.deepEqual(await ended('kill -TERM $$'), { signal: 'SIGTERM', outOfMemory: false });
      await assert.rejects(
        ended('exit 0').then(() => r.processes.start('b', shell('', { cwd: '/none' }))),
        {
          code: 'ENOENT',
        },
      );
      assert.deepEqual(r.processes.list('b'), []);
    });

    it('ends a part by one signal after the other, and says whether that was enough', async () => {
      await using r = await registry(grouped);
      const untilDeaf = () =>
        until(async () => (existsSync(join(r.home, 'deaf')) ? true : undefined), {
          what: 'it is deaf',
          deadlineMs: 60_000,
        });
      await r.processes.start('a', shell('sleep 600'));
      assert.equal(await r.processes.end('a', [['SIGTERM', 60_000]]), true);
      const deaf = `trap "" TERM; touch ${r.home}/deaf; while :; do sleep 600; done`;
      const { leader } = await r.processes.start('a', shell(deaf));
      await untilDeaf();
      const abort = AbortSignal.timeout(50);
      await assert.rejects(r.processes.end('a', [['SIGTERM', 60_000]], { signal: abort }), abort.reason);
      assert.equal(await r.processes.end('a', [['SIGTERM', 10]]), false);
      assert.ok(!isAlive(leader));
      assert.equal(await r.processes.end('a', [['SIGTERM', 10]]), true, 'what is not there is ended');
    });

    it('ends all of a part when its leader goes on to live, also what has left its group', async () => {
      await using r = await registry(grouped);
      await r.processes.start('a', shell('sleep 600 & setsid sleep 600 & wait'));
      await until(async () => ((await r.processes.members('a')).length === 3 ? true : undefined), {
        what: 'all run',
        deadlineMs: 60_000,
      });
      const members = (await r.processes.members('a')).map(pid => identify(pid)!);
      await r.processes.end('a', [['SIGTERM', 5_000]]);
      assert.deepEqual(members.filter(isAlive), []);
    });

    it('replaces what an earlier part of that name has left', async () => {
      await using r = await registry(grouped);
      const first = await r.processes.start('a', shell('sleep 600'));
      const second = await r.processes.start('a', shell('sleep 600'));
      assert.deepEqual([isAlive(first.leader), isAlive(second.leader)], [false, true]);
      assert.deepEqual(r.processes.find('a')?.leader, second.leader);
    });

    it('takes over what an earlier daemon has left, and is told when that ends', async () => {
      await using r = await registry(grouped);
      const { leader } = await r.processes.start('a', shell('sleep 600'));
      const dead = await r.processes.start('dead', shell('sleep 600'));
      await r.processes.note('a', { word: 'kept' });
      r.processes.leave();
      process.kill(dead.leader.pid, 'SIGKILL');
      await gone(dead.leader.pid);
      await writeFile(join(r.home, 'processes', 'half'), '{"part":');
      const later = await r.reopen();
      assert.deepEqual(later.list('a'), ['a']);
      assert.deepEqual([later.find('a')?.leader, later.notes('a')], [leader, { word: 'kept' }]);
      assert.equal(later.find('dead'), undefined);
      assert.deepEqual(later.list('dead'), ['dead'], 'until somebody has cleared it away');
      const { ended } = later.find('a')!;
      process.kill(leader.pid, 'SIGKILL');
      assert.deepEqual(await ended, { outOfMemory: false });
      assert.equal(later.find('a'), undefined);
    });

    it('takes over nothing of another life of the machine', async () => {
      await using r = await registry(grouped);
      const { leader } = await r.processes.start('a', shell('sleep 600'));
      const [file] = await readdir(join(r.home, 'processes'));
      const path = join(r.home, 'processes', file!);
      const text = await readFile(path, 'utf8');
      await writeFile(path, JSON.stringify({ ...JSON.parse(text), boot: 'another' }));
      const later = await r.reopen();
      assert.deepEqual(later.list('a'), []);
      if (!grouped) process.kill(leader.pid, 'SIGKILL'); // with groups, one that nobody knows is cleared away
      await gone(leader.pid);
    });

    it('lets a member take the place of the leader', async t => {
      if (!grouped) return t.skip('here a process whose parent has ended belongs to nobody');
      await using r = await registry(grouped);
      if (groupsMissing(r.processes)) return t.skip(groupsMissing(r.processes));
      const script = `setsid sleep 600 & echo $! >${r.home}/next; read -r _ <${r.home}/gate`;
      await exec('mkfifo', [join(r.home, 'gate')]);
      const first = await r.processes.start('a', shell(script));
      const next = Number(
        await until(async () => (await readFile(join(r.home, 'next'), 'utf8').catch(() => '')) || undefined, {
          what: 'the next one runs',
          deadlineMs: 60_000,
        }),
      );
      assert.equal(await r.processes.succeed('a', process.pid), undefined, 'a stranger is no member');
      const second = (await r.processes.succeed('a', next))!;
      await writeFile(join(r.home, 'gate'), '\n');
      await first.ended;
      assert.deepEqual(r.processes.find('a')?.leader, identify(next));
      assert.deepEqual((await r.reopen()).find('a')?.leader, identify(next));
      const { ended } = r.processes.find('a')!;
      assert.ok(isAlive(second.leader));
      process.kill(next, 'SIGKILL');
      await ended;
    });

    it('runs short programs as parts of their own, and as members of others', async () => {
      await using r = await registry(grouped);
      const { stdout, stderr: _, ...hello } = shell('echo out; echo err >&2');
      assert.deepEqual(await r.processes.run('short', hello), { stdout: 'out\n', stderr: 'err\n' });
      assert.deepEqual(r.processes.list('short'), []);
      const failing = { ...hello, argv: ['/bin/sh', '-c', 'exit 4'] };
      await assert.rejects(r.processes.run('short', failing), (error: ExecError) => error.exitCode === 4);
      await assert.rejects(r.processes.run('short', { ...hello, cwd: '/nonexistent' }), { errno: 'ENOENT' });
      const told = join(r.home, 'told');
      const slow = { ...hello, argv: ['/bin/sh', '-c', `setsid sleep 600 & echo $! >${told}; sleep 600`] };
      const stop = new AbortController();
      const stopped = r.processes.run('short', slow, { signal: stop.signal });
      const pid = await until(() => (existsSync(told) && Number(readFileSync(told, 'utf8'))) || undefined, {
        what: 'it has started something',
        deadlineMs: 60_000,
      });
      stop.abort(new Error('enough'));
      await assert.rejects(stopped, { message: 'enough' });
      await gone(pid);
      await assert.rejects(r.processes.run('short', slow, { deadlineMs: 100 }), (e: ExecError) => e.timedOut);
      assert.deepEqual(r.processes.list('short'), []);

      await r.processes.start('long', shell('sleep 600'));
      const inside = { ...hello, argv: ['/bin/sh', '-c', 'cat /proc/self/cgroup'] };
      const [own, theirs] = await Promise.all([
        r.processes.runIn('long', inside),
        readFile(`/proc/${r.processes.find('long')!.leader.pid}/cgroup`, 'utf8'),
      ]);
      assert.equal(own.stdout, theirs);
      await assert.rejects(
        r.processes.runIn('long', slow, { deadlineMs: 100 }),
        (e: ExecError) => e.timedOut,
      );
      await assert.rejects(r.processes.runIn('long', failing), (error: ExecError) => error.exitCode === 4);
      assert.ok(r.processes.find('long'));
    });

    it('gives a name of any length and with any letters a record of its own', async () => {
      await using r = await registry(grouped);
      const names = ['a/b', 'a_b', 'ü/%2F', `long/${'x'.repeat(600)}`, `long/${'x'.repeat(600)}y`];
      await Promise.all(names.map(name => r.processes.start(name, shell('sleep 600'))));
      const later = await r.reopen();
      assert.deepEqual(
        names.map(name => later.find(name) !== undefined),
        names.map(() => true),
      );
    });

    it('leaves nothing when it is closed', async () => {
      await using r = await registry(grouped);
      const { leader } = await r.processes.start(
        'a',
        shell('sleep 600', { limits: { memoryBytes: 64 * MIB } }),
      );
      const held = await r.processes.hold('b', shell('sleep 600'));
      await r.processes.close();
      assert.ok(!isAlive(leader) && !isAlive(held.leader));
      assert.deepEqual(await readdir(join(r.home, 'processes')), []);
    });

    // Delays fall into different moments from run to run; what must hold is the same for each of them.
    it('knows after kill -9 exactly what runs', async () => {
      await using dir = await tempDir();
      const fixture = join(import.meta.dirname, '../../support/fixtures/starter.ts');
      for (const delayMs of [0, 3, 7, 12, 20, 31]) {
        const env = { PATH: process.env.PATH, ...(grouped ? {} : { OFFSHOOT_CGROUP: '/nonexistent' }) };
        const starter = spawn(process.execPath, [fixture, dir.path], {
          stdio: ['ignore', 'pipe', 'inherit'],
          env,
        });
        const exited = once(starter, 'exit');
        await once(starter.stdout, 'data');
        await new Promise(resolve => setTimeout(resolve, delayMs));
        starter.kill('SIGKILL');
        await exited;
        const later = await testProcesses(dir.path, grouped);
        try {
          // What was held, and not let go, ends by itself.
          await until(
            async () => {
              const running = (await labelled(dir.path)).filter(({ part }) => part !== '');
              const known = (await Promise.all(later.list('test').map(later.members))).flat();
              return running.every(({ pid }) => known.includes(pid)) ? true : undefined;
            },
            { what: 'all that runs is known', deadlineMs: 60_000 },
          );
        } finally {
          await later.close();
        }
        assert.deepEqual(await labelled(dir.path), []);
      }
    });
  });
}
