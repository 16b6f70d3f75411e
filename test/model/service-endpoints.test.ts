import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { EndpointSlice, Endpoints, Service } from '../../src/model/kubernetes.ts';
import { addressesAt, selectsNothing, serviceOf } from '../../src/model/service-endpoints.ts';

const endpoints: Endpoints = {
  ...{ apiVersion: 'v1', kind: 'Endpoints', metadata: { name: 'db' } },
  subsets: [
    { addresses: [{ ip: '192.0.2.1' }, { ip: '192.0.2.2' }], ports: [{ name: 'sql', port: 5433 }] },
    { addresses: [{ ip: '192.0.2.3' }], ports: [{ port: 9000 }, { name: 'sql', port: 53, protocol: 'UDP' }] },
    {},
  ],
};

const slice: EndpointSlice = {
  ...{ apiVersion: 'discovery.k8s.io/v1', kind: 'EndpointSlice', addressType: 'IPv4' },
  metadata: { name: 'db-x7k2p', labels: { 'kubernetes.io/service-name': 'db' } },
  endpoints: [
    { addresses: ['192.0.2.8'] },
    { addresses: ['192.0.2.9'], conditions: { ready: false } },
    { addresses: ['192.0.2.10'], conditions: { ready: true } },
  ],
  ports: [{ name: 'sql', port: 5434 }],
};

test('ports of Services and of Endpoints belong together by name and protocol', () => {
  const hosts = (...list: readonly string[]) =>
    list.map(text => ({ host: text.split(':')[0], port: Number(text.split(':')[1]) }));
  const all = [endpoints, slice];
  assert.deepEqual(
    addressesAt({ name: 'sql', port: 5432 }, all),
    hosts('192.0.2.1:5433', '192.0.2.2:5433', '192.0.2.8:5434', '192.0.2.10:5434'),
  );
  assert.deepEqual(addressesAt({ port: 80 }, all), hosts('192.0.2.3:9000'));
  assert.deepEqual(addressesAt({ name: 'sql', port: 53, protocol: 'UDP' }, all), hosts('192.0.2.3:53'));
  assert.deepEqual(addressesAt({ name: 'other', port: 5432 }, all), []);
});

test('Endpoints are about the Service of their name, a slice about the one that its label names', () => {
  assert.equal(serviceOf(endpoints), 'db');
  assert.equal(serviceOf(slice), 'db');
  assert.equal(serviceOf({ ...slice, metadata: { name: 'db' } }), undefined);
});

test('a Service that selects nothing leads elsewhere, unless it is another name', () => {
  const service = (spec: Service['spec']): Service => ({
    ...{ apiVersion: 'v1', kind: 'Service', metadata: { name: 'db' }, spec },
  });
  assert.ok(selectsNothing(service({})));
  assert.ok(selectsNothing(service({ selector: {} })));
  assert.ok(!selectsNothing(service({ selector: { app: 'db' } })));
  assert.ok(!selectsNothing(service({ type: 'ExternalName', externalName: 'db.example' })));
});
