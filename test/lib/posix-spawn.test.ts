import assert from 'node:assert/strict';
import { once } from 'node:events';
import { closeSync, openSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { resultOf } from '../../src/lib/exec.ts';
import { findShells, hold } from '../../src/lib/held.ts';
import { posixSpawn, type Start } from '../../src/lib/posix-spawn.ts';
import { until } from '../../src/lib/wait.ts';
import { tempDir } from '../support/temp.ts';

const starter = await posixSpawn();
const skip = starter === undefined ? 'this machine has no posix_spawn that can do it' : false;

for (const how of ['here', 'aside'] as const)
  describe(`a program that is started without a copy of us, ${how}`, { skip }, () => {
    const start = async (...given: Start) => starter![how](...given);
    const run = (
      script: string,
      stdio: Start[2]['stdio'] = ['pipe', 'pipe', 'pipe'],
      env: Readonly<Record<string, string>> = {},
    ) => start('/bin/sh', ['-c', script], { cwd: '/', env, stdio });

    it('gets what is written to it, and says what it prints', async () => {
      const child = await run('read -r line; echo "$line $A"; echo wrong >&2', undefined, { A: 'ü ' });
      child.stdin!.end('line\n');
      assert.deepEqual(await resultOf(child, [], {}), { stdout: 'line ü \n', stderr: 'wrong\n' });
    });

    it('says how it has ended', async () => {
      const ends = await Promise.all(
        ['exit 3', 'kill -9 $$', 'exit 0'].map(async script =>
          once(await run(script, ['ignore', 'ignore', 'ignore']), 'exit'),
        ),
      );
      assert.deepEqual(ends, [
        [3, null],
        [null, 'SIGKILL'],
        [0, null],
      ]);
      const child = await run('read -r line');
      assert.ok(child.kill('SIGTERM'));
      assert.deepEqual(await once(child, 'exit'), [null, 'SIGTERM']);
      assert.ok(!child.kill('SIGTERM'));
    });

    it('inherits these descriptors and no others, wherever they were before', async () => {
      await using dir = await tempDir();
      const fds = Array.from({ length: 8 }, (_, i) => {
        writeFileSync(join(dir.path, String(i)), String(i));
        return openSync(join(dir.path, String(i)), 'r');
      });
      const stdio = ['ignore', 'pipe', 'pipe', ...fds.slice(1).toReversed()] as const;
      const script = 'for n in 3 4 5 6 7 8 9; do eval "cat <&$n"; done; echo; readlink /proc/$$/fd/*; exit 0';
      const { stdout } = await resultOf(await run(script, stdio, { PATH: process.env.PATH! }), [], {});
      const [said, ...files] = stdout.split('\n');
      assert.equal(said, '7654321');
      assert.deepEqual(
        files.filter(file => file.startsWith(dir.path)),
        [7, 6, 5, 4, 3, 2, 1].map(i => join(dir.path, String(i))),
      );
      for (const fd of fds) closeSync(fd);
    });

    it('leaves nothing open here', async () => {
      const open = () => readdirSync('/proc/self/fd').length;
      const before = open();
      await resultOf(await run('exit 0'), [], {});
      await until(() => (open() <= before ? true : undefined), { what: 'all is closed', deadlineMs: 60_000 });
    });

    it('leads a session, works where it is told to, and ignores and blocks no signal', async () => {
      const ignore = () => {};
      process.on('SIGWINCH', ignore);
      const { stdout } = await resultOf(
        await run(
          'read -r stat </proc/$$/stat; echo "$stat"; pwd; while read -r line; do echo "$line"; done </proc/$$/status',
        ),
        [],
        {},
      );
      process.off('SIGWINCH', ignore);
      const [stat = '', cwd, ...status] = stdout.split('\n');
      const [pid, , , , group, session] = stat.split(' ');
      assert.deepEqual([group, session, cwd], [pid, pid, '/']);
      for (const mask of ['SigBlk', 'SigIgn'])
        assert.match(status.find(line => line.startsWith(mask)) ?? '', /\t0+$/, mask);
    });

    it('says why it cannot be started, and leaves nothing open', async () => {
      const before = readdirSync('/proc/self/fd').length;
      const stdio = ['pipe', 'pipe', 'pipe'] as const;
      const options = { cwd: '/', env: {}, stdio };
      await assert.rejects(start('/nonexistent', [], options), { code: 'ENOENT' });
      await assert.rejects(start('/etc', [], options), { code: 'EACCES' });
      await assert.rejects(start('/bin/true', [], { ...options, cwd: '/nonexistent' }), { code: 'ENOENT' });
      await assert.rejects(start('/bin/true', ['a\0b'], options), { code: 'ERR_INVALID_ARG_VALUE' });
      await assert.rejects(start('/bin/true', ['x'.repeat(1 << 20)], options), { code: 'E2BIG' });
      assert.ok(readdirSync('/proc/self/fd').length <= before);
    });
  });

describe('a program of another user', { skip }, () => {
  it('is another user when it is held as such', async t => {
    if (process.getuid!() !== 0) return t.skip('only root may be somebody else');
    const shells = await findShells(process.env.PATH ?? '');
    const held = await hold(
      {
        ...{ argv: [process.execPath, '-p', ids], env: {}, cwd: '/', stdout: 'pipe', stderr: 'pipe' },
        ...{ uid: 12345, gid: 54321 },
      },
      shells,
    );
    const result = resultOf(held.child, [], {});
    held.go();
    assert.deepEqual(JSON.parse((await result).stdout), [12345, 12345, 54321, 54321, []]);
  });
});

const ids = `JSON.stringify([process.getuid(), process.geteuid(), process.getgid(), process.getegid(),
  process.getgroups().filter(group => group !== 54321)])`;
