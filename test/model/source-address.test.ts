import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readSourceAddress, sourceText } from '../../src/model/source-address.ts';

const read = (text: string) => readSourceAddress(text, file => `contents of ${file}`);

test('an address is read as libpq reads it', () => {
  assert.deepEqual(
    read('postgresql://me:p%40ss@db.example.com:6543/shop?sslmode=verify-full&sslrootcert=ca.pem'),
    {
      server: {
        ...{ host: 'db.example.com', port: 6543, user: 'me', database: 'shop', sslmode: 'verify-full' },
        authorities: 'contents of ca.pem',
      },
      password: 'p@ss',
    },
  );
  const short = { host: '::1', port: 5432, user: 'me', database: 'me', sslmode: 'prefer' };
  assert.deepEqual(read('postgres://me@[::1]'), { server: short, password: '' });
  const socket = { host: '/var/run/postgresql', port: 5433, user: 'me', database: 'db', sslmode: 'disable' };
  assert.deepEqual(read('postgresql:///db?host=/var/run/postgresql&port=5433&user=me').server, socket);
  assert.equal(sourceText(read('postgresql://me:secret@[::1]/shop').server), 'me@[::1]:5432/shop');
});

test('what is none is refused, and its password is not repeated', () => {
  const bad = {
    'mysql://me@h/d': 'it does not begin with postgresql://',
    'postgresql://me:se%cret@h/d': 'a % in it is not followed by two digits',
    'postgresql://h/d': 'it names no user',
    'postgresql://me:secret@/d': 'it names no host',
    'postgresql://me:secret@h:99999/d': 'it is no URL',
    'postgresql://me:secret@a,b/d?host=a,b': 'it names no host, or more than one',
    'postgresql://me:secret@h/d?sslmode=yes': 'sslmode must be one of',
    'postgresql://me:secret@h/d?port=x': 'its port is none',
  };
  for (const [text, why] of Object.entries(bad))
    assert.throws(
      () => read(text),
      (error: Error & { code: string }) => {
        assert.equal(error.code, 'import/bad-source');
        assert.ok(error.message.includes(why), `${text}: ${error.message}`);
        return !error.message.includes('secret');
      },
      text,
    );
});
