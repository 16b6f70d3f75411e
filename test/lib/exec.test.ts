import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { realpath } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { ExecError, type ExecOptions, exec, startProgramsBy } from '../../src/lib/exec.ts';
import { posixSpawn } from '../../src/lib/posix-spawn.ts';
import { tempDir } from '../support/temp.ts';

/** A Node program given as text. */
const node = (code: string, options?: ExecOptions, ...args: string[]) =>
  exec(process.execPath, ['-e', code, '--', ...args], options);

const failure = async (running: Promise<unknown>): Promise<ExecError> => {
  const error = await running.then(
    () => assert.fail('it ended well'),
    (thrown: unknown) => thrown,
  );
  assert.ok(error instanceof ExecError, String(error));
  return error;
};

const starter = await posixSpawn();

const ways = [
  { how: 'by Node', by: undefined, skip: false },
  { how: 'without a copy of us', by: starter, skip: starter === undefined && 'it cannot be had here' },
] as const;

for (const { how, by, skip } of ways)
  describe(`exec, ${how}`, { skip }, () => {
    before(() => startProgramsBy(by, process.env));
    after(() => startProgramsBy(undefined, {}));

    it('gives arguments, input, environment and directory to the program as they are', async () => {
      await using dir = await tempDir();
      const { stdout, stderr } = await node(
        `process.stderr.write('aside');
       process.stdin.setEncoding('utf8').toArray().then(([text]) => console.log(JSON.stringify(
         [process.argv.slice(1), text, process.env.COLOUR, process.cwd()])))`,
        { input: 'ä\n', env: { COLOUR: '$HOME' }, cwd: dir.path },
        'a b',
        '$(c)',
        '',
      );
      assert.deepEqual(JSON.parse(stdout), [['a b', '$(c)', ''], 'ä\n', '$HOME', await realpath(dir.path)]);
      assert.equal(stderr, 'aside');
    });

    it('says how a program ended that did not end well', async () => {
      const error = await failure(node(`console.log('out'); console.error('err'); process.exit(3)`));
      assert.deepEqual(
        [error.exitCode, error.signalName, error.stdout, error.stderr, error.timedOut],
        [3, null, 'out\n', 'err\n', false],
      );
      assert.equal(error.argv[0], process.execPath);
      const killed = await failure(node(`process.kill(process.pid, 'SIGTERM')`));
      assert.deepEqual([killed.exitCode, killed.signalName], [null, 'SIGTERM']);
      assert.match(killed.message, /: killed by SIGTERM$/);
    });

    it('says when a program cannot be started', async () => {
      const error = await failure(exec('/nonexistent/program', ['x']));
      assert.equal(error.errno, 'ENOENT');
      assert.equal(error.message, '/nonexistent/program x: ENOENT');
      assert.equal((await failure(node('', { cwd: '/nonexistent' }))).errno, 'ENOENT');
    });

    it('does not mind a program that never reads its input', async () => {
      const { stdout } = await exec('/bin/echo', ['done'], { input: 'x'.repeat(1_000_000) });
      assert.equal(stdout, 'done\n');
    });

    it('keeps the end of a long output', async () => {
      const { stdout } = await node(
        `process.stdout.write('a'.repeat(1e6) + 'b'.repeat(50) + 'c'.repeat(50))`,
        {
          maxOutput: 100,
        },
      );
      assert.equal(stdout, 'b'.repeat(50) + 'c'.repeat(50));
    });

    it('kills at the deadline, and does not wait for what the program started', {
      timeout: 120_000,
    }, async t => {
      // Either script leaves a program behind that has its output open. The deadline passes once they have said so.
      await using dir = await tempDir();
      const told = ['a', 'b'].map(name => join(dir.path, name));
      t.mock.timers.enable({ apis: ['setTimeout'] });
      const ends = ['; wait', ''].map((then, i) =>
        failure(
          exec('/bin/sh', ['-c', `sleep 600 & echo $! > "$0"${then}`, told[i]!], { deadlineMs: 1_000 }),
        ),
      );
      while (!told.every(file => existsSync(file) && readFileSync(file, 'utf8').endsWith('\n'))) await turn();
      let over = false;
      const all = Promise.all(ends).finally(() => {
        over = true;
      });
      // Its time begins when it is known to run, a moment after it does.
      while (!over) {
        t.mock.timers.tick(1_000);
        await turn();
      }
      for (const [i, error] of (await all).entries()) {
        process.kill(Number(readFileSync(told[i]!, 'utf8')), 'SIGKILL');
        assert.equal(error.timedOut, true);
        assert.match(error.message, /: took too long and was killed$/);
      }
    });

    it('kills when the signal aborts, and ends with its reason', { timeout: 120_000 }, async () => {
      const abort = new AbortController();
      const stop = new Error('stop');
      const running = node('setInterval(() => {}, 1e6)', { signal: abort.signal });
      setImmediate(() => abort.abort(stop));
      await assert.rejects(running, error => error === stop);
      await assert.rejects(exec('/nonexistent', [], { signal: abort.signal }), error => error === stop);
    });

    it('survives a process that has no file descriptor left', async () => {
      const module = new URL('../../src/lib/exec.ts', import.meta.url).href;
      const { stdout } = await exec('/bin/sh', [
        '-c',
        'ulimit -n 64 && exec "$0" --input-type=module -e "$1"',
        process.execPath,
        `import { openSync } from 'node:fs';
       import { exec } from ${JSON.stringify(module)};
       try { for (;;) openSync('/dev/null'); } catch {}
       exec('/bin/true', []).catch(error => console.log(error.name, error.errno));`,
      ]);
      assert.equal(stdout, 'ExecError EMFILE\n');
    });
  });
