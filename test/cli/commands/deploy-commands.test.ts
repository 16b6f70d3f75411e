/** deploy and undeploy against an API that nothing reconciles; what is to go is taken away here. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { readManifestsAside } from '../../../src/api/manifest-reader.ts';
import { storeBaseline } from '../../../src/baseline/store-baseline.ts';
import type { ErrorBody } from '../../../src/model/errors.ts';
import { runOf } from '../../../src/model/run.ts';
import { asWorkload } from '../../../src/model/workload.ts';
import { inputsOf } from '../../../src/rules/inputs.ts';
import { type TestApi, testApi } from '../../support/api.ts';
import { type FakeCliOptions, runCli } from '../../support/cli.ts';
import { applied, configMap, deployment, fork, job, statefulSet } from '../../support/documents.ts';
import { tempDir } from '../../support/temp.ts';

type World = AsyncDisposable & {
  readonly api: TestApi;
  readonly folder: string;
  /** Writes a file of manifests below the folder. */
  write(file: string, ...objects: readonly object[]): void;
  run(args: string, options?: FakeCliOptions): ReturnType<typeof runCli>;
  /** `Kind/namespace/name` of what is to stay. */
  names(): readonly string[];
};

async function world(): Promise<World> {
  const api = await testApi();
  const dir = await tempDir();
  api.store.onChange(change => {
    if (change.type === 'put' && change.kind === 'manifest' && change.object.deletedAt !== undefined)
      void api.store.remove('manifest', change.name);
  });
  return {
    api,
    folder: dir.path,
    write(file, ...objects) {
      mkdirSync(join(dir.path, file, '..'), { recursive: true });
      writeFileSync(join(dir.path, file), objects.map(object => JSON.stringify(object)).join('\n---\n'));
    },
    run: (args, options = {}) =>
      runCli(args.split(' '), {
        cwd: dir.path,
        ...options,
        env: { OFFSHOOT_API_URL: api.url, OFFSHOOT_API_KEY: api.apiKey, ...options.env },
      }),
    names: () =>
      api.store
        .list('manifest')
        .filter(m => m.deletedAt === undefined)
        .map(m => m.name),
    async [Symbol.asyncDispose]() {
      await api[Symbol.asyncDispose]();
      await dir[Symbol.asyncDispose]();
    },
  };
}

const secret = (value: string) => ({
  ...{ apiVersion: 'v1', kind: 'Secret', metadata: { name: 's', namespace: 'demo' } },
  stringData: { password: value, same: 'same' },
});
const nowhere = (name: string) => ({ ...configMap(name, {}), metadata: { name } });

test('-R also reads the folders below, hidden ones excepted; -f may be repeated', async () => {
  await using w = await world();
  w.write('k8s/deep/a.yaml', configMap('a', {}));
  w.write('k8s/.git/hidden.yaml', configMap('hidden', {}));
  w.write('more/b.json', configMap('b', {}));
  const flat = await w.run('deploy -f k8s --no-wait');
  assert.deepEqual(
    [flat.code, flat.stderr],
    [2, 'error: k8s holds no .yaml, .yml or .json file; -R looks into the folders below\n'],
  );
  assert.equal((await w.run('deploy -R -f k8s -f more --no-wait')).code, 0);
  assert.deepEqual(w.names(), ['ConfigMap/demo/a', 'ConfigMap/demo/b']);
});

test('-n is for objects that name no namespace, and refuses those that name another', async () => {
  await using w = await world();
  w.write('a.yaml', nowhere('a'), { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'other' } });
  assert.equal((await w.run('deploy -f a.yaml -n mine --no-wait')).code, 0);
  assert.deepEqual(w.names(), ['ConfigMap/mine/a', 'Namespace/other/other']);
  w.write('b.yaml', configMap('b', {}));
  const refused = await w.run('deploy -f b.yaml -n mine --no-wait');
  assert.equal(refused.code, 2);
  assert.match(
    refused.stderr,
    /^b\.yaml:1:\d+: metadata\.namespace: "demo" is not the namespace "mine" that was asked for\n/,
  );
});

