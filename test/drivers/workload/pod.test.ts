/** The life of a pod, on real processes: init containers, sidecars, hooks, and what a daemon that is killed leaves. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { until } from '../../../src/lib/wait.ts';
import type { Container } from '../../../src/model/kubernetes.ts';
import { tempDir } from '../../support/temp.ts';
import {
  ask,
  ctx,
  killedAt,
  openTestRuntime,
  podSpecOf,
  portOf,
  shell,
  testRuntime,
  untilReady,
  untilSeen,
} from '../../support/workload.ts';

const named = (name: string, script: string, more: object = {}): Container =>
  ({ name, ...shell(script), ...more }) as Container;

/** Lines that the containers of a pod have written to one file. */
const lines = async (file: string): Promise<readonly string[]> =>
  (await readFile(file, 'utf8').catch(() => '')).split('\n').filter(Boolean);

describe('a pod', { concurrency: true }, () => {
  it('runs init containers in order, each to its end, before the others start', async () => {
    await using r = await testRuntime();
    const out = join(r.home, 'out');
    const main = {
      ...podSpecOf({}).workload.spec.template.spec.containers[0]!,
      env: [{ name: 'A', value: 'b' }],
    };
    await r.driver.ensure(
      'web',
      podSpecOf({
        initContainers: [
          named('first', `sleep 0.2; echo first >>${out}`),
          named('second', `echo second >>${out}`),
        ],
        containers: [main, named('beside', `echo main >>${out}; exec sleep 600`)],
      }),
      ctx(),
    );
    await untilReady(r.driver, 'web');
    assert.deepEqual(await lines(out), ['first', 'second', 'main']);
  });

  it('says which init container fails, how, and its last lines; and goes on when it succeeds', async () => {
    await using r = await testRuntime();
    const [once, again, table] = ['once', 'again', 'table'].map(name => join(r.home, name));
    const script =
      `if test -e ${once}; then touch ${again}; until test -e ${table}; do sleep 0.05; done; exit 0; fi; ` +
      `touch ${once}; echo no table; exit 1`;
    const spec = podSpecOf({ initContainers: [named('migrate', script)] });
    const first = await r.driver.ensure('web', spec, ctx());
    assert.equal(first.reason, 'PodInitializing');
    const seen = await untilSeen(r.driver, 'web', 'it pauses', s => s.message.includes('again'));
    assert.match(seen.message, /^init container "migrate" ended: exit code 1; starts again after 0.5 s$/);
    assert.deepEqual([seen.ready, seen.serving, seen.log], [false, false, ['no table']]);
    await until(() => existsSync(again!) || undefined, { what: 'it runs again', deadlineMs: 60_000 });
    const later = await untilSeen(r.driver, 'web', 'it was seen', () => true);
    assert.deepEqual(
      [later.message, later.log],
      [seen.message, seen.log],
      'while the next try has said nothing',
    );
    await writeFile(table!, '');
    await untilReady(r.driver, 'web');
  });

  it('does not try again where the pod says so', async () => {
    await using r = await testRuntime();
    const spec = podSpecOf({ restartPolicy: 'Never', initContainers: [named('once', 'echo no; exit 3')] });
    await r.driver.ensure('web', spec, ctx());
    const seen = await untilSeen(r.driver, 'web', 'it has failed', s => s.reason !== 'PodInitializing');
    assert.match(seen.message, /"once" ended: exit code 3$/);
  });

  it('starts sidecars in order, awaits their startup probes, and ends them after the others', async () => {
    await using r = await testRuntime();
    const out = join(r.home, 'out');
    const stays = (name: string) =>
      `trap 'echo ${name} ends >>${out}; exit' TERM; echo ${name} starts >>${out}; while :; do sleep 0.05; done`;
    const startupProbe = { exec: { command: ['/bin/sh', '-c', `grep -q ready ${out}`] } };
    const slow = `${stays('mesh').replace('while', `sleep 0.2; echo ready >>${out}; while`)}`;
    await r.driver.ensure(
      'web',
      podSpecOf({
        initContainers: [
          named('mesh', slow, { restartPolicy: 'Always', startupProbe }),
          named('migrate', `echo migrate >>${out}`),
        ],
        containers: [named('main', stays('main'))],
      }),
      ctx(),
    );
    await untilReady(r.driver, 'web');
    // One without a probe is ready before its program has done anything.
    await until(async () => ((await lines(out)).includes('main starts') ? true : undefined), {
      what: 'main is there',
      deadlineMs: 60_000,
    });
    await r.driver.remove('web', ctx());
    assert.deepEqual(await lines(out), [
      'mesh starts',
      'ready',
      'migrate',
      'main starts',
      'main ends',
      'mesh ends',
    ]);
  });

  it('starts a container again without touching the others', async () => {
    await using r = await testRuntime();
    const [main] = podSpecOf({}).workload.spec.template.spec.containers;
    await r.driver.ensure(
      'web',
      podSpecOf({
        containers: [main!, named('loop', `test -e ${r.home}/ok && exec sleep 600; touch ${r.home}/ok`)],
      }),
      ctx(),
    );
    const life = await ask(portOf(await untilReady(r.driver, 'web')), '/life');
    const seen = await untilSeen(r.driver, 'web', 'it was started again', s => s.restarts === 1 && s.ready);
    assert.equal(await ask(portOf(seen), '/life'), life);
  });

  it('runs its hooks: postStart before it is ready, preStop before it is asked to end, within the grace', async () => {
    await using r = await testRuntime();
    const out = join(r.home, 'out');
    const tell = (word: string) => ({
      exec: { command: ['/bin/sh', '-c', `sleep 0.1; echo ${word} >>${out}`] },
    });
    const main = named('main', `trap 'echo asked >>${out}; exit' TERM; while :; do sleep 0.05; done`, {
      lifecycle: { postStart: tell('started'), preStop: tell('stopping') },
    });
    await r.driver.ensure('web', podSpecOf({ containers: [main] }), ctx());
    await untilReady(r.driver, 'web');
    assert.deepEqual(await lines(out), ['started']);
    await r.driver.remove('web', ctx());
    assert.deepEqual(await lines(out), ['started', 'stopping', 'asked']);
  });

  it('asks its program to end also when its preStop hook takes longer than the grace', async () => {
    await using r = await testRuntime();
    const out = join(r.home, 'out');
    const main = named('main', `trap 'echo asked >>${out}; exit' TERM; while :; do sleep 0.05; done`, {
      lifecycle: { preStop: { exec: { command: ['/bin/sh', '-c', `echo hook >>${out}; exec sleep 600`] } } },
    });
    const pod = { containers: [main], terminationGracePeriodSeconds: 1 };
    await r.driver.ensure('web', podSpecOf(pod), ctx());
    await untilReady(r.driver, 'web');
    await r.driver.remove('web', ctx());
    assert.deepEqual(await lines(out), ['hook', 'asked']);
    assert.deepEqual(r.processes.list('workload'), [], 'the hook has ended with it');
  });

  it('runs hooks that ask by HTTP, and hooks that sleep', async () => {
    await using r = await testRuntime();
    const [server] = podSpecOf({}).workload.spec.template.spec.containers;
    const lifecycle = { preStop: { httpGet: { path: '/print?text=bye', port: 3000 } } };
    const sleeper = named('sleeper', 'exec sleep 600', {
      lifecycle: { postStart: { sleep: { seconds: 1 } } },
    });
    const started = performance.now();
    await r.driver.ensure('web', podSpecOf({ containers: [{ ...server!, lifecycle }, sleeper] }), ctx());
    await untilReady(r.driver, 'web');
    assert.ok(performance.now() - started >= 1000, 'it has slept');
    const log = join(r.home, 'workloads/web/main.0.log');
    await r.driver.ensure('web', podSpecOf({ containers: [sleeper] }), ctx());
    await untilSeen(r.driver, 'web', 'it is another pod', s => s.ready && s.ports[3000] === undefined);
    await until(async () => ((await lines(log)).includes('bye') ? true : undefined), {
      what: 'it has said goodbye',
      deadlineMs: 60_000,
    });
  });

  it('says so when a postStart hook fails', async () => {
    await using r = await testRuntime();
    const main = named('main', 'exec sleep 600', {
      lifecycle: { postStart: { exec: { command: ['false'] } } },
    });
    await r.driver.ensure('web', podSpecOf({ containers: [main] }), ctx());
    const seen = await untilSeen(r.driver, 'web', 'it fails', s => s.reason === 'PostStartHookError');
    assert.match(seen.message, /^container "main": its postStart hook failed: false: exit code 1/);
  });
});

describe('a pod whose daemon is killed', { concurrency: true }, () => {
  it('goes on where it was: no init container that has run through runs again, and no other starts twice', async () => {
    for (const state of ['PodInitializing', 'Running']) {
      await using dir = await tempDir();
      const out = join(dir.path, 'out');
      const [main] = podSpecOf({}).workload.spec.template.spec.containers;
      const spec = podSpecOf({
        initContainers: [
          named('first', `echo first >>${out}`),
          named('second', `sleep 1; echo second >>${out}`),
        ],
        containers: [main!, named('beside', `echo main >>${out}; exec sleep 600`)],
      });
      await killedAt(dir.path, spec, state);
      const driver = await openTestRuntime(dir.path);
      try {
        await driver.ensure('web', spec, ctx());
        await untilReady(driver, 'web');
        assert.deepEqual(await lines(out), ['first', 'second', 'main'], state);
      } finally {
        await driver.close();
      }
    }
  });
});
