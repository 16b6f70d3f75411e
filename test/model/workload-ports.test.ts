import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Container } from '../../src/model/kubernetes.ts';
import { listenerOf, servedPorts, workloadPorts } from '../../src/model/workload-ports.ts';
import { deployment, service } from '../support/documents.ts';

const silent = deployment('users', { ports: [] });

test('a workload is sent to at what Services name by number, declared or not', () => {
  const services = [
    service('users', { name: 'a', port: 80, targetPort: 8080 }, { name: 'b', port: 9090 }),
    service('users', { port: 81, targetPort: 8080 }, { name: 'dns', port: 53, protocol: 'UDP' }),
    service('other', { port: 4000 }),
  ];
  assert.deepEqual(servedPorts(silent, services), [8080, 9090]);
  assert.deepEqual(workloadPorts(silent, services), [8080, 9090]);
  assert.deepEqual(servedPorts(deployment('users'), services), [8080, 9090]);
  assert.deepEqual(workloadPorts(deployment('users'), services), [3000, 8080, 9090]);
  const elsewhere = services.map(s => ({ ...s, metadata: { ...s.metadata, namespace: 'other' } }));
  assert.deepEqual(servedPorts(silent, elsewhere), []);
});

test('what is declared, probed, or meant by a name is no news', () => {
  const known = deployment('users', {
    readinessProbe: { httpGet: { port: 8080 } },
    livenessProbe: { grpc: { port: 9 } },
  });
  const services = [
    service('users', { name: 'a', port: 3000 }, { name: 'b', port: 80, targetPort: 'http' }),
    service('users', { name: 'c', port: 81, targetPort: 8080 }, { name: 'd', port: 9 }),
  ];
  assert.deepEqual(servedPorts(known, services), []);
  assert.deepEqual(workloadPorts(known, services), [3000, 8080, 9]);
});

test('the container that listens is the one that is probed there, else the first that says nothing of ports', () => {
  const a: Container = { name: 'a', image: 'a', ports: [{ containerPort: 1 }] };
  const b: Container = { name: 'b', image: 'b' };
  const c: Container = { name: 'c', image: 'c', livenessProbe: { tcpSocket: { port: 8080 } } };
  assert.equal(listenerOf(8080, [a, b, c])?.name, 'c');
  assert.equal(listenerOf(8081, [a, b, c])?.name, 'b');
  assert.equal(listenerOf(8081, [a])?.name, 'a');
});
