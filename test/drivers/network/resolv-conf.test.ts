import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { it } from 'node:test';
import { podResolvConf } from '../../../src/drivers/network/resolv-conf.ts';
import { tempDir } from '../../support/temp.ts';

it('gives pods the name servers that they reach, and tells when there is none', async () => {
  await using dir = await tempDir();
  const file = async (name: string, text: string) => {
    await writeFile(join(dir.path, name), text);
    return join(dir.path, name);
  };
  const absent = join(dir.path, 'absent');
  const plain = await file('plain', 'nameserver 192.0.2.53\nsearch lan\n');
  const stub = await file('stub', '# stub\nnameserver 127.0.0.53\noptions edns0\n');
  const mixed = await file('mixed', 'search lan\nnameserver 127.0.0.1\nnameserver 192.0.2.9\n');
  assert.deepEqual(podResolvConf([plain, stub]), { text: 'nameserver 192.0.2.53\nsearch lan\n', same: true });
  assert.deepEqual(podResolvConf([stub, plain]), {
    text: 'nameserver 192.0.2.53\nsearch lan\n',
    same: false,
  });
  assert.deepEqual(podResolvConf([mixed, plain]), {
    text: 'search lan\nnameserver 192.0.2.9\n',
    same: false,
  });
  assert.equal(podResolvConf([stub, absent]), undefined);
});
