/** The objects that a step is in a cluster. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { outputPathProblem, stepObjects } from '../../../src/drivers/cluster/step-objects.ts';
import type { StepSpec } from '../../../src/drivers/contract.ts';
import type { PodSpec } from '../../../src/model/kubernetes.ts';

const id = 'fix.usersDb.create.provision';
const place = { namespace: 'ours', installation: 'ours', image: 'offshoot:1', longestMs: 90_500 };
const spec: StepSpec = {
  script: '#!/usr/bin/env -S node --test\n',
  inputs: [
    { name: 'parent-branch', value: 'a secret' },
    { name: 'config', value: 'another', as: { path: '/etc/app/config' } },
  ],
  outputs: [
    { name: 'url', valueFromPath: '/outputs/url' },
    { name: 'deeper', valueFromPath: '/outputs/a/deeper' },
    { name: 'own', valueFromPath: 'own' },
  ],
  env: { SIGNADOT_SANDBOX_NAME: 'fix' },
  keep: [],
};

const objects = (more: Partial<StepSpec> = {}, at = place) => {
  const { job, ...rest } = stepObjects(id, { ...spec, ...more }, at, 'a key');
  const made = job('uid-1') as unknown as Job;
  return { ...rest, made, pod: made.spec.template.spec };
};

describe('the objects of a step in a cluster', () => {
  it('are a Secret with all that is given to it, and a Job of that Secret that is never begun again', () => {
    const { secret, made, pod, name } = objects();
    assert.match(name, /^step-fix-provision-[0-9a-f]{10}$/);
    assert.deepEqual(made.metadata.ownerReferences, [
      { apiVersion: 'v1', kind: 'Secret', name, uid: 'uid-1' },
    ]);
    assert.deepEqual(
      [made.spec.backoffLimit, made.spec.activeDeadlineSeconds, pod.restartPolicy],
      [0, 91, 'Never'],
    );
    const values = Object.values(secret.stringData as Record<string, string>);
    for (const value of ['a secret', 'another', 'a key', spec.script, 'fix'])
      assert.ok(values.includes(value));
    assert.doesNotMatch(JSON.stringify(made), /a secret|another|a key/);
    const [main] = pod.containers;
    assert.deepEqual(main!.command, ['/usr/bin/env', '-S node --test', '/offshoot/script']);
    assert.deepEqual(
      main!.env?.map(({ name }) => name),
      ['SIGNADOT_SANDBOX_NAME', 'PARENT_BRANCH'],
    );
    assert.equal(pod.automountServiceAccountToken, false);
  });

  it('have a folder of their own for each folder of outputs, which a container of ours reads', () => {
    const { pod, secret } = objects();
    const [main] = pod.containers;
    const [reader] = pod.initContainers!;
    assert.deepEqual(
      main!.volumeMounts!.map(({ mountPath }) => mountPath),
      ['/outputs', '/offshoot/work', '/offshoot/script', '/etc/app/config'],
    );
    assert.deepEqual(
      [reader!.name, reader!.image, reader!.restartPolicy],
      ['offshoot-outputs', 'offshoot:1', 'Always'],
    );
    const plan = JSON.parse((secret.stringData as { outputs: string }).outputs) as {
      outputs: { file: string }[];
    };
    assert.deepEqual(
      plan.outputs.map(({ file }) => file),
      [
        '/offshoot/offshoot-folder-0/url',
        '/offshoot/offshoot-folder-0/a/deeper',
        '/offshoot/offshoot-folder-1/own',
      ],
    );
    assert.equal(objects({ outputs: [] }).pod.initContainers, undefined, 'who makes nothing needs no reader');
  });

  it('read outputs as who has written them, as far as the document says', () => {
    const reader = (podTemplateOverlay: string, image?: string) =>
      objects({ runner: { podTemplateOverlay, ...(image && { image }) } }).pod.initContainers![0]!
        .securityContext as { runAsUser?: number };
    assert.equal(reader('{}').runAsUser, undefined, 'our image says who');
    assert.equal(reader('{}', 'postgres:18').runAsUser, 0);
    assert.equal(
      reader('spec: { securityContext: { runAsNonRoot: true } }', 'postgres:18').runAsUser,
      undefined,
    );
    const overlay = 'spec: { containers: [{ name: main, securityContext: { runAsUser: 70 } }] }';
    assert.equal(reader(overlay, 'postgres:18').runAsUser, 70);
  });

  it('are the same step for the next controller, and another one when anything else has changed', () => {
    const { hash, name } = objects();
    assert.equal(objects({ env: { ...spec.env, OFFSHOOT_API_KEY: 'of another' } }).hash, hash);
    assert.notEqual(objects({ script: 'other' }).hash, hash);
    assert.notEqual(objects({ env: { SIGNADOT_SANDBOX_ID: 'of a sandbox with the same name' } }).hash, hash);
    assert.notEqual(objects({ runner: { image: 'x' } }).hash, hash);
    assert.notEqual(objects({}, { ...place, installation: 'another' }).name, name);
    assert.equal(objects({ runner: { namespace: 'signadot' } }).namespace, 'signadot');
    const long = stepObjects(`${'s'.repeat(30)}.r.create.${'p'.repeat(30)}`, spec, place, '').name;
    assert.ok(long.length <= 58, long);
  });
});

it('outputs are where they hide nothing of an image', () => {
  for (const path of ['/tmp/url', '/outputs/url', 'url', 'a/url', '/usr/share/ours/url', '/etc/ours/url'])
    assert.equal(outputPathProblem(path), undefined, path);
  for (const path of [
    '/url',
    '/etc/url',
    '/usr/bin/url',
    '/dev/shm/url',
    '/proc/url',
    '../url',
    '/tmp/../url',
  ])
    assert.ok(outputPathProblem(path) !== undefined, path);
});

// --- internal ------------------------------------------------------------------------------------

type Job = {
  readonly metadata: { readonly ownerReferences: object };
  readonly spec: {
    readonly backoffLimit: number;
    readonly activeDeadlineSeconds: number;
    readonly template: { readonly spec: PodSpec };
  };
};
