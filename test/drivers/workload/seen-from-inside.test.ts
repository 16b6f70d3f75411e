/** What a container sees of itself, and what it does not see of the pods of others, asked from inside of it. */
import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { mounts } from '../../../src/lib/mounts.ts';
import { isAlive } from '../../../src/lib/process.ts';
import { until } from '../../../src/lib/wait.ts';
import type { Container, PodSpec } from '../../../src/model/kubernetes.ts';
import { leaderOf } from '../../support/labelled.ts';
import { noNetworks, openTestNetworks } from '../../support/networks.ts';
import { tempDir } from '../../support/temp.ts';
import {
  ctx,
  openTestRuntime,
  podSpecOf,
  shell,
  testRuntime,
  untilReady,
  untilSeen,
} from '../../support/workload.ts';

type Runtime = Awaited<ReturnType<typeof openTestRuntime>>;

const missing = async (driver: Pick<Runtime, 'capabilities'>, what = 'workload/volumes') =>
  (await driver.capabilities()).find(({ name, ok }) => name === what && !ok)?.detail;

const main = (script: string, more: object = {}): Container =>
  ({ name: 'main', ...shell(script), ...more }) as Container;

/** Secrets in files, in memory and on a disk, and in a variable. */
const secretPod = (word: string): Partial<PodSpec> => ({
  containers: [
    main(
      `echo ${word}-disk >/data/x; echo ${word}-memory >/fast/x; echo ${word}-folder >/scratch/x; exec sleep 600`,
      {
        env: [{ name: 'WORD', value: `${word}-variable` }],
        volumeMounts: [
          { name: 'data', mountPath: '/data' },
          { name: 'fast', mountPath: '/fast' },
          { name: 'work', mountPath: '/scratch' },
          { name: 'keys', mountPath: '/keys' },
        ],
      },
    ),
  ],
  volumes: [
    { name: 'data', persistentVolumeClaim: { claimName: 'data' } },
    { name: 'fast', emptyDir: { medium: 'Memory' } },
    { name: 'work', emptyDir: {} },
    { name: 'keys', secret: { secretName: 'keys' } },
  ],
});

const keys = (word: string) => ({
  refs: { secrets: { 'demo/keys': { token: `${word}-secret` } } },
});

