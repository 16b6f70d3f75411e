import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isHttp2Greeting, mayBeHttp, readFirstBytes } from '../../../src/proxy/tcp/first-bytes.ts';

const read = (text: string) => readFirstBytes(Buffer.from(text, 'latin1'));

test('lines of HTTP are HTTP, also unusual ones, and the preface of HTTP/2', () => {
  for (const line of [
    'GET / HTTP/1.1\r\n',
    '\r\n\r\nPOST /a?b=c HTTP/1.0\r\nHost: x\r\n',
    'GET http://users/ HTTP/1.1\r\n',
    'OPTIONS * HTTP/1.1\n',
    'CONNECT users:80 HTTP/1.1\r\n',
    'VERSION-CONTROL /x HTTP/1.1\r\n',
    'get /with space HTTP/1.1\r\n',
    'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
    `GET /${'a'.repeat(40_000)} HTTP/1.1\r\n`,
  ])
    assert.equal(read(line), 'http', line.slice(0, 40));
});

test('other protocols are not, though some begin like HTTP', () => {
  for (const bytes of [
    'PING\r\n',
    '*1\r\n$4\r\nPING\r\n', // redis
    'SET a b\r\n',
    'GET /looks-like-a-path\r\n',
    'get key\r\n', // memcached
    'EHLO there\r\n',
    'AMQP\x00\x00\x09\x01',
    '\x16\x03\x01\x02\x00\x01', // TLS
    '\x00\x00\x00\x08\x04\xd2\x16\x2f', // PostgreSQL
    ' GET / HTTP/1.1\r\n',
    `${'a'.repeat(100)}`,
    `SET ${'a'.repeat(40_000)}`,
  ])
    assert.equal(read(bytes), 'other', JSON.stringify(bytes.slice(0, 40)));
});

test('what is not clear yet needs more', () => {
  for (const bytes of ['', '\r\n', 'G', 'GET', 'GET ', 'GET / HTTP/1.1', 'SET a '])
    assert.equal(read(bytes), 'more', bytes);
  assert.equal(mayBeHttp(Buffer.from('\r\nGET /sl')), true);
  assert.equal(mayBeHttp(Buffer.from('SET a ')), false);
});

test('a server that begins with settings of HTTP/2 is one of HTTP, and no other greeting is', () => {
  const settings = (length: number, stream = 0, type = 4) =>
    Buffer.concat([Buffer.from([0, 0, length, type, 0, 0, 0, 0, stream]), Buffer.alloc(length)]);
  for (const length of [0, 6, 18]) assert.ok(isHttp2Greeting(settings(length)));
  const others = [
    settings(5),
    settings(6, 1),
    settings(0, 0, 1),
    Buffer.from('220 mail ready\r\n'),
    Buffer.alloc(4),
  ];
  for (const bytes of others) assert.ok(!isHttp2Greeting(bytes), bytes.toString('hex'));
});
