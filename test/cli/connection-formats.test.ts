import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Connection, connectionText } from '../../src/cli/connection-formats.ts';

test('one connection in the words of those who connect', () => {
  const to: Connection = {
    host: '127.0.0.1',
    port: 7432,
    user: 'app.br1',
    password: "a'b;c",
    database: 'my db',
  };
  const tls: Connection = { ...to, sslmode: 'verify-full', sslrootcert: '/etc/ca.pem' };
  const url = "postgresql://app.br1:a'b%3Bc@127.0.0.1:7432/my%20db";
  assert.equal(connectionText(to, 'url'), url);
  assert.equal(
    connectionText(tls, 'psql'),
    "PGPASSWORD='a'\\''b;c' psql 'postgresql://app.br1@127.0.0.1:7432/my%20db?sslmode=verify-full&sslrootcert=%2Fetc%2Fca.pem'",
  );
  assert.equal(
    connectionText(to, 'env'),
    [
      ...[
        'PGHOST=127.0.0.1',
        'PGPORT=7432',
        'PGUSER=app.br1',
        "PGPASSWORD='a'\\''b;c'",
        "PGDATABASE='my db'",
      ],
      `DATABASE_URL='${url.replace("'", "'\\''")}'`,
    ].join('\n'),
  );
  assert.equal(
    connectionText(tls, 'jdbc'),
    "jdbc:postgresql://127.0.0.1:7432/my%20db?user=app.br1&password=a'b%3Bc&sslmode=verify-full&sslrootcert=%2Fetc%2Fca.pem",
  );
  assert.equal(
    connectionText(tls, 'dotnet'),
    'Host=127.0.0.1;Port=7432;Database="my db";Username=app.br1;Password="a\'b;c";SSL Mode=VerifyFull;Root Certificate=/etc/ca.pem',
  );
  assert.equal(
    connectionText(tls, 'prisma'),
    `${url}?schema=public&sslmode=require&sslaccept=strict&sslcert=%2Fetc%2Fca.pem`,
  );
  const { password: _, ...unknown } = to;
  assert.equal(connectionText(unknown, 'url'), 'postgresql://app.br1@127.0.0.1:7432/my%20db');
  assert.equal(connectionText(unknown, 'psql'), 'psql postgresql://app.br1@127.0.0.1:7432/my%20db');
});
