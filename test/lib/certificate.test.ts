/** Certificates as files: what is refused and in which words, and what follows when they change. */
import assert from 'node:assert/strict';
import { createHash, generateKeyPairSync } from 'node:crypto';
import { appendFileSync, chmodSync, readFileSync, renameSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { type CertificateError, followCertificate, loadCertificate } from '../../src/lib/certificate.ts';
import { until } from '../../src/lib/wait.ts';
import { validity, writeServer } from '../support/certificates.ts';
import { tempDir } from '../support/temp.ts';

test('files that cannot be used say which one and why, and nothing of what is in them', async () => {
  await using dir = await tempDir();
  const files = writeServer(dir.path);
  const file = (name: string, text: string, mode = 0o600) => {
    const path = join(dir.path, name);
    writeFileSync(path, text, { mode });
    chmodSync(path, mode);
    return path;
  };
  const secret = readFileSync(files.key, 'utf8');
  const other = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
  const encrypted = other.export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'x' });
  const why = (change: Partial<typeof files>, now = Date.now()): string => {
    try {
      loadCertificate({ ...files, ...change }, now);
    } catch (error) {
      const { message, file, why } = error as CertificateError;
      assert.equal(message, `${file}: ${why}`);
      assert.ok(!message.includes(secret.split('\n')[1]!));
      return message.slice(dir.path.length + 1);
    }
    return 'it can be used';
  };
  assert.equal(why({}), 'it can be used');
  assert.equal(why({ cert: join(dir.path, 'no') }), 'no: it cannot be read (ENOENT)');
  assert.equal(why({ cert: dir.path }), ': it is not a file'.slice(1));
  assert.equal(why({ cert: file('big', 'x'.repeat(2 ** 20 + 1)) }), 'big: it is too large for a PEM file');
  assert.equal(why({ cert: file('text', 'hello') }), 'text: there is no certificate in PEM in it');
  const broken = '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n';
  assert.equal(why({ cert: file('broken', broken) }), 'broken: the certificate in it cannot be read');
  assert.equal(why({ key: file('text', 'hello') }), 'text: there is no private key in PEM in it');
  assert.equal(
    why({ key: file('half', `${secret.slice(0, 60)}\n-----END PRIVATE KEY-----\n`) }),
    'half: the key in it cannot be read',
  );
  assert.equal(
    why({ key: file('locked', String(encrypted)) }),
    'locked: the key in it has a passphrase, which nobody could type',
  );
  assert.equal(
    why({ key: file('open', secret, 0o644) }),
    'open: others may read this key (its mode is 0644, not 0600)',
  );
  assert.equal(
    why({ key: file('other', other.export({ type: 'pkcs8', format: 'pem' }) as string) }),
    `other: it is not the key of the certificate in ${files.cert}`,
  );
  assert.match(why({}, Date.now() + 11 * 86_400_000), /^cert\.pem: it has expired on \d{4}-\d\d-\d\d$/);
  assert.match(why({}, Date.now() - 2 * 86_400_000), /^cert\.pem: it is not valid before .*clock right\?$/);
});

test('one file may hold both, and then it must be for us alone', async () => {
  await using dir = await tempDir();
  const { cert, key } = writeServer(dir.path);
  appendFileSync(cert, readFileSync(key));
  chmodSync(cert, 0o600);
  const { leaf, endPoint } = loadCertificate({ cert, key: cert }, Date.now());
  assert.deepEqual(endPoint, createHash('sha256').update(leaf.raw).digest());
  chmodSync(cert, 0o644);
  assert.throws(() => loadCertificate({ cert, key: cert }, Date.now()), /others may read this key/);
});

test('new files are taken up, also behind a link that is turned; bad ones are not, and are told of once', async () => {
  await using dir = await tempDir();
  const one = writeServer(dir.path);
  const link = join(dir.path, 'live.pem');
  symlinkSync(one.cert, link);
  const told: (string | undefined)[] = [];
  const followed = followCertificate(
    { cert: link, key: one.key },
    { everyMs: 5, onChange: problem => told.push(problem?.why) },
  );
  const soon = (what: string, probe: () => boolean) =>
    until(() => probe() || undefined, { what, deadlineMs: 60_000 });
  try {
    const first = followed.current()!.leaf.serialNumber;
    writeFileSync(one.key, 'nonsense');
    await soon('the problem is seen', () => followed.problem() !== undefined);
    assert.equal(followed.current()!.leaf.serialNumber, first, 'the one before goes on being served');
    await using later = await tempDir();
    const two = writeServer(later.path, undefined, { valid: validity(-1, 20) });
    writeFileSync(one.key, readFileSync(two.key));
    symlinkSync(two.cert, `${link}.new`);
    renameSync(`${link}.new`, link);
    await soon('the new one is served', () => followed.current()!.leaf.serialNumber !== first);
    assert.equal(followed.problem(), undefined);
    assert.deepEqual([told[0], told.at(-1)], [undefined, undefined]);
    assert.equal(told.filter(why => why === 'there is no private key in PEM in it').length, 1);
  } finally {
    followed.close();
  }
});
