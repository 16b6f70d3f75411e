/** What is served by TLS, and what `offshoot doctor` says of it. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { readConfig } from '../src/config.ts';
import { openEncryption } from '../src/encryption.ts';
import { silentLog } from '../src/lib/log.ts';
import { validity, writeServer } from './support/certificates.ts';
import { tempDir } from './support/temp.ts';

const open = (home: string, env: Readonly<Record<string, string>> = {}) =>
  openEncryption(readConfig({ OFFSHOOT_HOME: home, ...env }, 1000), silentLog);

test('PostgreSQL always has a certificate, the API one that was asked for', async () => {
  await using home = await tempDir();
  for (const [env, scheme, host] of [
    [{}, 'http', '127.0.0.1'],
    [{ OFFSHOOT_TLS: 'generated' }, 'https', '127.0.0.1'],
    [
      { OFFSHOOT_TLS: 'generated', OFFSHOOT_ADVERTISE: 'Dev.example.com' },
      'https',
      'x.preview.dev.example.com',
    ],
  ] as const) {
    const encryption = open(home.path, env);
    try {
      assert.equal(encryption.scheme, scheme);
      assert.deepEqual(encryption.files.previews, scheme === 'https' ? encryption.files.postgres : undefined);
      const leaf = open(home.path, { ...env, OFFSHOOT_TLS: 'generated' }).api!.current()!.leaf;
      assert.ok(leaf.checkHost(host) ?? leaf.checkIP(host), host);
      assert.deepEqual(
        encryption.checks().map(({ ok }) => ok),
        [true, true],
      );
      assert.match(encryption.authority!.certificate(), /^-----BEGIN CERTIFICATE-----/);
    } finally {
      await encryption.close();
    }
  }
});

test('files that cannot be used are refused at the start; later they are told of', async () => {
  await using home = await tempDir();
  const files = writeServer(home.path, ['10.0.0.1']);
  const env = {
    OFFSHOOT_TLS_CERT: files.cert,
    OFFSHOOT_TLS_KEY: files.key,
    OFFSHOOT_ADVERTISE: 'dev.example.com',
  };
  const encryption = open(home.path, env);
  try {
    assert.equal(encryption.authority, undefined);
    const check = () => encryption.checks().find(({ name }) => name === 'certificate')!;
    assert.match(check().detail, /it does not prove dev\.example\.com and x\.preview\.dev\.example\.com$/);
    writeFileSync(files.key, 'nonsense');
    assert.throws(() => open(home.path, env), { code: 'host/certificate' });
    encryption.api!.look();
    assert.match(check().detail, /key\.pem: there is no private key in PEM in it$/);
    writeServer(home.path, ['dev.example.com', '*.preview.dev.example.com'], { valid: validity(-1, 3) });
    encryption.api!.look();
    assert.match(check().detail, /expires soon, or has$/);
    writeServer(home.path, ['dev.example.com', '*.preview.dev.example.com']);
    encryption.api!.look();
    assert.equal(check().ok, true);
  } finally {
    await encryption.close();
  }
});
