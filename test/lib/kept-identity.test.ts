import assert from 'node:assert/strict';
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Identity } from '../../src/lib/identity.ts';
import { keptIdentity } from '../../src/lib/kept-identity.ts';
import { Listeners } from '../../src/lib/listeners.ts';
import { sourceOf, testAuthority } from '../support/identities.ts';
import { tempDir } from '../support/temp.ts';

const trim = ({ cert, key, ca }: Identity) => [cert, key, ca].map(pem => pem.trim());
const none = sourceOf(() => {
  throw new Error('nobody has said it');
});

test('what was given once is there at the next start, until it has expired', async () => {
  await using dir = await tempDir();
  const file = join(dir.path, 'identity.pem');
  const fail = (error: unknown) => assert.fail(String(error));
  assert.throws(() => keptIdentity(none, file, fail).read(), /nobody has said it/);

  const given = testAuthority().issue('node/one');
  const renewed = new Listeners<void>();
  const source = { ...sourceOf(() => given), onRenewed: renewed.add };
  keptIdentity(source, file, fail);
  renewed.tell();
  assert.equal(statSync(file).mode & 0o777, 0o600);
  assert.deepEqual(trim(keptIdentity(none, file, fail).read()), trim(given));

  const old = testAuthority({ forMs: -1 }).issue('node/one');
  keptIdentity({ ...source, read: () => old }, file, fail);
  renewed.tell();
  assert.throws(() => keptIdentity(none, file, fail).read(), /nobody has said it/);
});