test('--dry-run shows a diff without values of Secrets, and changes nothing', async () => {
  await using w = await world();
  w.write('k8s/a.yaml', configMap('c', { colour: 'red', size: '1' }), secret('old-word'));
  w.write('k8s/b.yaml', configMap('gone', {}));
  await w.run('deploy -f k8s --no-wait');
  const version = w.api.store.version();
  w.write(
    'k8s/a.yaml',
    configMap('c', { colour: 'blue', size: '1' }),
    secret('new-word'),
    deployment('users'),
  );
  w.write('k8s/b.yaml', configMap('other', {}));
  const { code, stdout } = await w.run('deploy -f k8s --prune --dry-run');
  assert.equal(code, 0);
  assert.match(
    stdout,
    /^--- ConfigMap\/demo\/c\n\+\+\+ ConfigMap\/demo\/c\n@@ -1 \+1 @@\n.*\n- {2}colour: red\n\+ {2}colour: blue\n {3}size: "1"\n/s,
  );
  assert.match(
    stdout,
    /- {2}password: "?\*\*\* \(before\)"?\n\+ {2}password: "?\*\*\* \(after\)"?\n {3}same: "?\*\*\*"?\n/,
  );
  assert.doesNotMatch(stdout, /word"?$/m);
  assert.match(
    stdout,
    /--- \/dev\/null\n\+\+\+ Deployment\/demo\/users\n@@ -1 \+1 @@\n\+apiVersion: apps\/v1\n/,
  );
  assert.match(
    stdout,
    /\n- ConfigMap\/demo\/gone would be removed\n4 would be changed, 1 removed, 0 stay as they are\n$/,
  );
  assert.equal(w.api.store.version(), version);
  const json = JSON.parse((await w.run('deploy -f k8s --dry-run -o json')).stdout);
  assert.deepEqual(
    json.planned.map((p: { outcome: string }) => p.outcome),
    ['configured', 'configured', 'created', 'created'],
  );
});

test('--prune removes what left the files that are named, nothing else', async () => {
  await using w = await world();
  w.write('offshoot.yaml', { images: {} });
  w.write('k8s/a.yaml', configMap('a', {}), configMap('gone', {}));
  w.write('k8s/deep/b.yaml', configMap('b', {}));
  w.write('more/c.yaml', configMap('c', {}));
  await w.run('deploy -R -f k8s -f more --no-wait');
  await w.run('deploy -f - --no-wait', { input: JSON.stringify(configMap('piped', {})) });
  w.write('k8s/a.yaml', configMap('a', {}));
  rmSync(join(w.folder, 'k8s/deep/b.yaml'));
  assert.match((await w.run('deploy -f k8s --prune --no-wait')).stderr, /^configmap\/gone pruned$/m);
  const left = ['a', 'b', 'c', 'piped'].map(name => `ConfigMap/demo/${name}`);
  assert.deepEqual(w.names(), left);
  await w.run('deploy -R -f k8s --prune --no-wait');
  assert.deepEqual(
    w.names(),
    left.filter(name => !name.endsWith('/b')),
  );
  const piped = await w.run('deploy -f - --prune --no-wait', { input: JSON.stringify(configMap('d', {})) });
  assert.deepEqual([piped.code, /--prune of standard input needs --folder/.test(piped.stderr)], [2, true]);
  const named = await w.run('deploy -f - --prune --folder . --no-wait', {
    input: JSON.stringify(configMap('d', {})),
  });
  assert.equal(named.code, 0, named.stderr);
  assert.deepEqual(
    w.names(),
    ['a', 'c', 'd'].map(name => `ConfigMap/demo/${name}`),
  );
});

test('all images without an entry are told at once, with what to write', async () => {
  await using w = await world();
  w.write('offshoot.yaml', { images: { users: { dir: '.', command: ['node'] } } });
  const image = (name: string, image: string) => deployment(name, { image });
  w.write(
    'k8s/a.yaml',
    deployment('users'),
    image('cache', 'docker.io/redis:7'),
    image('cache-2', 'redis:8'),
  );
  w.write('k8s/b.yaml', image('proxy', 'acme/proxy'));
  const { code, stderr } = await w.run('deploy -f k8s --dry-run');
  const said = `3 images have no entry in ${w.folder}/offshoot.yaml, so 3 workloads do not run`;
  const entries = `  | images:
  |   redis: # demo/cache, demo/cache-2
  |     dir: .
  |     command: [PROGRAM, ARGUMENT]
  |   proxy: # demo/proxy
  |     dir: .
  |     command: [PROGRAM, ARGUMENT]
`;
  assert.deepEqual(
    [code, stderr],
    [0, `warning: ${said}: docker.io/redis:7, redis:8, acme/proxy\n${entries}`],
  );
  w.write(
    'k8s/c.yaml',
    ...['a', 'b', 'c', 'd'].map(name => image(`mono-${name}`, `ghcr.io:5000/x/mono:1-${name}`)),
  );
  assert.match(
    (await w.run('deploy -f k8s/c.yaml --dry-run')).stderr,
    /\n {2}\| {3}"mono:\{tag\}": # demo\/mono-a, demo\/mono-b, demo\/mono-c and 1 more; 4 tags: 1-a, 1-b, 1-c and 1 more\n {2}\| {5}dir: \.\n {2}\| {5}command: \[PROGRAM, "\{tag\}"\]\n/,
  );
  rmSync(join(w.folder, 'k8s/c.yaml'));
  // What has an entry is waited for; nothing else could become ready.
  const { store } = w.api;
  store.onChange(change => {
    if (change.type !== 'put' || change.kind !== 'manifest' || change.object.status !== null) return;
    const ready = change.name.endsWith('/users');
    void store.modify('manifest', change.name, object => ({
      status: {
        ...{ ready, reason: ready ? 'Running' : 'ImageUnknown', message: 'm' },
        observedGeneration: object.generation,
        inputs: inputsOf({ store, baseline: storeBaseline(store) }, object),
      },
    }));
  });
  const waited = await w.run('deploy -f k8s/b.yaml -f k8s/a.yaml -o json');
  assert.equal(waited.code, 1);
  const body = JSON.parse(waited.stderr.trimEnd().split('\n').at(-1)!) as ErrorBody;
  assert.deepEqual([body.code, body.error], ['image/missing', said]);
  assert.match(body.output ?? '', /^images:\n {2}proxy: # demo\/proxy\n/);
});

test('a folder of Kustomize that is deployed as it is gets a note', async () => {
  await using w = await world();
  w.write('k8s/kustomization.yml', { resources: ['a.yaml'] });
  w.write('k8s/patch.yaml', { apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: 'a' } });
  for (const args of ['-f k8s', '-f . -R']) {
    const { code, stderr } = await w.run(`deploy ${args} --no-wait`);
    assert.equal(code, 2);
    assert.match(
      stderr,
      /^note: k8s has a kustomization\.yaml; "offshoot deploy -k k8s" renders it first\nk8s\/patch/,
    );
    assert.match(stderr, /hint: mend what the problems name, then repeat\n$/);
  }
  w.write('k8s/patch.yaml', configMap('a', {}));
  assert.match(
    (await w.run('deploy -f k8s --no-wait')).stderr,
    /^warning: left out: 1 Kustomization: the folder is deployed as it is; -k renders it/,
  );
});

test('a template gets a note; links that lead nowhere and pipes are left out, one that is named is read', async () => {
  await using w = await world();
  mkdirSync(join(w.folder, 'k8s'));
  writeFileSync(
    join(w.folder, 'k8s/a.yaml'),
    'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ .Values.name }}}\n',
  );
  assert.match(
    (await w.run('deploy -f k8s')).stderr,
    /^note: k8s\/a\.yaml holds \{\{ … \}\}, as templates do: "helm template /,
  );
  w.write('k8s/a.yaml', configMap('a', {}));
  symlinkSync('/nowhere', join(w.folder, 'k8s/.#a.yaml'));
  symlinkSync('round.yaml', join(w.folder, 'k8s/round.yaml'));
  execFileSync('mkfifo', [join(w.folder, 'k8s/pipe.yaml')]);
  const { code, stderr } = await w.run('deploy -f k8s --no-wait');
  assert.equal(code, 0, stderr);
  assert.match(
    stderr,
    /^left out: k8s\/\.#a\.yaml is no file .*\nleft out: k8s\/pipe\.yaml .*\nleft out: k8s\/round\.yaml /,
  );
  assert.match(
    (await w.run('deploy -f k8s/round.yaml')).stderr,
    /^error: cannot read k8s\/round\.yaml: ELOOP\n$/,
  );
  const asked = w.run('deploy -f k8s/pipe.yaml --no-wait');
  await writeFile(join(w.folder, 'k8s/pipe.yaml'), JSON.stringify(configMap('piped', {})));
  assert.equal((await asked).code, 0);
  assert.deepEqual(w.names(), ['ConfigMap/demo/a', 'ConfigMap/demo/piped']);
});

test('--prune removes nothing when something of it is in use', async () => {
  await using w = await world();
  w.write('a.yaml', deployment('users'), configMap('a', {}));
  await w.run('deploy -f a.yaml --no-wait');
  await applied(w.api.store, 'sb', { forks: [fork('users')] });
  w.write('a.yaml', configMap('b', {}));
  const { code, stderr } = await w.run('deploy -f a.yaml --prune --no-wait');
  assert.equal(code, 1);
  assert.match(stderr, /Deployment "users" in namespace "demo" is forked by sandbox sb/);
  assert.deepEqual(w.names(), ['Deployment/demo/users', 'ConfigMap/demo/a']);
});

test('what was warned of is counted the next time, and repeated with -v', async () => {
  await using w = await world();
  const account = { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'x', namespace: 'demo' } };
  const asked = deployment('users', { resources: { limits: { 'nvidia.com/gpu': 1 } } });
  w.write('a.yaml', asked, account);
  const first = await w.run('deploy -f a.yaml --no-wait');
  assert.match(
    first.stderr,
    /^warning: a\.yaml:1:\d+: .*nvidia.*\nwarning: left out: 1 ServiceAccount: .* \(-v lists them\)\n/,
  );
  w.write('a.yaml', configMap('before', {}), asked, account);
  const second = await w.run('deploy -f a.yaml --no-wait');
  assert.match(
    second.stderr,
    /^2 warnings as before \(-v repeats them\)\nwarning: an image .*\nconfigmap\/before created\n/,
  );
  w.write('many.yaml', ...['a', 'b', 'c'].map(name => ({ ...asked, metadata: { name, namespace: 'demo' } })));
  assert.match(
    (await w.run('deploy -f many.yaml --no-wait')).stderr,
    /^warning: many\.yaml:1:\d+: .*nvidia.* \(and in 2 other places; -v lists them\)\n/,
  );
  assert.equal((await w.run('deploy -f many.yaml --no-wait -v')).stderr.match(/nvidia/g)?.length, 3);
  w.write('a.yaml', asked, account, { ...account, metadata: { name: 'y' } });
  assert.match((await w.run('deploy -f a.yaml --no-wait')).stderr, /^warning: left out: 2 ServiceAccount/);
  assert.match((await w.run('deploy -f a.yaml --no-wait -v')).stderr, /^warning: a\.yaml:1:\d+: .*nvidia/);
});

