import assert from 'node:assert/strict';
import { open, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { it } from 'node:test';
import { ioctlNumber, libc, read, write } from '../../src/lib/libc.ts';
import { tempDir } from '../support/temp.ts';

const missing = await libc().then(
  () => undefined,
  (error: Error) => error.message,
);

it('numbers requests as the kernel does', () => {
  assert.equal(ioctlNumber(read, 0x94, 43, 48), 0x8030942b); // BTRFS_IOC_QGROUP_LIMIT
  assert.equal(ioctlNumber(read | write, 0x58, 121, 24), 0xc0185879); // FITRIM
});

it('fails with the codes of the system, at once and in a thread', { skip: missing ?? false }, async () => {
  const calls = await libc();
  await using dir = await tempDir();
  await using file = await open(join(dir.path, 'f'), 'w');
  const FIOGETOWN = 0x8903; // only sockets have one
  assert.throws(() => calls.ioctl(file.fd, FIOGETOWN, Buffer.alloc(8)), { code: 'ENOTTY', syscall: 'ioctl' });
  await assert.rejects(calls.ioctlAside(file.fd, FIOGETOWN, Buffer.alloc(8)), { code: 'ENOTTY' });
  await assert.rejects(calls.allocate(-1, 0, 1), { code: 'EBADF', syscall: 'fallocate' });
});

it('gives a file room without changing it', { skip: missing ?? false }, async t => {
  const calls = await libc();
  await using dir = await tempDir();
  await using file = await open(join(dir.path, 'f'), 'w');
  try {
    await calls.allocate(file.fd, 0, 2 ** 20);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EOPNOTSUPP')
      return t.skip('the file system of the temporary folder cannot');
    throw error;
  }
  const { size, blocks } = await stat(join(dir.path, 'f'));
  assert.equal(size, 0);
  assert.ok(blocks * 512 >= 2 ** 20);
});
