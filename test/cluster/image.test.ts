/** Our image is whole: all roles run in one pod of it, as an ordinary user without a single capability. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { apply, kubectl, namespace, noImage, ourImage } from '../support/cluster.ts';

test('all roles run in a pod: a project, a branch of it, and SQL', { skip: noImage }, async () => {
  await using ns = await namespace();
  await apply([pod(ns.name)]);
  const at = ['-n', ns.name];
  await kubectl([...at, 'wait', 'pod/all', '--for=condition=Ready', '--timeout=240s']);
  const offshoot = async (...args: string[]) =>
    (await kubectl([...at, 'exec', 'all', '--', 'offshoot', ...args])).stdout;
  assert.equal((await kubectl([...at, 'exec', 'all', '--', 'id', '-u'])).stdout, '1000\n');
  await offshoot('project', 'create', 'shop');
  await offshoot('sql', 'main', '-p', 'shop', '-c', 'create table t as select 41 as n');
  await offshoot('branch', 'create', 'fix-42', '-p', 'shop');
  await offshoot('sql', 'fix-42', '-p', 'shop', '-c', 'update t set n = n + 1');
  assert.match(await offshoot('sql', 'fix-42', '-p', 'shop', '-c', 'select n from t'), /\b42\b/);
  assert.match(await offshoot('sql', 'main', '-p', 'shop', '-c', 'select n from t'), /\b41\b/);
  // The program is process 1 of its pod, and ends when it is told to, before the pod's grace is over.
  await kubectl([...at, 'delete', 'pod', 'all', '--timeout=240s']);
});

// --- internal ------------------------------------------------------------------------------------

const pod = (namespace: string) => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: 'all', namespace },
  spec: {
    restartPolicy: 'Never',
    terminationGracePeriodSeconds: 600,
    securityContext: { runAsNonRoot: true, fsGroup: 1000, seccompProfile: { type: 'RuntimeDefault' } },
    containers: [
      {
        name: 'offshoot',
        image: ourImage,
        imagePullPolicy: 'IfNotPresent',
        args: ['up'],
        securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } },
        readinessProbe: { exec: { command: ['offshoot', 'status'] }, periodSeconds: 2, timeoutSeconds: 10 },
        volumeMounts: [{ name: 'data', mountPath: '/var/lib/offshoot' }],
      },
    ],
    volumes: [{ name: 'data', emptyDir: {} }],
  },
});