test('a Job that has run is replaced when what it runs has changed, and deploy says so', async () => {
  await using w = await world();
  const name = 'Job/demo/migrate';
  w.write('k8s/job.yaml', job('migrate'));
  assert.match((await w.run('deploy -f k8s --no-wait')).stderr, /^job\/migrate created$/m);
  const of = runOf(asWorkload(w.api.store.get('manifest', name)!.spec)!, 0);
  const [startedAt, endedAt] = ['2030-01-01T00:00:00Z', '2030-01-01T00:00:01Z'];
  await w.api.store.modify('manifest', name, ({ secret }) => ({
    secret: { ...secret, run: { of, phase: 'succeeded', startedAt, endedAt } },
  }));
  assert.match((await w.run('deploy -f k8s --no-wait')).stderr, /^job\/migrate unchanged$/m);
  w.write('k8s/job.yaml', job('migrate', { args: ['--to', '2'] }));
  assert.match((await w.run('deploy -f k8s --no-wait')).stderr, /^job\/migrate replaced$/m);
});

test('undeploy by files, by name, by namespace and by folder', async () => {
  await using w = await world();
  w.write('offshoot.yaml', { images: {} });
  w.write('k8s/a.yaml', configMap('a', {}), configMap('b', {}), deployment('users'));
  w.write('more/c.yaml', configMap('c', {}), nowhere('d'));
  const all = async () => assert.equal((await w.run('deploy -f k8s -f more --no-wait')).code, 0);
  await all();
  // What left the file since is removed all the same: it came from there.
  w.write('k8s/a.yaml', configMap('a', {}), configMap('new', {}));
  const byFile = await w.run('undeploy -f k8s');
  assert.match(byFile.stderr, /^configmap\/new does not exist; nothing to do\n/);
  assert.deepEqual(w.names(), ['ConfigMap/demo/c', 'ConfigMap/default/d']);
  await all();
  assert.equal((await w.run('undeploy configmap/a ConfigMap/c -n demo')).code, 0);
  assert.deepEqual(w.names(), ['ConfigMap/default/d', 'ConfigMap/demo/new']);
  assert.match((await w.run('undeploy configmap/d')).stderr, /ConfigMap\/default\/d is gone/);
  assert.match(
    (await w.run('undeploy pod/d')).stderr,
    /^pod\/d in namespace default does not exist; nothing to do/,
  );
  await all();
  const unasked = await w.run('undeploy -n demo');
  assert.match(unasked.stderr, /namespace demo/);
  assert.notEqual(unasked.code, 0);
  assert.equal((await w.run('undeploy -n demo --yes')).code, 0);
  assert.deepEqual(w.names(), ['ConfigMap/default/d']);
  assert.equal((await w.run('undeploy --folder . --yes')).code, 0);
  assert.deepEqual(w.names(), []);
  assert.equal((await w.run('undeploy')).code, 2);
});

