import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { describe, it } from 'node:test';
import type { StepDriver, StepSpec } from '../../../src/drivers/contract.ts';
import { openEngine } from '../../../src/drivers/engine/containers.ts';
import type { Processes, Spaces } from '../../../src/drivers/processes/contract.ts';
import { openSpaces } from '../../../src/drivers/processes/spaces.ts';
import { openStepRunner } from '../../../src/drivers/step/script-runner.ts';
import { silentLog } from '../../../src/lib/log.ts';
import { logRotation } from '../../../src/lib/log-rotation.ts';
import { findPrivateMounts } from '../../../src/lib/namespaces.ts';
import { isAlive } from '../../../src/lib/process.ts';
import { until } from '../../../src/lib/wait.ts';
import type { OffshootError } from '../../../src/model/errors.ts';
import { stepDriverConformance } from '../../conformance/step-driver.ts';
import { labelled } from '../../support/labelled.ts';
import { groupsMissing, testProcesses } from '../../support/processes.ts';
import { tempDir } from '../../support/temp.ts';
import { ctx, testBaseEnv } from '../../support/workload.ts';

const ID = 'xata-test.usersDb.create.provision';

type TestSteps = AsyncDisposable & {
  readonly steps: StepDriver;
  readonly processes: Processes;
  readonly spaces: Spaces | undefined;
  readonly home: string;
};

