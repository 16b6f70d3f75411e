/** Volumes, seen by real processes where their containers see them, and by nobody else. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import type { WorkloadSpec } from '../../../src/drivers/contract.ts';
import { mounts } from '../../../src/lib/mounts.ts';
import type { Container, PodSpec } from '../../../src/model/kubernetes.ts';
import { smallDisk, smallDiskMissing } from '../../support/small-disk.ts';
import {
  ctx,
  podSpecOf,
  type SpecParts,
  shell,
  type TestRuntime,
  testRuntime,
  untilReady,
  untilSeen,
} from '../../support/workload.ts';

const main = (script: string, more: object = {}): Container =>
  ({ name: 'main', ...shell(script), ...more }) as Container;

/** A pod that says something and stays. */
const podOf = (script: string, volumes: PodSpec['volumes'], volumeMounts: object[], parts: SpecParts = {}) =>
  podSpecOf(
    { containers: [main(`${script}; echo end; exec sleep 600`, { volumeMounts })], volumes: volumes ?? [] },
    parts,
  );

/** What it says. */
async function says(r: TestRuntime, spec: WorkloadSpec, id = 'web'): Promise<readonly string[]> {
  await r.driver.ensure(id, spec, ctx());
  await untilReady(r.driver, id);
  const { log } = await untilSeen(r.driver, id, 'it has said all', seen => seen.log.includes('end'));
  return log.slice(0, log.lastIndexOf('end'));
}

/** @returns why there are no mounts here */
async function missing({ driver }: TestRuntime): Promise<string | undefined> {
  const found = (await driver.capabilities()).find(({ name }) => name === 'workload/volumes')!;
  return found.ok ? undefined : found.detail;
}

const refs = {
  configMaps: { 'demo/settings': { 'app.yaml': 'level: info\n', 'run.sh': '#!/bin/sh\necho ran $*\n' } },
  secrets: { 'demo/keys': { token: 'hush' } },
  binary: { configMaps: { 'demo/settings': { logo: 'AAH/' } }, secrets: {} },
};

