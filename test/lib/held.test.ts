import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, openSync } from 'node:fs';
import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { resultOf } from '../../src/lib/exec.ts';
import { findShells, type HeldProgram, hold, type Shells } from '../../src/lib/held.ts';
import { identify } from '../../src/lib/process.ts';
import { until } from '../../src/lib/wait.ts';
import { tempDir } from '../support/temp.ts';

const shells = await findShells(process.env.PATH ?? '');
const program = (argv: readonly string[], env: Record<string, string> = {}): HeldProgram => ({
  argv,
  env,
  cwd: '/',
  stdout: 'pipe',
  stderr: 'pipe',
});

/** What the program `argv` prints when it is let go. */
async function run(what: HeldProgram, more?: readonly string[], by: Shells = shells): Promise<string> {
  const held = await hold(what, by);
  const result = resultOf(held.child, what.argv, {});
  held.go(more);
  return (await result).stdout;
}

const printEnv = [process.execPath, '-p', 'JSON.stringify(process.env)'];

describe('a held program', { concurrency: true }, () => {
  it('has the pid of the program, leads a group, and runs only when it is let go', async () => {
    await using dir = await tempDir();
    const script = 'read -r stat </proc/$$/stat; echo $$ "$1" "$2"; touch "$0"';
    const held = await hold(program(['/bin/sh', '-c', script, join(dir.path, 'ran')]), shells);
    const result = resultOf(held.child, [], {});
    assert.deepEqual(identify(held.id.pid), held.id);
    assert.ok(process.kill(-held.id.pid, 0));
    assert.ok(!existsSync(join(dir.path, 'ran')));
    held.go(['a  b', ' +$HOME ']);
    assert.equal((await result).stdout, `${held.id.pid} a  b  +$HOME \n`);
    assert.throws(() => held.go(['two\nlines']), TypeError);
  });

  it('never runs when it is dropped, or when who started it dies', async () => {
    await using dir = await tempDir();
    const ran = join(dir.path, 'ran');
    const dropped = await hold(program(['/bin/touch', ran]), shells);
    dropped.drop();
    assert.deepEqual(await once(dropped.child, 'exit'), [125, null]);

    const text = `import { findShells, hold } from ${JSON.stringify(new URL('../../src/lib/held.ts', import.meta.url))};
      const program = { argv: ['/bin/touch', ${JSON.stringify(ran)}], env: {}, cwd: '/', stdout: 'ignore', stderr: 'ignore' };
      console.log((await hold(program, await findShells(''))).id.pid);
      setInterval(() => {}, 1e6);`;
    const starter = spawn(process.execPath, ['--input-type=module-typescript', '-e', text], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [pid] = await once(starter.stdout, 'data');
    assert.ok(identify(Number(pid)));
    starter.kill('SIGKILL');
    await until(() => (identify(Number(pid)) === undefined ? true : undefined), {
      what: 'it ends',
      deadlineMs: 60_000,
    });
    assert.ok(!existsSync(ran));
  });

  const plain = { A: '1', EMPTY: '', UMLAUT: 'ü', LINES: 'a\nb', PATH: '/nowhere', HOME: '/' };
  const ofShells = {
    PWD: '/weird',
    OLDPWD: '/x',
    SHLVL: '7',
    _: 'under',
    IFS: ',',
    OPTIND: '3',
    PPID: '1',
    PS4: 'x',
  };
  const odd = {
    LÄ: '1',
    'spring.datasource.url': 'x',
    'a-b': 'c',
    'BASH_FUNC_exec%%': '() { echo instead; }',
  };
  for (const [what, env] of Object.entries({
    nothing: {},
    'plain ones': plain,
    'such as shells keep for themselves': ofShells,
    'such as shells cannot use': odd,
    'all of them': {
      ...plain,
      ...ofShells,
      ...odd,
      BASH_ENV: '/nonexistent',
      SHELLOPTS: 'xtrace',
      UID: '5',
      RANDOM: '1',
    },
  })) {
    it(`gets its variables exactly as they are: ${what}`, async t => {
      if (shells.bash === undefined && Object.keys(env).some(name => name in odd))
        return t.skip('there is no bash');
      assert.deepEqual(JSON.parse(await run(program(printEnv, env))), env);
    });
  }

  it('is refused when no shell here can hand a variable over', async () => {
    const { bash: _, ...without } = shells;
    await assert.rejects(hold(program(printEnv, odd), without), {
      name: 'HeldVariableError',
      message: 'the variable "LÄ" needs bash, which is not on the PATH',
    });
  });

  it('reads no start files of a shell', async () => {
    await using home = await tempDir();
    for (const name of ['.bashrc', '.bash_profile', '.profile'])
      await writeFile(join(home.path, name), 'export LEAKED=1; echo leaked');
    const env = { ...odd, HOME: home.path, ENV: join(home.path, '.profile') };
    assert.deepEqual(JSON.parse(await run(program(printEnv, env))), env);
  });

  it('has no input, and inherits descriptors', async () => {
    await using dir = await tempDir();
    await writeFile(join(dir.path, 'third'), 'from 3');
    const third = openSync(join(dir.path, 'third'), 'r');
    const argv = ['/bin/sh', '-c', 'cat; cat <&3'];
    const said = await run({ ...program(argv, { PATH: process.env.PATH! }), inherit: [third] });
    closeSync(third);
    assert.equal(said, 'from 3');
  });

  it('says why nothing can be started', async () => {
    await assert.rejects(hold({ ...program(['/bin/true']), cwd: '/nonexistent' }, shells), {
      code: 'ENOENT',
    });
    await using dir = await tempDir();
    const file = join(dir.path, 'not-executable');
    await writeFile(file, '');
    await chmod(file, 0o600);
    await assert.rejects(run(program([file])), { exitCode: 126 });
    await assert.rejects(run(program(['/nonexistent'])), { exitCode: 127 });
  });
});

it('looks for bash and env where it is told to, and does without', async () => {
  assert.deepEqual(await findShells('/nonexistent'), { sh: '/bin/sh', added: { sh: [], bash: [] } });
});