async function testSteps(baseEnv: Readonly<Record<string, string>> = testBaseEnv): Promise<TestSteps> {
  await using stack = new AsyncDisposableStack();
  const { path: home } = stack.use(await tempDir());
  const processes = await testProcesses(home);
  stack.defer(() => processes.close());
  const mounts = await findPrivateMounts(baseEnv.PATH ?? '', processes.shells, { hide: home });
  const spaces = openSpaces(home, processes, mounts);
  const engine = await openEngine({ home, instance: home, sockets: { why: 'not here' }, log: silentLog });
  const node = { baseEnv, nodePath: process.execPath };
  const rotation = logRotation(2 ** 26, () => {});
  stack.defer(() => rotation.stop());
  const options = { home, instance: home, processes, engine, spaces, mounts, rotation, ...node };
  const steps = await openStepRunner(options);
  const owned = stack.move();
  return { steps, processes, spaces, home, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

const script = (text: string, more: Partial<StepSpec> = {}): StepSpec => ({
  script: text,
  inputs: [],
  outputs: [],
  env: {},
  keep: [],
  ...more,
});

const output = (valueFromPath: string, name = 'value') => [{ name, valueFromPath }];

/** Runs one script in a home of its own, which must be clean afterwards. */
async function runOnce(spec: StepSpec, context = ctx()): Promise<Readonly<Record<string, string>>> {
  await using s = await testSteps();
  try {
    return (await s.steps.run(ID, spec, context)).outputs;
  } finally {
    assert.deepEqual(await s.steps.list(ctx()), []);
    assert.deepEqual(await readdir(join(s.home, 'steps')), []);
  }
}

async function failure(spec: StepSpec, context = ctx()): Promise<OffshootError> {
  return await runOnce(spec, context).then(
    () => assert.fail('the step did not fail'),
    error => error as OffshootError,
  );
}

stepDriverConformance('script', async () => {
  const s = await testSteps();
  return {
    ...s,
    said: ['copied'],
    echo: word =>
      script('cp /tmp/word /tmp/value; echo copied', {
        inputs: [{ name: 'word', value: word, as: { path: '/tmp/word' } }],
        outputs: output('/tmp/value'),
      }),
    silent: () => script('true', { outputs: output('/tmp/value') }),
    failing: () => script('exit 1'),
    endless: () => script('/bin/sleep 600'),
  };
});

/** Three steps at once that use the same path. */
async function threeAtOnce(steps: StepDriver, name: string): Promise<void> {
  const url = `/tmp/offshoot-test-${process.pid}-${name}`;
  const run = async (word: string) => {
    const text = `echo ${word} >>${url}; /bin/sleep 0.1`;
    return await steps.run(word, script(text, { outputs: output(url, 'url') }), ctx());
  };
  const done = await Promise.all(['one', 'two', 'three'].map(run));
  assert.deepEqual(
    done.map(d => d.outputs.url),
    ['one\n', 'two\n', 'three\n'],
  );
  assert.ok(!existsSync(url));
}

describe('script runner', { concurrency: true }, () => {
  it('runs the script of a plugin with an image here, where there is no container engine', async () => {
    const runner = { image: 'nobody/has-it:1' };
    const spec = script('echo here >/tmp/value', { outputs: output('/tmp/value'), runner, images: {} });
    assert.deepEqual(await runOnce(spec), { value: 'here\n' });
  });

  it('hands over inputs by variable and by file, and takes outputs as they are, byte for byte', async () => {
    const outputs = await runOnce(
      script(
        '#!/bin/sh\nprintf "%s|%s|" "$PARENT_BRANCH" "$B" >/tmp/all; cat /tmp/in/c d >>/tmp/all; cp /tmp/all rel',
        {
          inputs: [
            { name: 'parent-branch', value: 'main' },
            { name: 'b', value: 'bee', as: { env: 'B', path: '/tmp/in/b' } },
            { name: 'c', value: ' see\n', as: { path: '/tmp/in/c' } },
            { name: 'd', value: 'ü\n', as: { path: 'd' } },
          ],
          outputs: [...output('/tmp/all', 'all'), ...output('rel', 'rel')],
        },
      ),
    );
    assert.deepEqual(outputs, { all: 'main|bee| see\nü\n', rel: 'main|bee| see\nü\n' });
  });

  it('gives a script the environment of the step and nothing else of ours', async t => {
    process.env.OFFSHOOT_TEST_LEAK = 'leaked';
    t.after(() => delete process.env.OFFSHOOT_TEST_LEAK);
    const spec = script(
      '#!/usr/bin/env -S env node\nconst fs = require("fs"); fs.writeFileSync("out", JSON.stringify(process.env))',
      {
        env: { SIGNADOT_SANDBOX_NAME: 'xata-test' },
        inputs: [{ name: 'only-file', value: 'x', as: { path: 'f' } }],
        outputs: output('out'),
      },
    );
    const { PATH, TMPDIR, OFFSHOOT_INSTANCE, ...rest } = JSON.parse((await runOnce(spec)).value!);
    assert.deepEqual(rest, {
      HOME: '/nonexistent',
      LANG: 'C',
      SIGNADOT_SANDBOX_NAME: 'xata-test',
      OFFSHOOT_PART: `step/${ID}`,
    });
    assert.ok(PATH.startsWith(`${join(process.execPath, '..')}:`));
    assert.ok(TMPDIR && OFFSHOOT_INSTANCE);
  });

  it('runs a script without #! by the shell, and one with it by its interpreter', async () => {
    const outputs = output('out');
    assert.deepEqual(
      await runOnce(script('echo "$0" >out', { outputs })).then(o => /script\n$/.test(o.value!)),
      true,
    );
    const node = script('#!/usr/bin/env node\nrequire("fs").writeFileSync("out", "by node")', { outputs });
    assert.deepEqual(await runOnce(node), { value: 'by node' });
  });

  it('gives each step a /tmp of its own where the machine allows', async t => {
    await using s = await testSteps();
    const [capability] = await s.steps.capabilities();
    assert.equal(capability!.name, 'step/private-tmp');
    if (!capability!.ok) return t.skip(capability!.detail);
    await threeAtOnce(s.steps, 'private');
    const { outputs } = await s.steps.run(
      ID,
      script('touch /tmp/offshoot-test-here; ls /tmp >out', { outputs: output('out') }),
      ctx(),
    );
    assert.match(outputs.value!, /^offshoot-test-here$/m);
    assert.ok(!existsSync('/tmp/offshoot-test-here'));
  });

  it('runs steps one after the other where they share /tmp, and clears the paths that they name', async () => {
    await using s = await testSteps({ PATH: '/nonexistent' }); // so unshare(1) is not found
    const [capability] = await s.steps.capabilities();
    assert.equal(capability!.ok, false);
    assert.match(capability!.detail, /^scripts share \/tmp and run one at a time: /);
    await threeAtOnce(s.steps, 'shared');
  });

  it('keeps directories visible that lie below /tmp', async t => {
    await using kept = await tempDir();
    if (!kept.path.startsWith('/tmp/')) return t.skip('temporary directories are elsewhere');
    await mkdir(join(kept.path, 'inner'));
    await writeFile(join(kept.path, 'inner', 'word'), 'kept');
    const text = `cat ${kept.path}/inner/word >out; echo back >${kept.path}/written`;
    const spec = script(text, { keep: [kept.path, join(kept.path, 'inner')], outputs: output('out') });
    assert.deepEqual(await runOnce(spec), { value: 'kept' });
    assert.deepEqual((await readdir(kept.path)).sort(), ['inner', 'written']);
  });

  it('says how a script failed, with the end of its output in order', async () => {
    const text = 'for i in $(seq 30); do echo out $i; echo err $i >&2; done; exit 7';
    const error = await failure(script(text));
    assert.equal(error.code, 'step/failed');
    assert.equal(error.message, 'the script of step "provision" ended with exit code 7');
    const lines = error.output!.split('\n');
    assert.equal(lines.length, 20);
    assert.deepEqual(lines.slice(-2), ['out 30', 'err 30']);
    assert.equal(
      (await failure(script('kill -9 $$'))).message,
      'the script of step "provision" ended with signal SIGKILL',
    );
  });

  it('sees no processes but its own, and nothing of what it leaves behind stays', async t => {
    await using s = await testSteps();
    if (s.spaces === undefined) return t.skip('this machine has no process namespaces');
    const text =
      '(setsid sleep 600 &); cat /proc/[0-9]*/comm | sort -u | tr "\\n" " " >seen; ' +
      `kill -0 ${process.pid} || true`;
    const { outputs } = await s.steps.run(ID, script(text, { outputs: output('seen') }), ctx());
    assert.match(outputs.value!, /^(cat |script |setsid |sh |sleep |sort |tr )+$/);
    assert.deepEqual([s.processes.list('step'), await labelled(s.home)], [[], []]);
  });

  it('blackens secrets in the output that it keeps', async () => {
    const text =
      'echo "$DB_PASSWORD"; echo "$API_TOKEN"; echo postgresql://ann:pw%40x@host/db; echo "$PLAIN"; exit';
    const given = {
      inputs: [
        { name: 'db-password', value: 'hush-hush' },
        { name: 'plain', value: 'visible' },
      ],
      env: { API_TOKEN: 'two\nlines' },
    };
    const shown = ['***', '***', 'postgresql://ann:***@host/db', 'visible'];
    assert.equal((await failure(script(`${text} 1`, given))).output, shown.join('\n'));
    await using s = await testSteps();
    assert.deepEqual((await s.steps.run(ID, script(`${text} 0`, given), ctx())).said, shown);
    const long = script('for i in $(seq 500); do echo "$i: a line of some forty bytes, or even more"; done');
    const { said = [] } = await s.steps.run(ID, long, ctx());
    assert.equal(said.at(-1), '500: a line of some forty bytes, or even more');
    assert.ok(said.length > 100 && said.length <= 200, `${said.length} lines`);
    assert.match(said[0]!, /^\d+: a line of some/);
  });

  it('stops a script at its deadline, also one that does not want to', async () => {
    const deadline = new AbortController();
    await using s = await testSteps();
    const running = s.steps.run(ID, script('trap "" TERM; echo begun; sleep 600'), {
      ...ctx(),
      signal: deadline.signal,
    });
    running.catch(() => {});
    const mine = async () => (await s.processes.members(`step/${ID}`)).length;
    const output_ = join(s.home, 'steps', ID, 'output.log');
    await until(() => (existsSync(output_) && readFileSync(output_, 'utf8') === 'begun\n') || undefined, {
      what: 'it runs',
      deadlineMs: 60_000,
    });
    deadline.abort();
    await assert.rejects(running, { code: 'step/timeout', output: 'begun' });
    assert.equal(await mine(), 0);
    assert.equal(
      (await failure(script('true'), { ...ctx(), signal: AbortSignal.abort() })).code,
      'step/timeout',
    );
  });

  it('keeps what a script says small while it runs', async () => {
    await runOnce(script('head -c 2000000 /dev/zero; until test -s ../output.log.1; do sleep 0.02; done'));
  });

  it('names the interpreter or command that was not found', async () => {
    for (const [text, command] of [
      ['#!/no/such/interpreter\n', '/no/such/interpreter'],
      ['#!/usr/bin/env no-such-interpreter\n', 'no-such-interpreter'],
      ['no-such-command', 'no-such-command'],
      ['#!/bin/bash\nno-such-command', 'no-such-command'],
      ['exit 127', undefined],
      ['/etc/passwd', '/etc/passwd'],
    ] as const) {
      const error = await failure(script(text));
      assert.equal(error.code, 'step/command-not-found', text);
      assert.equal(error.params.command, command, text);
    }
  });

  it('says which output was never written, and takes only regular files', async () => {
    for (const text of ['true', 'mkdir /tmp/url', 'mkfifo /tmp/url', 'ln -s /etc/hosts /tmp/url']) {
      const error = await failure(script(text, { outputs: output('/tmp/url', 'connection-string') }));
      assert.equal(error.code, 'step/output-missing', text);
      assert.equal(
        error.message,
        'step "provision" ended well but never wrote its output "connection-string" to /tmp/url',
      );
    }
  });

  it('takes 64 KiB of output and no more', async () => {
    const write = (bytes: number) =>
      script(`head -c ${bytes} /dev/zero | tr "\\0" x >out`, { outputs: output('out') });
    assert.equal((await runOnce(write(65_536))).value!.length, 65_536);
    const error = await failure(write(65_537));
    assert.equal(error.code, 'step/output-too-large');
    assert.equal(error.message, 'output "value" of step "provision" has 65537 bytes, the most is 65536');
  });

  it('refuses an output that is not text', async () => {
    const error = await failure(script('printf "\\377\\376" >out', { outputs: output('out') }));
    assert.equal(error.code, 'step/output-not-text');
  });

  it('has files wherever a container has them, and leaves nothing there', async t => {
    await using s = await testSteps();
    const [capability] = await s.steps.capabilities();
    if (!capability!.ok) return t.skip(capability!.detail);
    const own = `offshoot-test-${process.pid}`;
    const existing = await mkdtemp('/var/tmp/offshoot-test-'); // not below /tmp
    t.after(() => rm(existing, { recursive: true }));
    await mkdir(join(existing, 'sub'));
    for (const file of ['kept', 'sub/kept', 'out']) await writeFile(join(existing, file), `old ${file}`);
    const top = `/${own}`;
    const paths = [
      `${top}/deep/out`,
      `${top}.txt`,
      `${existing}/out`,
      `${existing}/sub/new/out`,
      `/var/${own}/out`,
      `relative/${own}/out`,
      `/tmp/${own}/out`,
    ];
    const text = `
      set -e
      for path in ${paths.join(' ')}; do pwd | grep -q work; printf "at $path" > $path; done
      cat ${top}/in ${existing}/kept ${existing}/sub/kept > seen
      test ! -e ${existing}/in || cat ${existing}/in >> seen
      test -d /proc/self && test -c /dev/null && test -x /bin/sh && ls / > /dev/null
      touch ${top}/undeclared ${existing}/undeclared`;
    const { outputs } = await s.steps.run(
      ID,
      script(text, {
        inputs: [
          { name: 'a', value: 'input a,', as: { path: `${top}/in` } },
          { name: 'b', value: ',input b', as: { path: `${existing}/in` } },
        ],
        outputs: [...paths.map((path, i) => output(path, `o${i}`)[0]!), ...output('seen', 'seen')],
      }),
      ctx(),
    );
    for (const [i, path] of paths.entries()) assert.equal(outputs[`o${i}`], `at ${path}`);
    assert.equal(outputs.seen, 'input a,old keptold sub/kept,input b');
    for (const path of [top, `${top}.txt`, `/var/${own}`]) assert.equal(existsSync(path), false, path);
    assert.deepEqual((await readdir(existing)).toSorted(), ['kept', 'out', 'sub']);
    assert.deepEqual(await readdir(join(existing, 'sub')), ['kept']);
    assert.equal(await readFile(join(existing, 'out'), 'utf8'), 'old out');
  });

  it('two at once have the same path each for itself', async t => {
    await using s = await testSteps();
    const [capability] = await s.steps.capabilities();
    if (!capability!.ok) return t.skip(capability!.detail);
    const path = `/offshoot-test-${process.pid}-two/out`;
    const run = (word: string) =>
      s.steps.run(
        word,
        script(`mkdir ${dirname(path)}; echo ${word} >${path}; /bin/sleep 0.1`, { outputs: output(path) }),
        ctx(),
      );
    const done = await Promise.all(['one', 'two'].map(run));
    assert.deepEqual(
      done.map(d => d.outputs.value),
      ['one\n', 'two\n'],
    );
  });

  it('refuses paths where there is no place for a file, before anything runs', async () => {
    await using s = await testSteps();
    const whys: Readonly<Record<string, RegExp>> = {
      '../escape': /^it leads out of the working directory$/,
      '/tmp': /^it is a folder$/,
      '/usr': /^it is a folder$|^only relative paths/,
      '/proc/self/out': /^\/proc is no place for files$|^only relative paths/,
      '/dev/out': /^\/dev is no place for files$|^only relative paths/,
    };
    for (const [path, why] of Object.entries(whys)) {
      assert.match((await s.steps.pathProblem(path)) ?? 'nothing', why, path);
      const inputs = [{ name: 'in', value: '', as: { path } }];
      for (const more of [{ inputs }, { outputs: output(path) }])
        await assert.rejects(
          s.steps.run(ID, script('true', more), ctx()),
          { code: 'step/path-outside' },
          path,
        );
    }
    for (const path of ['out', 'a/b', './a/../out', '/tmp/out', '/tmp/a/b'])
      assert.equal(await s.steps.pathProblem(path), undefined, path);
  });

  it('without mounts of its own says so when the plugin is applied', async () => {
    await using s = await testSteps({ ...testBaseEnv, PATH: '/nonexistent' });
    assert.match(
      (await s.steps.pathProblem('/outputs/url'))!,
      /^only relative paths and those below \/tmp work here/,
    );
    assert.equal(await s.steps.pathProblem('/tmp/url'), undefined);
  });

  it('ends what a script leaves running, also what left its group', async t => {
    await using s = await testSteps();
    const missing = groupsMissing(s.processes);
    const script_ = script('sleep 600 & echo $! >out; setsid sleep 600 & sleep 0.05; echo $! >>out', {
      outputs: output('out'),
    });
    if (missing !== undefined) return t.skip(missing);
    const { value } = (await s.steps.run(ID, script_, ctx())).outputs;
    assert.equal(value!.trim().split('\n').length, 2, 'both were started');
    assert.deepEqual(await labelled(s.home), []);
  });

  it('finds and removes what a killed daemon left', async () => {
    await using s = await testSteps();
    const lost = {
      argv: ['/bin/sleep', '600'],
      env: {},
      cwd: '/',
      stdout: 'ignore',
      stderr: 'ignore',
    } as const;
    const { leader } = await s.processes.start('step/lost', lost);
    await mkdir(join(s.home, 'steps', 'half'), { recursive: true });
    await mkdir(join(s.home, 'steps', '%zz')); // no name of ours
    assert.deepEqual((await s.steps.list(ctx())).toSorted(), ['half', 'lost']);
    await s.steps.remove('half', ctx());
    await s.steps.remove('lost', ctx());
    await s.steps.remove('never was', ctx());
    assert.equal(isAlive(leader), false);
    assert.deepEqual(await s.steps.list(ctx()), []);
  });

  it('begins an interrupted step again from nothing', async () => {
    await using s = await testSteps();
    await mkdir(join(s.home, 'steps', ID, 'work'), { recursive: true });
    await writeFile(join(s.home, 'steps', ID, 'work', 'out'), 'old');
    await assert.rejects(s.steps.run(ID, script('true', { outputs: output('out') }), ctx()), {
      code: 'step/output-missing',
    });
  });
});
