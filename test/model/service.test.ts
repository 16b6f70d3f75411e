import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Container, Deployment, Service } from '../../src/model/kubernetes.ts';
import { containerPortOf, parseServiceHost, selects, serviceEnv } from '../../src/model/service.ts';

test('serviceEnv gives the variables that Kubernetes documents', () => {
  const env = serviceEnv([{ name: 'redis-primary', host: '10.0.0.11', ports: [{ port: 6379 }] }]);
  assert.deepEqual(env, {
    REDIS_PRIMARY_SERVICE_HOST: '10.0.0.11',
    REDIS_PRIMARY_SERVICE_PORT: '6379',
    REDIS_PRIMARY_PORT: 'tcp://10.0.0.11:6379',
    REDIS_PRIMARY_PORT_6379_TCP: 'tcp://10.0.0.11:6379',
    REDIS_PRIMARY_PORT_6379_TCP_PROTO: 'tcp',
    REDIS_PRIMARY_PORT_6379_TCP_PORT: '6379',
    REDIS_PRIMARY_PORT_6379_TCP_ADDR: '10.0.0.11',
  });
});

test('serviceEnv names further ports; the first is the plain one', () => {
  const env = serviceEnv([
    {
      name: 'dns',
      host: '::1',
      ports: [
        { name: 'dns-udp', port: 53, protocol: 'UDP' },
        { name: 'web', port: 80 },
      ],
    },
    { name: 'headless', host: '10.0.0.12', ports: [] },
  ]);
  assert.deepEqual(env, {
    DNS_SERVICE_HOST: '::1',
    DNS_SERVICE_PORT: '53',
    DNS_SERVICE_PORT_DNS_UDP: '53',
    DNS_SERVICE_PORT_WEB: '80',
    DNS_PORT: 'udp://[::1]:53',
    DNS_PORT_53_UDP: 'udp://[::1]:53',
    DNS_PORT_53_UDP_PROTO: 'udp',
    DNS_PORT_53_UDP_PORT: '53',
    DNS_PORT_53_UDP_ADDR: '::1',
    DNS_PORT_80_TCP: 'tcp://[::1]:80',
    DNS_PORT_80_TCP_PROTO: 'tcp',
    DNS_PORT_80_TCP_PORT: '80',
    DNS_PORT_80_TCP_ADDR: '::1',
  });
  assert.deepEqual(serviceEnv([]), {});
});

const selectors: readonly (readonly [
  selector: Record<string, string> | undefined,
  labels: Record<string, string>,
  selected: boolean,
])[] = [
  [{ app: 'a' }, { app: 'a', tier: 'x' }, true],
  [{ app: 'a', tier: 'x' }, { app: 'a', tier: 'x' }, true],
  [{ app: 'a', tier: 'x' }, { app: 'a' }, false],
  [{ app: 'a' }, { app: 'b' }, false],
  [{}, { app: 'a' }, false],
  [undefined, { app: 'a' }, false],
];

for (const [selector, labels, selected] of selectors) {
  test(`selector ${JSON.stringify(selector)} on ${JSON.stringify(labels)}: ${selected}`, () => {
    const spec = selector === undefined ? {} : { selector };
    const service: Service = { apiVersion: 'v1', kind: 'Service', metadata: { name: 's' }, spec };
    assert.equal(selects(service, labels), selected);
  });
}

const containers: readonly Container[] = [
  { name: 'side', image: 's' },
  {
    name: 'main',
    image: 'm',
    ports: [
      { name: 'web', containerPort: 8080 },
      { name: 'dns', containerPort: 5353, protocol: 'UDP' },
    ],
  },
];
const deployment: Deployment = {
  apiVersion: 'apps/v1',
  kind: 'Deployment',
  metadata: { name: 'd' },
  spec: { selector: {}, template: { spec: { containers } } },
};

test('containerPortOf: default, number, name', () => {
  assert.equal(containerPortOf({ port: 80 }, deployment), 80);
  assert.equal(containerPortOf({ port: 80, targetPort: 3000 }, deployment), 3000);
  assert.equal(containerPortOf({ port: 80, targetPort: 'web' }, deployment), 8080);
  assert.equal(containerPortOf({ port: 80, targetPort: 'wed' }, deployment), undefined);
});

test('containerPortOf: a named port also matches by protocol', () => {
  assert.equal(containerPortOf({ port: 53, targetPort: 'dns', protocol: 'UDP' }, deployment), 5353);
  assert.equal(containerPortOf({ port: 53, targetPort: 'dns' }, deployment), undefined);
});

const hosts: readonly (readonly [host: string, expected: ReturnType<typeof parseServiceHost>])[] = [
  ['users-service.demo.svc', { kind: 'Service', namespace: 'demo', name: 'users-service' }],
  ['users-service.demo.svc.cluster.local', { kind: 'Service', namespace: 'demo', name: 'users-service' }],
  ['Users-Service.demo.svc.', { kind: 'Service', namespace: 'demo', name: 'users-service' }],
  ['users.demo.deploy', { kind: 'Deployment', namespace: 'demo', name: 'users' }],
  ['users.v2.demo.deploy', { kind: 'Deployment', namespace: 'demo', name: 'users.v2' }],
  ['users.demo.rollout', { kind: 'Rollout', namespace: 'demo', name: 'users' }],
  ['db.demo.statefulset', { kind: 'StatefulSet', namespace: 'demo', name: 'db' }],
  ['users.demo', undefined],
  ['demo.svc', undefined],
  ['.demo.svc', undefined],
  ['users.demo.deploy.cluster.local', undefined],
  ['users.demo.pods', undefined],
  ['example.com', undefined],
  ['users_x.demo.svc', undefined],
  ['', undefined],
];

for (const [host, expected] of hosts) {
  test(`parseServiceHost("${host}")`, () => assert.deepEqual(parseServiceHost(host), expected));
}
