import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { it } from 'node:test';
import { findProgram } from '../../src/lib/find-program.ts';
import { tempDir } from '../support/temp.ts';

it('finds programs as execvp does', async () => {
  await using dir = await tempDir();
  const at = (...names: string[]) => join(dir.path, ...names);
  for (const folder of ['first', 'second', 'first/both']) await mkdir(at(folder));
  await writeFile(at('first', 'text'), '');
  await writeFile(at('second', 'text'), '', { mode: 0o755 });
  await writeFile(at('second', 'both'), '', { mode: 0o755 });
  const path = `${at('first')}:second`;
  assert.equal(await findProgram('text', path, dir.path), at('second', 'text')); // the other is not executable
  assert.equal(await findProgram('both', path, dir.path), at('second', 'both')); // the other is a folder
  assert.equal(await findProgram('./second/both', '', dir.path), at('second', 'both'));
  assert.equal(await findProgram('neither', path, dir.path), undefined);
  assert.equal(await findProgram('./first/text', path, dir.path), undefined);
});