test('an offshoot.yaml that is not valid: each problem with its place; undeploy does not need it', async () => {
  await using w = await world();
  w.write('k8s/a.yaml', configMap('a', {}));
  w.write('offshoot.yaml', { images: {} });
  assert.equal((await w.run('deploy -f k8s --no-wait')).code, 0);
  writeFileSync(join(w.folder, 'offshoot.yaml'), 'images:\n  web: {dir: ., comand: [node, 8080]}\n');
  const bad = await w.run('deploy -f k8s');
  assert.equal(bad.code, 2);
  assert.match(
    bad.stderr,
    /^\/.*\/offshoot\.yaml:2:3: .*missing field "command"\n\/.*:2:17: .*\(did you mean "command"\?\)\nerror: .*\/offshoot\.yaml is not valid: 2 problems\nhint: /,
  );
  assert.equal((await w.run('undeploy -f k8s')).stderr, 'ConfigMap/demo/a is gone\n');
  const { stderr } = await w.run('deploy -f k8s --config nix.yaml');
  assert.match(stderr, /^error: cannot read .*nix\.yaml: it does not exist\n/);
});

test('undeploy leaves disks, and says so; with --disks those go that are there for nothing else', async () => {
  await using w = await world();
  const claim = {
    apiVersion: 'v1',
    kind: 'PersistentVolumeClaim',
    metadata: { name: 'data-db-0', namespace: 'demo' },
  };
  w.write('k8s/a.yaml', statefulSet('db', { replicas: 2 }));
  const disks = [
    { namespace: 'demo', claim: 'data-db-0' },
    { namespace: 'demo', claim: 'data-db-1' },
    { namespace: 'demo', claim: 'of-nobody' },
  ];
  w.api.disks.push(...disks);
  assert.equal((await w.run('deploy -f k8s --no-wait')).code, 0);
  assert.equal(
    (await w.run('undeploy -f k8s')).stderr,
    'StatefulSet/demo/db is gone\n2 disks (demo/data-db-0, demo/data-db-1) stay, see "offshoot disk list"\n',
  );
  w.write('claims/b.yaml', claim);
  assert.equal((await w.run('deploy -f k8s -f claims --no-wait')).code, 0);
  const unasked = await w.run('undeploy -f k8s --disks');
  assert.match(unasked.stderr, /1 objects/);
  assert.equal(unasked.code, 2);
  assert.equal(
    (await w.run('undeploy -f k8s --disks --yes')).stderr,
    'StatefulSet/demo/db is gone\ndisk demo/data-db-1 is gone\n',
  );
  assert.deepEqual(w.api.disks, [disks[0], disks[2]]);
});

