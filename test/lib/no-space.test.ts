import assert from 'node:assert/strict';
import { constants } from 'node:os';
import { it } from 'node:test';
import { ExecError } from '../../src/lib/exec.ts';
import { isNoSpace } from '../../src/lib/no-space.ts';

it('knows want of room in all its forms, and nothing else', () => {
  const system = (code: string, errno = 0) => Object.assign(new Error(code), { code, errno });
  const program = (stderr: string) => new ExecError({ argv: ['cp'], exitCode: 1, stderr });
  assert.equal(isNoSpace(system('ENOSPC')), true);
  assert.equal(isNoSpace(system('UNKNOWN', -constants.errno.EDQUOT)), true, 'Node has no name for it');
  assert.equal(isNoSpace(program('cp: error writing: No space left on device')), true);
  assert.equal(isNoSpace(program('ERROR: Disk quota exceeded')), true);
  assert.equal(isNoSpace(new Error('outside', { cause: system('ENOSPC') })), true);
  assert.equal(isNoSpace(system('EIO')), false);
  assert.equal(isNoSpace(program('cp: permission denied')), false);
  assert.equal(isNoSpace('ENOSPC'), false);
});
