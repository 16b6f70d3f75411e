import assert from 'node:assert/strict';
import { test } from 'node:test';
import { declaredSpeech, speechOfPorts } from '../../src/model/speaks.ts';
import { service } from '../support/documents.ts';

test('appProtocol says it, else the beginning of the name, else nobody', () => {
  const says = (name?: string, appProtocol?: string, protocol?: string) =>
    declaredSpeech({
      port: 1,
      ...(name && { name }),
      ...(appProtocol && { appProtocol }),
      ...(protocol && { protocol }),
    });
  for (const name of ['http', 'http-web', 'HTTP2', 'grpc', 'grpc-web', 'grpc-internal'])
    assert.equal(says(name), 'http', name);
  for (const name of ['tcp', 'tcp-cache', 'redis', 'mysql-x', 'amqp', 'https', 'tls-web', 'mongo'])
    assert.equal(says(name), 'tcp', name);
  for (const name of [undefined, 'web', 'api', 'httpish', 'main-http'])
    assert.equal(says(name), undefined, name);
  assert.equal(says('redis', 'kubernetes.io/h2c'), 'http');
  assert.equal(says('http', 'postgresql'), 'tcp');
  assert.equal(says('http', 'example.com/own'), undefined);
  assert.equal(says('dns', undefined, 'UDP'), 'udp');
});

test('what was found counts where nobody says it', () => {
  const ports = [{ name: 'http', port: 80 }, { port: 6379 }, { name: 'x', port: 9 }];
  assert.deepEqual(speechOfPorts(service('users', ...ports), { 6379: 'tcp', 80: 'tcp' }), {
    ...{ 80: 'http', 6379: 'tcp', 9: 'unknown' },
  });
});
