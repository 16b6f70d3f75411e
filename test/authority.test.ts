/** Certificates that we make ourselves: when they are made again, and who may read their keys. */
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { keepAuthority } from '../src/authority.ts';
import { loadCertificate } from '../src/lib/certificate.ts';
import { tempDir } from './support/temp.ts';

const DAY = 86_400_000;
const names = ['localhost', '127.0.0.1'];

test('made once, renewed in time, and made for what it has to prove', async () => {
  await using home = await tempDir();
  const now = Date.now();
  const keep = (at = now, for_: readonly string[] = names) => {
    const { certificate, server } = keepAuthority(home.path, 'here', for_, at);
    const leaf = loadCertificate(server, at).leaf;
    assert.ok(leaf.verify(new X509Certificate(certificate()).publicKey));
    return [certificate(), leaf.serialNumber] as const;
  };
  const first = keep();
  assert.deepEqual(keep(now + 59 * DAY), first, 'as long as both are good, they stay');
  const renewed = keep(now + 61 * DAY);
  assert.equal(renewed[0], first[0]);
  assert.notEqual(renewed[1], first[1], 'a month before its end there is a new one');
  const more = keep(now + 61 * DAY, [...names, 'dev.example.com']);
  assert.notEqual(more[1], renewed[1], 'another name needs another certificate');
  const later = keep(now + 3_500 * DAY);
  assert.notEqual(later[0], first[0], 'an authority does not last for ever');
  writeFileSync(join(home.path, 'tls', 'server.pem'), 'nonsense');
  assert.equal(keep(now + 3_500 * DAY)[0], later[0]);
  rmSync(join(home.path, 'tls', 'ca-key.pem'));
  assert.notEqual(keep(now + 3_500 * DAY)[0], later[0], 'nobody can sign for an authority without its key');
});

test('keys are for their owner alone', async () => {
  await using home = await tempDir();
  keepAuthority(home.path, 'here', names, Date.now());
  const mode = (file: string) => statSync(join(home.path, 'tls', file)).mode & 0o777;
  assert.deepEqual(
    ['ca.pem', 'ca-key.pem', 'server.pem'].map(file => mode(file).toString(8)),
    ['644', '600', '600'],
  );
  assert.ok(!readFileSync(join(home.path, 'tls', 'ca.pem'), 'utf8').includes('PRIVATE'));
});