test('undeploy leaves alone what came from another folder', async () => {
  await using w = await world();
  w.write('one/a.yaml', configMap('a', {}));
  w.write('two/a.yaml', configMap('a', {}));
  await w.run('deploy -f one --no-wait');
  const { code, stderr } = await w.run('undeploy -f two');
  assert.equal(code, 2);
  assert.match(
    stderr,
    /ConfigMap "a" in namespace "demo" was deployed from .*\/one; undeploy it from there, or by its name/,
  );
  assert.deepEqual(w.names(), ['ConfigMap/demo/a']);
});

test('-k renders by what is installed, and says what to install', async () => {
  await using w = await world();
  w.write('overlay/kustomization.yaml', {});
  const none = await w.run('deploy -k overlay --no-wait', { env: { PATH: w.folder } });
  assert.equal(none.code, 1);
  assert.match(
    none.stderr,
    /^error: overlay needs Kustomize, and neither kustomize nor kubectl is installed\nhint: install one/,
  );
  const program = (name: string, script: string) => {
    writeFileSync(join(w.folder, name), `#!/bin/sh\n${script}\n`);
    chmodSync(join(w.folder, name), 0o755);
  };
  const rendered = JSON.stringify(configMap('rendered', {}));
  program('kubectl', `[ "$1" = kustomize ] && [ -f "$2/kustomization.yaml" ] && echo '${rendered}'`);
  assert.equal((await w.run('deploy -k overlay --no-wait', { env: { PATH: w.folder } })).code, 0);
  assert.equal(
    w.api.store.get('manifest', 'ConfigMap/demo/rendered')?.secret?.from?.file,
    join(w.folder, 'overlay'),
  );
  program('kustomize', 'echo "no base" >&2; exit 1');
  const code = async () => {
    const { stderr } = await w.run('deploy -k overlay -o json', { env: { PATH: w.folder } });
    return (JSON.parse(stderr) as ErrorBody).code;
  };
  assert.equal(await code(), 'deploy/kustomize-failed');
  const failed = await w.run('deploy -k overlay --no-wait', { env: { PATH: w.folder } });
  assert.equal(failed.code, 1);
  rmSync(join(w.folder, 'kustomize'));
  rmSync(join(w.folder, 'kubectl'));
  assert.equal(await code(), 'deploy/no-kustomize');
  assert.match(failed.stderr, /^error: .*kustomize build could not render overlay\n {2}\| no base\nhint: /);
});