describe('volumes', { concurrency: true }, () => {
  it('shows ConfigMaps and Secrets as files, with their modes, where the machine has no such folder', async t => {
    await using r = await testRuntime();
    const why = await missing(r);
    if (why !== undefined) return t.skip(why);
    const script =
      'cat /offshoot-settings/app.yaml /offshoot-settings/deep/app; od -An -tx1 /offshoot-settings/logo; ' +
      'stat -c "%a %n" /offshoot-keys/* /offshoot-settings/deep/app; touch /offshoot-settings/x 2>&1 | grep -c "Read-only"';
    const items = [
      { key: 'app.yaml', path: 'app.yaml' },
      { key: 'app.yaml', path: 'deep/app', mode: 0o600 },
      { key: 'logo', path: 'logo' },
    ];
    const said = await says(
      r,
      podOf(
        script,
        [
          { name: 'settings', configMap: { name: 'settings', items } },
          { name: 'keys', secret: { secretName: 'keys', defaultMode: 0o400 } },
        ],
        [
          { name: 'settings', mountPath: '/offshoot-settings' },
          { name: 'keys', mountPath: '/offshoot-keys/' },
        ],
        { refs },
      ),
    );
    assert.deepEqual(said, [
      ...['level: info', 'level: info', ' 00 01 ff'],
      ...['400 /offshoot-keys/token', '600 /offshoot-settings/deep/app', '1'],
    ]);
    assert.ok(!existsSync('/offshoot-settings'), 'the machine sees nothing of it');
  });

  it('mounts a single file over one of the machine, and a program that is in a volume runs', async t => {
    await using r = await testRuntime();
    const why = await missing(r);
    if (why !== undefined) return t.skip(why);
    const settings = { name: 'settings', configMap: { name: 'settings', defaultMode: 0o755 } };
    const said = await says(
      r,
      podOf(
        'cat /etc/hostname; /opt/own/run.sh one',
        [settings],
        [
          { name: 'settings', mountPath: '/etc/hostname', subPath: 'app.yaml' },
          { name: 'settings', mountPath: '/opt/own' },
        ],
        { refs },
      ),
    );
    assert.deepEqual(said, ['level: info', 'ran one']);
    const runs = main('', {
      command: ['/opt/own/run.sh', 'two'],
      args: [],
      workingDir: '/opt/own',
      volumeMounts: [{ name: 'settings', mountPath: '/opt/own' }],
    });
    await r.driver.ensure(
      'run',
      podSpecOf({ restartPolicy: 'Never', containers: [runs], volumes: [settings] }, { refs }),
      ctx(),
    );
    await untilSeen(r.driver, 'run', 'it ran', seen => seen.log.includes('ran two'));
  });

  it('shares an emptyDir among the containers of one pod, also in memory, and none with another', async t => {
    await using r = await testRuntime();
    const why = await missing(r);
    if (why !== undefined) return t.skip(why);
    const volumeMounts = [
      { name: 'work', mountPath: '/tmp' },
      { name: 'fast', mountPath: '/cache/fast' },
    ];
    const volumes = [
      { name: 'work', emptyDir: {} },
      { name: 'fast', emptyDir: { medium: 'Memory', sizeLimit: '1Mi' } },
    ];
    const spec = (word: string) =>
      podSpecOf({
        initContainers: [
          {
            ...main(`echo ${word} >>/tmp/word; echo ${word} >>/cache/fast/word`, { volumeMounts }),
            name: 'first',
          },
        ],
        containers: [main('cat /tmp/word /cache/fast/word; exec sleep 600', { volumeMounts })],
        volumes,
      });
    for (const word of ['one', 'two']) await r.driver.ensure(word, spec(word), ctx());
    for (const word of ['one', 'two']) {
      const seen = await untilSeen(r.driver, word, 'it has said all', s => s.log.length >= 2);
      assert.deepEqual(
        seen.log.map(line => line.replace(/^\[.*\] /, '')),
        [word, word],
      );
    }
    await r.driver.remove('one', ctx());
    await r.driver.remove('two', ctx());
    assert.deepEqual(
      (await mounts()).filter(({ target }) => target.startsWith(r.home)),
      [],
    );
    assert.deepEqual(await readdir(join(r.home, 'workloads')), []);
  });

  it('tells a pod of itself by files, and takes subPathExpr from its variables', async t => {
    await using r = await testRuntime();
    const why = await missing(r);
    if (why !== undefined) return t.skip(why);
    const downwardAPI = {
      items: [
        { path: 'labels', fieldRef: { fieldPath: 'metadata.labels' } },
        { path: 'name', fieldRef: { fieldPath: 'metadata.name' } },
      ],
    };
    const container = main(
      'cat /about/labels; echo; cat /about/name; echo; echo x >/data/x; exec sleep 600',
      {
        env: [{ name: 'POD', valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } }],
        volumeMounts: [
          { name: 'about', mountPath: '/about' },
          { name: 'data', mountPath: '/data', subPathExpr: 'of-$(POD)' },
        ],
      },
    );
    const volumes = [
      { name: 'about', downwardAPI },
      { name: 'data', persistentVolumeClaim: { claimName: 'data' } },
    ];
    await r.driver.ensure('web', podSpecOf({ containers: [container], volumes }), ctx());
    await untilSeen(r.driver, 'web', 'it has said all', s => s.log.join() === 'app="web",web-0');
    const file = join(r.home, 'disks', 'demo', 'data', 'of-web-0', 'x');
    await untilSeen(r.driver, 'web', 'it has written', () => existsSync(file));
  });

  it('keeps the disk of a claim when its pods go, and a fork never writes to it', async t => {
    await using r = await testRuntime();
    const why = await missing(r);
    if (why !== undefined) return t.skip(why);
    const volumes = [{ name: 'data', persistentVolumeClaim: { claimName: 'data' } }];
    const at = [{ name: 'data', mountPath: '/data' }];
    const script = (word: string) => `echo ${word} >>/data/words; cat /data/words`;
    assert.deepEqual(await says(r, podOf(script('one'), volumes, at)), ['one']);
    await r.driver.remove('web', ctx());
    assert.deepEqual(await says(r, podOf(script('two'), volumes, at)), ['one', 'two']);
    const fork = { ...podOf(script('three'), volumes, at), owner: 'sandbox/s' };
    const said = await says(r, fork, 'fork');
    const { disks } = (await r.driver.observe('fork', ctx()))!;
    assert.deepEqual(said, disks!.data === 'copy' ? ['one', 'two', 'three'] : ['three']);
    assert.equal(await readFile(join(r.home, 'disks', 'demo', 'data', 'words'), 'utf8'), 'one\ntwo\n');
    const empty = { ...fork, owner: 'sandbox/t', forkVolumes: { disks: 'empty' as const } };
    assert.deepEqual(await says(r, empty, 'other'), ['three']);
    await r.driver.remove('fork', ctx());
    assert.equal(await readFile(join(r.home, 'disks', 'demo', 'data', 'words'), 'utf8'), 'one\ntwo\n');
  });

  it('has one copy of a disk for all forks of a sandbox, which goes with the last of them', async t => {
    await using r = await testRuntime();
    const why = await missing(r);
    if (why !== undefined) return t.skip(why);
    const volumes = [{ name: 'data', persistentVolumeClaim: { claimName: 'uploads' } }];
    const at = [{ name: 'data', mountPath: '/data' }];
    const of = (owner: string, word: string) => ({
      ...podOf(`echo ${word} >>/data/words; cat /data/words`, volumes, at),
      owner,
      forkVolumes: { disks: 'empty' as const },
    });
    await says(r, of('baseline', 'base'), 'base');
    assert.deepEqual(await says(r, of('sandbox/one', 'a'), 'one-a'), ['a']);
    assert.deepEqual(await says(r, of('sandbox/one', 'b'), 'one-b'), ['a', 'b']);
    assert.deepEqual(await says(r, of('sandbox/two', 'c'), 'two'), ['c']);
    await r.driver.remove('one-a', ctx());
    const disk = (owner: string) => join(r.home, 'disks-of-forks', encodeURIComponent(owner), 'demo/uploads');
    assert.equal(await readFile(join(disk('sandbox/one'), 'words'), 'utf8'), 'a\nb\n');
    await Promise.all(['one-b', 'two'].map(id => r.driver.remove(id, ctx())));
    assert.deepEqual(await readdir(join(r.home, 'disks-of-forks')), []);
    assert.deepEqual(await r.driver.disks.list(ctx()), [{ namespace: 'demo', claim: 'uploads' }]);
    assert.ok((await r.driver.disks.bytes({ namespace: 'demo', claim: 'uploads' }, ctx()))! > 0);
    await r.driver.remove('base', ctx());
    assert.equal((await r.driver.disks.list(ctx())).length, 1, 'it outlives its pods');
    for (let twice = 0; twice < 2; twice++) await r.driver.disks.remove('demo', 'uploads', ctx());
    assert.deepEqual(await r.driver.disks.list(ctx()), []);
  });

  it('copies a disk for a fork where the file system shares blocks: with owners, modes and links, and never back', async t => {
    if (process.getuid?.() !== 0 || (await smallDiskMissing()) !== undefined)
      return t.skip('it needs the right to mount');
    const made = await smallDisk(256 * 2 ** 20, 'btrfs').catch(() => undefined);
    if (made === undefined) return t.skip('there is no mkfs.btrfs, or no loop device');
    await using disk = made;
    await using r = await testRuntime(disk.path);
    const why = await missing(r);
    if (why !== undefined) return t.skip(why);
    const volumes = [{ name: 'data', persistentVolumeClaim: { claimName: 'data' } }];
    const at = [{ name: 'data', mountPath: '/data' }];
    const make =
      'mkdir /data/db; echo base >/data/db/rows; chmod 600 /data/db/rows; ln -s rows /data/db/link; mkfifo /data/pipe; ' +
      'chown -hR 1234:1234 /data/db; chmod 700 /data/db';
    await says(r, podOf(make, volumes, at));
    const look =
      'cd /data; stat -c "%n %U %a %F" db db/rows db/link; ls; echo fork >>db/link; cat db/rows; touch db/new';
    const spec = { ...podOf(look, volumes, at), owner: 'sandbox/s' };
    assert.deepEqual(await says(r, spec, 'fork'), [
      'db UNKNOWN 700 directory',
      'db/rows UNKNOWN 600 regular file',
      'db/link UNKNOWN 777 symbolic link',
      ...['db', 'base', 'fork'],
    ]);
    assert.deepEqual((await r.driver.observe('fork', ctx()))?.disks, { data: 'copy' });
    assert.deepEqual(await readdir(join(r.home, 'disks/demo/data/db')), ['link', 'rows']);
    assert.equal(await readFile(join(r.home, 'disks/demo/data/db/rows'), 'utf8'), 'base\n');
    const empty = {
      ...podOf('ls /data', volumes, at),
      owner: 'sandbox/t',
      forkVolumes: { disks: 'empty' as const },
    };
    assert.deepEqual(await says(r, empty, 'empty'), []);
    assert.deepEqual((await r.driver.observe('empty', ctx()))?.disks, { data: 'empty' });
  });

  it('gives each pod of a StatefulSet a disk of its own', async t => {
    await using r = await testRuntime();
    const why = await missing(r);
    if (why !== undefined) return t.skip(why);
    const base = podOf('echo $HOSTNAME >/data/who', [], [{ name: 'data', mountPath: '/data' }], {
      replicas: 2,
    });
    const workload = {
      ...base.workload,
      kind: 'StatefulSet' as const,
      spec: { ...base.workload.spec, volumeClaimTemplates: [{ metadata: { name: 'data' } }] },
    };
    await r.driver.ensure('web', { ...base, workload }, ctx());
    await untilReady(r.driver, 'web');
    const who = (index: number) => join(r.home, 'disks', 'demo', `data-web-${index}`, 'who');
    await untilSeen(r.driver, 'web', 'both have written', () => existsSync(who(0)) && existsSync(who(1)));
    assert.equal(await readFile(who(1), 'utf8'), 'web-1\n');
  });

  it('lets a fork read what is the machine’s, and write there only when it may', async t => {
    await using r = await testRuntime();
    const why = await missing(r);
    if (why !== undefined) return t.skip(why);
    const path = join(r.home, 'of-the-machine');
    await mkdir(path);
    await writeFile(join(path, 'x'), 'x\n');
    const volumes = [{ name: 'host', hostPath: { path, type: 'Directory' } }];
    const spec = podOf('cat /host/x; touch /host/y && echo wrote', volumes, [
      { name: 'host', mountPath: '/host' },
    ]);
    assert.deepEqual(await says(r, spec), ['x', 'wrote']);
    const fork = { ...spec, owner: 'sandbox/s' };
    assert.deepEqual(
      (await says(r, fork, 'fork')).filter(line => !line.startsWith('touch')),
      ['x'],
    );
    const allowed = { ...fork, forkVolumes: { hostPath: 'write' as const } };
    assert.deepEqual(await says(r, allowed, 'allowed'), ['x', 'wrote']);
    const lacking = podOf(
      'true',
      [{ name: 'host', hostPath: { path: join(path, 'no'), type: 'Directory' } }],
      [],
    );
    await r.driver.ensure('lacking', lacking, ctx());
    const seen = await untilSeen(r.driver, 'lacking', 'it says so', s => s.reason === 'ConfigError');
    assert.match(seen.message, /^volume "host": the hostPath .*\/no is not there$/);
    await mkdir(join(path, 'no'));
    await untilReady(r.driver, 'lacking');
  });

  it('asks by probes and hooks where the container is', async t => {
    await using r = await testRuntime();
    const why = await missing(r);
    if (why !== undefined) return t.skip(why);
    const probe = (file: string) => ({ exec: { command: ['/bin/cat', file] }, periodSeconds: 1 });
    const container = (file: string) =>
      main('exec sleep 600', {
        volumeMounts: [{ name: 'settings', mountPath: '/own-settings' }],
        readinessProbe: { ...probe(file), failureThreshold: 1 },
      });
    const volumes = [{ name: 'settings', configMap: { name: 'settings' } }];
    await r.driver.ensure(
      'web',
      podSpecOf({ containers: [container('/own-settings/app.yaml')], volumes }, { refs }),
      ctx(),
    );
    await untilReady(r.driver, 'web');
    await r.driver.ensure(
      'bad',
      podSpecOf({ containers: [container('/own-settings/no')], volumes }, { refs }),
      ctx(),
    );
    const seen = await untilSeen(r.driver, 'bad', 'it fails', s => s.reason === 'ProbeFailing');
    assert.match(seen.message, /^readiness probe failed: \/bin\/cat \/own-settings\/no: exit code 1/);
  });

  it('replaces the pods that use a ConfigMap when it changes, and no others', async t => {
    await using r = await testRuntime();
    const why = await missing(r);
    if (why !== undefined) return t.skip(why);
    const spec = (text: string) => {
      const changed = { ...refs, configMaps: { 'demo/settings': { 'app.yaml': text } } };
      const volumes = [{ name: 'settings', configMap: { name: 'settings' } }];
      return podOf('cat /own/app.yaml', volumes, [{ name: 'settings', mountPath: '/own' }], {
        refs: changed,
      });
    };
    assert.deepEqual(await says(r, spec('a\n')), ['a']);
    const { specHash } = (await r.driver.observe('web', ctx()))!;
    assert.equal((await r.driver.ensure('web', spec('a\n'), ctx())).specHash, specHash);
    await r.driver.ensure('web', spec('b\n'), ctx());
    await untilSeen(r.driver, 'web', 'it reads the new one', s => s.ready && s.log.includes('b'));
  });
});

