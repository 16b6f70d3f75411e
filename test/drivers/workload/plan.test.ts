import assert from 'node:assert/strict';
import { it } from 'node:test';
import type { ContainerPlan } from '../../../src/drivers/workload/container-plan.ts';
import { planWorkload } from '../../../src/drivers/workload/plan.ts';
import { fillIn } from '../../../src/drivers/workload/stand-in.ts';
import type { Container } from '../../../src/model/kubernetes.ts';
import { type SpecParts, specOf, testNode } from '../../support/workload.ts';

const images = {
  server: {
    dir: '/app',
    command: ['node', 'app.ts'],
    args: ['--fast'],
    env: { MODE: 'image', LEVEL: 'image' },
  },
};

const where = { node: testNode, networks: false, engine: { why: 'there is none' } };

/** The only container of pod 0 of a Deployment, port 3000 at 4100 and port 9090 at 4101. */
function planOf(container: Partial<Container>, parts?: SpecParts): ContainerPlan {
  const { pod, problem } = planWorkload(specOf(container, { ...parts, images }), where);
  assert.equal(problem, undefined);
  return fillIn(pod!.containers[0]!, { 3000: '4100', 9090: '4101', name: 'web-0' });
}

it('lets command and args replace what the image has, as Kubernetes does', () => {
  const argv = (container: Partial<Container>) => planOf(container).argv;
  assert.deepEqual(argv({}), ['node', 'app.ts', '--fast']);
  assert.deepEqual(argv({ args: ['--slow'] }), ['node', 'app.ts', '--slow']);
  assert.deepEqual(argv({ command: ['sh'] }), ['sh']);
  assert.deepEqual(argv({ command: ['sh'], args: ['-c', 'true'] }), ['sh', '-c', 'true']);
  assert.deepEqual(argv({ command: [], args: [] }), ['node', 'app.ts', '--fast'], 'empty lists are none');
  assert.deepEqual(argv({ args: ['$(PORT)', '$$(PORT)', '$(NOBODY)'] }).slice(2), [
    '4100',
    '$(PORT)',
    '$(NOBODY)',
  ]);
});

it('runs what the entry of the image says in the place of its programs: commands, probes and hooks', () => {
  const programs = { '/app/serve': ['node', 'serve.js'], pg_isready: ['true'] };
  const { pod, problem } = planWorkload(
    specOf(
      {
        command: ['/app/serve', '--port'],
        args: ['80'],
        readinessProbe: { exec: { command: ['pg_isready', '-q'] } },
        livenessProbe: { exec: { command: ['other', '-q'] } },
        lifecycle: { preStop: { exec: { command: ['/app/serve', 'stop'] } } },
      } as Partial<Container>,
      { images: { server: { ...images.server, programs } } },
    ),
    where,
  );
  assert.equal(problem, undefined);
  const { argv, probes, hooks } = pod!.containers[0]!;
  assert.deepEqual(argv, ['node', 'serve.js', '--port', '80']);
  assert.deepEqual(probes.readiness?.check, { kind: 'exec', command: ['true', '-q'] });
  assert.deepEqual(probes.liveness?.check, { kind: 'exec', command: ['other', '-q'] });
  assert.deepEqual(hooks.preStop, { kind: 'exec', command: ['node', 'serve.js', 'stop'] });
});

it('takes a relative workingDir from the folder of the image, and the folder itself for a path inside the image', () => {
  assert.equal(planOf({}).cwd, '/app');
  assert.equal(planOf({ workingDir: 'sub' }).cwd, '/app/sub');
  assert.equal(planOf({ workingDir: '/usr/src/app' }).cwd, '/app');
});