describe('seen from inside of a container', { concurrency: true }, () => {
  for (const where of ['its own root', 'the root of the machine'] as const)
    it(`there are no files and no variables of other pods: with ${where}`, async t => {
      await using r = await testRuntime();
      const why = await missing(r.driver);
      if (why !== undefined) return t.skip(why);
      await r.driver.ensure('other', podSpecOf(secretPod('theirs'), keys('theirs')), ctx());
      await untilReady(r.driver, 'other');
      const inside =
        `env | grep -c theirs; grep -c theirs /etc/hosts; ls ${r.home}/workloads ${r.home}/disks; ` +
        `grep -rls theirs ${r.home}; grep -c /other/ /proc/self/mountinfo; echo end; exec sleep 600`;
      const own =
        where === 'its own root'
          ? { volumes: [{ name: 'own', emptyDir: {} }], mount: [{ name: 'own', mountPath: '/offshoot-own' }] }
          : { volumes: [], mount: [] };
      await r.driver.ensure(
        'web',
        podSpecOf({ containers: [main(inside, { volumeMounts: own.mount })], volumes: own.volumes }),
        ctx(),
      );
      const { log } = await untilSeen(r.driver, 'web', 'it has looked', s => s.log.includes('end'));
      assert.deepEqual(log.slice(0, 2), ['0', '0']);
      const rest = log.slice(2, -1).filter(line => line !== '' && !/^\/.*:$/.test(line));
      // Its mounts hold what was mounted before it, out of sight.
      assert.deepEqual(rest.slice(0, -1), [], 'no folder of another pod, no file with its words');
      assert.ok((await readdir(join(r.home, 'disks/demo'))).includes('data'), 'they are there all the same');
    });

  it('there are no processes of others, to be seen or signalled, and no environment of theirs', async t => {
    await using r = await testRuntime();
    const why = await missing(r.driver, 'workload/processes');
    if (why !== undefined) return t.skip(why);
    await r.driver.ensure('other', podSpecOf(secretPod('theirs'), keys('theirs')), ctx());
    await untilReady(r.driver, 'other');
    const other = await leaderOf(r.home, 'workload/other/0/main');
    // Its own name is in pieces: what looks is seen, too.
    const look =
      `echo $(cat /proc/[0-9]*/comm 2>/dev/null); grep -lsa their[s]- /proc/[0-9]*/environ; kill -0 ${other.pid} 2>&1; ` +
      'kill -0 $MACHINE 2>&1; kill -9 -1; echo end; exec sleep 600';
    const probe = {
      exec: { command: ['/bin/sh', '-c', 'grep -qx sleep /proc/[0-9]*/comm && ! kill -0 $MACHINE'] },
    };
    const env = [{ name: 'MACHINE', value: String(process.pid) }];
    const beside = { ...main('exec sleep 600'), name: 'beside' } as Container;
    const containers = [main(look, { env, readinessProbe: probe }), beside];
    await r.driver.ensure('web', podSpecOf({ containers }), ctx());
    const said = (id: string) =>
      untilSeen(r.driver, id, 'it has looked', s => s.ready && s.log.some(line => line.endsWith('end')));
    const { log } = await said('web');
    const [all = '', ...rest] = log.map(line => line.replace(/^\[web-0 main\] /, ''));
    // Beside it there may still be what sets the other container up: a copy of us for a moment (MainThread), then these.
    const known = [
      'sleep',
      'sh',
      'cat',
      'grep',
      'nsenter',
      'MainThread',
      'unshare',
      'mount',
      'umount',
      'hostname',
    ];
    assert.deepEqual(
      all.split(' ').filter(name => !known.includes(name)),
      [],
    );
    assert.deepEqual(
      rest.filter(line => line !== '').map(line => line.replace(/.*: /, '')),
      ['No such process', 'No such process', 'end'],
    );
    assert.ok(isAlive(other));

    const seeing = `grep -lsa their[s]- /proc/${other.pid}/environ; echo end; exec sleep 600`;
    await r.driver.ensure('host', podSpecOf({ containers: [main(seeing)], hostPID: true }), ctx());
    assert.deepEqual((await said('host')).log, [`/proc/${other.pid}/environ`, 'end']);
  });

  it('nothing is left of processes whose parents have ended, and a program without a handler ends when it is asked', async t => {
    await using r = await testRuntime();
    const why = await missing(r.driver, 'workload/processes');
    if (why !== undefined) return t.skip(why);
    // Of what has ended and was not asked how, the name is still to be seen.
    const script =
      '(uname >/dev/null &); while grep -qsx "Name:.uname" /proc/[0-9]*/status; do sleep 0.02; done; ' +
      'echo gone; exec sleep 600';
    await r.driver.ensure('orphans', podSpecOf({ containers: [main(script)] }), ctx());
    const idle = podSpecOf({ containers: [main('exec sleep 600')], terminationGracePeriodSeconds: 45 });
    await r.driver.ensure('idle', idle, ctx());
    await untilReady(r.driver, 'idle');
    await untilSeen(r.driver, 'orphans', 'orphans are gone', seen => seen.log.includes('gone'));
    await r.driver.remove('idle', { ...ctx(), signal: AbortSignal.timeout(60_000) });
  });

  it('it begins again when all that runs in it was killed', async t => {
    await using r = await testRuntime();
    const why = await missing(r.driver, 'workload/processes');
    if (why !== undefined) return t.skip(why);
    await r.driver.ensure('web', podSpecOf({ containers: [main('exec sleep 600')] }), ctx());
    await untilReady(r.driver, 'web');
    const first = await leaderOf(r.home, 'workload/web/0/.init');
    const program = await leaderOf(r.home, 'workload/web/0/main');
    process.kill(-first.pid, 'SIGKILL');
    await until(() => !isAlive(program) || undefined, { what: 'all of it ends', deadlineMs: 60_000 });
    await untilSeen(r.driver, 'web', 'it runs again', s => s.ready && s.restarts === 1);
    assert.notDeepEqual(await leaderOf(r.home, 'workload/web/0/.init'), first);
  });

  it('it has a host name of its own, in probes and beside other containers too', async t => {
    await using r = await testRuntime();
    const why = await missing(r.driver);
    if (why !== undefined) return t.skip(why);
    const script = 'echo $(uname -n) $HOSTNAME; exec sleep 600';
    const command = ['/bin/sh', '-c', 'test "$(uname -n)" = "$HOSTNAME"'];
    const containers = [main(script, { readinessProbe: { exec: { command }, failureThreshold: 1 } })];
    await r.driver.ensure('web', podSpecOf({ containers }), ctx());
    await untilReady(r.driver, 'web');
    const said = (id: string) => untilSeen(r.driver, id, 'it has spoken', s => s.ready && s.log.length > 0);
    assert.deepEqual((await said('web')).log, ['web-0 web-0']);
    await r.driver.ensure('named', podSpecOf({ containers, hostname: 'db' } as Partial<PodSpec>), ctx());
    assert.deepEqual((await said('named')).log, ['db db']);
    await r.driver.ensure('host', podSpecOf({ containers: [main(script)], hostNetwork: true }), ctx());
    assert.deepEqual((await said('host')).log, [`${hostname()} web-0`]);
  });
});

it('pods with networks and volumes leave nothing: no mount, no interface, no process, no folder', async t => {
  const why = await noNetworks();
  if (why !== undefined) return t.skip(why);
  await using dir = await tempDir();
  const networks = await openTestNetworks(dir.path);
  const driver = await openTestRuntime(dir.path, networks);
  try {
    const without = await missing(driver);
    if (without !== undefined) return t.skip(without);
    for (const id of ['one', 'two']) await driver.ensure(id, podSpecOf(secretPod(id), keys(id)), ctx());
    for (const id of ['one', 'two']) await untilReady(driver, id);
    assert.equal(networks.list().length, 2);
    assert.equal((await mounts()).filter(({ target }) => target.startsWith(dir.path)).length, 2);
  } finally {
    await driver.close();
    await networks.close();
  }
  assert.deepEqual(networks.list(), []);
  assert.deepEqual(
    (await mounts()).filter(({ target }) => target.startsWith(dir.path)),
    [],
  );
  assert.deepEqual(driver.processes.list('workload'), []);
  for (const id of ['one', 'two'])
    assert.deepEqual(
      (await readdir(join(dir.path, 'workloads', id))).filter(name => name.startsWith('pod.')),
      [],
    );
});
