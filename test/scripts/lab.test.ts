/** A lab's cluster lasts as long as the tests, however they end. The lab is a fake one that writes down what it is told. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { NoLab, openLab } from '../../scripts/kubernetes/lab.ts';
import { until } from '../../src/lib/wait.ts';
import { tempDir } from '../support/temp.ts';

/** `lab up` leaves the folder `run`, as the real one does; with the file `broken` it fails. */
const program = `
echo "$1" >>"$LAB_HOME/told"
case $1 in
  doctor) echo 'ok    root'; [ ! -e "$LAB_HOME/wrong" ] || { echo 'WRONG root: run as root'; exit 1; } ;;
  up) mkdir -p "$LAB_HOME/run"; [ ! -e "$LAB_HOME/broken" ] ;;
  down) rm -rf "$LAB_HOME/run" ;;
esac
`;

async function fakeLab() {
  const dir = await tempDir();
  const home = join(dir.path, 'home');
  mkdirSync(home);
  writeFileSync(join(dir.path, 'lab'), program);
  return {
    folder: dir.path,
    home,
    put: (name: string) => writeFileSync(join(home, name), ''),
    has: (name: string) => existsSync(join(home, name)),
    told: () => readFileSync(join(home, 'told'), { encoding: 'utf8', flag: 'a+' }).split('\n').slice(0, -1),
    open: (signal = new AbortController().signal) => openLab(dir.path, { home, say: () => {}, signal }),
    [Symbol.asyncDispose]: () => dir[Symbol.asyncDispose](),
  };
}

test('a lab is asked, built, brought up and taken down again', async () => {
  await using lab = await fakeLab();
  {
    await using cluster = await lab.open();
    assert.equal(cluster.env.KUBECONFIG, join(lab.home, 'pki/admin.kubeconfig'));
    assert.ok(lab.has('run'));
    await assert.rejects(
      lab.open(),
      error => error instanceof NoLab && /other tests have the lab/.test(error.message),
    );
    assert.ok(lab.has('run'), 'who was refused took it down');
  }
  assert.ok(!lab.has('run') && !lab.has('of-tests'));
  const asked = ['doctor', 'build'];
  assert.deepEqual(lab.told(), [...asked, 'down', 'up', ...asked, 'down']);
});

test('a cluster that somebody brought up is used and left', async () => {
  await using lab = await fakeLab();
  mkdirSync(join(lab.home, 'run'));
  await (await lab.open())[Symbol.asyncDispose]();
  assert.ok(lab.has('run'));
  assert.deepEqual(lab.told(), []);
});

test('what a run that was cut off has left is taken down first', async () => {
  await using lab = await fakeLab();
  mkdirSync(join(lab.home, 'run'));
  lab.put('of-tests');
  await (await lab.open())[Symbol.asyncDispose]();
  assert.deepEqual(lab.told(), ['doctor', 'build', 'down', 'up', 'down']);
});

test('a cluster goes when the tests are killed', async () => {
  await using lab = await fakeLab();
  const code = `
    import { openLab } from ${JSON.stringify(join(import.meta.dirname, '../../scripts/kubernetes/lab.ts'))};
    await openLab(${JSON.stringify(lab.folder)}, {
      home: ${JSON.stringify(lab.home)}, say() {}, signal: new AbortController().signal,
    });
    console.log('up');
    setInterval(() => {}, 1000);`;
  const tests = spawn(process.execPath, ['--input-type=module', '--eval', code], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(tests.stdout, 'data');
  assert.ok(lab.has('run'));
  tests.kill('SIGKILL');
  await until(async () => !lab.has('of-tests') || undefined, {
    what: 'the cluster is down',
    deadlineMs: 60_000,
  });
  assert.ok(!lab.has('run'));
});

test('a lab that does not come up is taken down, and named as the reason', async () => {
  await using lab = await fakeLab();
  lab.put('broken');
  await assert.rejects(lab.open(), error => error instanceof NoLab && /did not come up/.test(error.message));
  await until(async () => !lab.has('of-tests') || undefined, {
    what: 'the cluster is down',
    deadlineMs: 60_000,
  });
  assert.ok(!lab.has('run'));
});

test('no lab, or one that cannot run here, is a reason', async () => {
  await using lab = await fakeLab();
  await using empty = await tempDir();
  const signal = new AbortController().signal;
  await assert.rejects(openLab(empty.path, { home: lab.home, say: () => {}, signal }), /there is no lab in/);
  lab.put('wrong');
  await assert.rejects(lab.open(), /the lab cannot run here:\nWRONG root: run as root/);
});