it('orders variables: services, image, envFrom, env, ports', () => {
  const { env, network } = planOf(
    {
      envFrom: [{ configMapRef: { name: 'settings' } }],
      env: [
        { name: 'LEVEL', value: 'env' },
        { name: 'PORT', value: '80' },
        { name: 'URL', value: 'http://$(USERS_SERVICE_HOST):$(PORT)/$(MODE)' },
        { name: 'NODE', valueFrom: { fieldRef: { fieldPath: 'spec.nodeName' } } },
        { name: 'POD', valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } },
      ],
    },
    {
      refs: { configMaps: { 'demo/settings': { MODE: 'map', LEVEL: 'map', PORT: '81' } } },
      network: { env: { USERS_SERVICE_HOST: '127.0.0.9' } },
    },
  );
  assert.deepEqual(env, {
    MODE: 'map',
    LEVEL: 'env',
    URL: 'http://127.0.0.9:4100/map',
    NODE: 'test-node',
    POD: 'web-0',
    PORT: '4100',
    PORT_3000: '4100',
    HOSTNAME: 'web-0',
  });
  assert.deepEqual(network, { USERS_SERVICE_HOST: '127.0.0.9' });
});

it('counts a port that only a probe names, and declared UDP ports, of which none is probed', () => {
  const { containerPorts, probes, env } = planOf({
    ports: [{ containerPort: 3000 }, { containerPort: 53, protocol: 'UDP' }],
    readinessProbe: { httpGet: { port: 9090, path: '/ready', scheme: 'HTTPS' }, initialDelaySeconds: 5 },
  });
  assert.deepEqual(containerPorts, [3000, 9090, 53]);
  assert.equal(env.PORT_9090, '4101');
  assert.deepEqual(probes, {
    readiness: {
      check: { kind: 'http', port: 9090, path: '/ready', tls: true, headers: {} },
      initialDelayMs: 5_000,
      periodMs: 10_000,
      timeoutMs: 1_000,
      successThreshold: 1,
      failureThreshold: 3,
    },
  });
});

it('listens where Services send to, also when nothing is declared; the first is $PORT', () => {
  const plan = (container: Partial<Container>) => planOf(container, { network: { ports: [9090, 3000] } });
  const silent = plan({ ports: [], readinessProbe: { httpGet: { port: 8081 } } });
  assert.deepEqual(silent.containerPorts, [9090, 3000, 8081]);
  assert.equal(silent.env.PORT, '4101');
  const declared = plan({ ports: [{ containerPort: 3000 }] });
  assert.deepEqual(declared.containerPorts, [3000, 9090]);
  assert.equal(declared.env.PORT, '4100');
  assert.deepEqual(declared.probes.readiness?.check, { kind: 'tcp', port: 3000 });
});

it('plans nothing when one container cannot run', () => {
  const spec = specOf({}, { images });
  const { template } = spec.workload.spec;
  const containers = [...template.spec.containers, { name: 'sidecar', image: 'unknown' }];
  const workload = {
    ...spec.workload,
    spec: { ...spec.workload.spec, template: { ...template, spec: { containers } } },
  };
  const { pod, problem } = planWorkload({ ...spec, workload }, where);
  assert.equal(pod, undefined);
  assert.equal(problem!.reason, 'ImageUnknown');
});

it('takes the limits of memory and CPU, rounded up to bytes, and none of zero', () => {
  const limits = (given: Record<string, string | number>) => planOf({ resources: { limits: given } }).limits;
  assert.deepEqual(limits({ memory: '64Mi', cpu: '250m', 'ephemeral-storage': '1Gi' }), {
    memoryBytes: 64 * 2 ** 20,
    cpus: 0.25,
  });
  assert.deepEqual([limits({ memory: '1.5' }), limits({ cpu: 2 })], [{ memoryBytes: 2 }, { cpus: 2 }]);
  assert.deepEqual([limits({ memory: 0, cpu: '0' }), limits({})], [undefined, undefined]);
  assert.deepEqual(planOf({ resources: { requests: { memory: '1Gi' } } }).limits, undefined);
  const patched = planWorkload(specOf({ resources: { limits: { memory: 'much' } } }, { images }), where);
  assert.deepEqual(patched.problem, {
    reason: 'ConfigError',
    message: 'container "main": its limit of memory "much" is no quantity',
  });
});