test('what holds nothing, or half of something, is named', async () => {
  await using w = await world();
  mkdirSync(join(w.folder, 'empty'));
  writeFileSync(join(w.folder, 'blank.yaml'), '# nothing\n---\n');
  writeFileSync(join(w.folder, 'half.yaml'), 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a\n');
  const said = async (args: string) => {
    const { code, stderr } = await w.run(args);
    return `${code} ${stderr}`;
  };
  assert.match(await said('deploy -f empty'), /^2 error: empty holds no \.yaml, \.yml or \.json file\n$/);
  assert.match(
    await said('deploy -f blank.yaml'),
    /^2 error: there is no object of Kubernetes in blank\.yaml\nhint: .*-R/,
  );
  assert.match(
    await said('deploy -f half.yaml'),
    /^2 half\.yaml:\d+:\d+: .*\nerror: half\.yaml is not valid: 1 problem\n/,
  );
  assert.match(await said('deploy -f nix.yaml'), /^2 error: cannot read nix\.yaml: it does not exist\n$/);
  assert.match(
    await said('deploy -f https://example.com/a.yaml'),
    /^2 error: https:.* is not read from here; pipe it: curl /,
  );
  assert.equal(
    await said('deploy half.yaml'),
    '2 error: name files and folders with -f: offshoot deploy -f half.yaml\n',
  );
  assert.equal(await said('deploy -k nix'), '2 error: cannot read nix: it does not exist\n');
  w.write('good.yaml', nowhere('a'));
  for (const namespace of ['Bad_NS', '../../x', 'a.b'])
    assert.match(
      await said(`deploy -f good.yaml -n ${namespace}`),
      /^2 error: the request is not valid: namespace: only lowercase letters, digits and hyphens are allowed/,
    );
  assert.match(
    await said('deploy'),
    /^2 error: name a file or folder with -f, or a folder of Kustomize with -k\n$/,
  );
  const blank = JSON.parse((await w.run('deploy -f blank.yaml -o json')).stderr) as ErrorBody;
  assert.equal(blank.code, 'manifest/none');
  assert.deepEqual(w.names(), []);
});

test('a stream of many megabytes is read beside the loop', async () => {
  await using w = await world();
  const text = 'x'.repeat(2_000);
  const crd = {
    ...{
      apiVersion: 'apiextensions.k8s.io/v1',
      kind: 'CustomResourceDefinition',
      metadata: { name: 'c.x.io' },
    },
    spec: { versions: Array.from({ length: 200 }, (_, i) => ({ name: `v${i}`, description: text })) },
  };
  const maps = Array.from({ length: 800 }, (_, i) => configMap(`c${i}`, { text }));
  const input = [...maps, crd, crd, crd].map(object => JSON.stringify(object)).join('\n---\n');
  assert.ok(input.length > 2.5 * 2 ** 20);
  const { code, stderr } = await w.run('deploy -f - --no-wait', { input });
  assert.equal(code, 0, stderr.slice(0, 2_000));
  assert.equal(w.names().length, 800);
  const bytes = Buffer.from(JSON.stringify({ files: [{ file: 'a', text: input }] }));
  await assert.rejects(readManifestsAside(bytes, [], { deadlineMs: 1 }), { code: 'document/too-large' });
  const bad = await w.run('deploy -f - --no-wait', { input: `${input}\n---\nkind: [\n` });
  assert.match(bad.stderr, /error: <stdin> is not valid: \d+ problem/);
  assert.equal(bad.code, 2);
});
