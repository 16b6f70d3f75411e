import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { it } from 'node:test';
import { nameServer } from '../../src/lib/name-server.ts';
import { tempDir } from '../support/temp.ts';

it('is the first of IPv4 that the machine names, as of now', async () => {
  await using dir = await tempDir();
  const file = join(dir.path, 'resolv.conf');
  assert.equal(nameServer(file), '127.0.0.1'); // no file: who listens at the machine itself
  for (const [text, found] of [
    ['nameserver 192.0.2.1\nnameserver 192.0.2.2\n', '192.0.2.1'],
    [
      'search example.org\n# nameserver 192.0.2.1\n;nameserver 192.0.2.1\n \tnameserver\t192.0.2.3',
      '192.0.2.3',
    ],
    ['nameserver 2001:db8::1\nnameserver 192.0.2.4\n', '192.0.2.4'],
    ['nameserver 2001:db8::1\n', '127.0.0.1'],
    ['', '127.0.0.1'],
  ] as const) {
    writeFileSync(file, text);
    assert.equal(nameServer(file), found, text);
  }
});
