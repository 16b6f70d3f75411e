import assert from 'node:assert/strict';
import { it } from 'node:test';
import { endpointsOf, previewUrl } from '../../src/model/endpoint.ts';
import { forkOf } from '../support/documents.ts';

const local = { cluster: 'local' };

it('reads all three spellings into one list', () => {
  const endpoints = endpointsOf({
    ...local,
    defaultRouteGroup: { endpoints: [{ name: 'group', target: 'http://users.demo.svc:8080' }] },
    endpoints: [{ name: 'old', host: 'users.demo.deploy', port: 3000, protocol: 'grpc' }],
    forks: [{ forkOf: forkOf('users'), endpoints: [{ name: 'fork', port: 3000 }] }],
  });
  assert.deepEqual(endpoints, [
    {
      name: 'group',
      path: 'spec.defaultRouteGroup.endpoints[0].target',
      target: 'http://users.demo.svc:8080',
      protocol: 'http',
      port: 8080,
      routeType: 'host',
      to: { kind: 'Service', namespace: 'demo', name: 'users' },
      destination: 'svc:demo/users:8080',
    },
    {
      name: 'old',
      path: 'spec.endpoints[0].host',
      target: 'grpc://users.demo.deploy:3000',
      protocol: 'grpc',
      port: 3000,
      routeType: 'host',
      to: { kind: 'Deployment', namespace: 'demo', name: 'users' },
      destination: 'deploy:demo/users:3000',
    },
    {
      name: 'fork',
      path: 'spec.forks[0].endpoints[0]',
      target: 'http://users.demo.deploy:3000',
      protocol: 'http',
      port: 3000,
      routeType: 'fork',
      to: { kind: 'Deployment', namespace: 'demo', name: 'users' },
      destination: 'deploy:demo/users:3000',
    },
  ]);
  assert.deepEqual(endpointsOf(local), []);
});

const targets: readonly (readonly [target: string, port: number, protocol: string])[] = [
  ['http://users.demo.svc', 80, 'http'],
  ['http://users.demo.svc:80/', 80, 'http'],
  ['https://users.demo.svc', 443, 'https'],
  ['https://users.demo.svc:443', 443, 'https'],
  ['grpc://users.demo.svc:50051', 50051, 'grpc'],
  ['grpc://users.demo.svc.cluster.local:443', 443, 'grpc'],
];

for (const [target, port, protocol] of targets) {
  it(`${target} means port ${port}`, () => {
    const [endpoint] = endpointsOf({ ...local, defaultRouteGroup: { endpoints: [{ name: 'e', target }] } });
    assert.deepEqual([endpoint?.port, endpoint?.protocol, endpoint?.to.name], [port, protocol, 'users']);
    assert.equal(endpoint?.destination, `svc:demo/users:${port}`);
  });
}

it('an old endpoint without protocol is http', () => {
  const [endpoint] = endpointsOf({ ...local, endpoints: [{ name: 'e', host: 'users.demo.svc', port: 80 }] });
  assert.equal(endpoint?.protocol, 'http');
});

it('preview URLs name endpoint and sandbox, and the port where it is not the usual one', () => {
  const site = { domain: 'localhost', scheme: 'http', port: 7480 } as const;
  assert.equal(previewUrl(site, 'api', 'pr-1'), 'http://api--pr-1.preview.localhost:7480');
  assert.equal(previewUrl({ ...site, port: 80 }, 'api', 'pr-1'), 'http://api--pr-1.preview.localhost');
  const secure = { domain: 'example.com', scheme: 'https' } as const;
  assert.equal(previewUrl({ ...secure, port: 443 }, 'api', 'x'), 'https://api--x.preview.example.com');
  assert.equal(previewUrl({ ...secure, port: 80 }, 'api', 'x'), 'https://api--x.preview.example.com:80');
});