it('waits for a ConfigMap that is mounted, or that an env names, and goes on by itself when it is there', async () => {
  await using r = await testRuntime();
  const volumes = [{ name: 'a', projected: { sources: [{ configMap: { name: 'late' } }] } }];
  const spec = (configMaps: Record<string, Record<string, string>>) =>
    podOf('true', volumes, [], { refs: { configMaps } });
  const seen = await r.driver.ensure('web', spec({}), ctx());
  assert.deepEqual(
    [seen.ready, seen.reason, seen.message],
    [false, 'ConfigError', 'volume "a" lacks the ConfigMap "demo/late"'],
  );
  await r.driver.ensure('web', spec({ 'demo/late': { a: '1' } }), ctx());
  await untilReady(r.driver, 'web');
  // What runs goes on when it is gone, as in a cluster.
  const gone = await r.driver.ensure('web', spec({}), ctx());
  assert.deepEqual([gone.ready, gone.serving], [false, true]);
  assert.match(gone.message, /lacks the ConfigMap "demo\/late"; the version before goes on serving$/);
});

it('names what a volume lacks', async () => {
  await using r = await testRuntime();
  const lacking = async (volumes: PodSpec['volumes'], volumeMounts: object[] = []) =>
    (await r.driver.ensure('web', podOf('true', volumes, volumeMounts, { refs }), ctx())).message;
  assert.equal(
    await lacking([{ name: 'a', configMap: { name: 'no' } }]),
    'volume "a" lacks the ConfigMap "demo/no"',
  );
  assert.equal(
    await lacking([{ name: 'a', secret: { secretName: 'keys', items: [{ key: 'no', path: 'no' }] } }]),
    'volume "a" lacks the key "no" of Secret "demo/keys"',
  );
  assert.equal(
    await lacking([], [{ name: 'b', mountPath: '/b' }]),
    'container "main": its mount at "/b" names the volume "b", which the pod does not have',
  );
  await r.driver.ensure(
    'web',
    podOf('true', [{ name: 'a', configMap: { name: 'no', optional: true } }], []),
    ctx(),
  );
  await untilReady(r.driver, 'web');
  assert.equal((await stat(join(r.home, 'workloads'))).isDirectory(), true);
});
