import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { it } from 'node:test';
import { tryExclusive } from '../../src/lib/exclusive.ts';
import { exec } from '../../src/lib/exec.ts';
import { tempDir } from '../support/temp.ts';

const module = new URL('../../src/lib/exclusive.ts', import.meta.url).href;

/** Another process that tries for the lock, says whether it has it, and keeps it until its input ends. */
const holder = (file: string) => [
  '--input-type=module',
  '-e',
  `import { tryExclusive } from ${JSON.stringify(module)};
   const release = tryExclusive(${JSON.stringify(file)});
   console.log(release === undefined ? 'refused' : 'has it');
   process.stdin.resume().on('end', () => release?.());`,
];

const elsewhere = async (file: string) => (await exec(process.execPath, holder(file))).stdout.trim();

it('has one holder, in whatever process, until it is released', async () => {
  await using dir = await tempDir();
  const file = join(dir.path, 'lock');
  const release = tryExclusive(file);
  assert.ok(release);
  try {
    assert.equal((await stat(file)).mode & 0o777, 0o600);
    assert.deepEqual(await readdir(dir.path), ['lock'], 'a journal would need room on the disk');
    assert.equal(tryExclusive(file), undefined);
    // Nor has our second try released what the kernel holds for our process.
    assert.equal(await elsewhere(file), 'refused');
  } finally {
    release();
  }
  assert.equal(await elsewhere(file), 'has it');
  tryExclusive(file)!();
});

it('is released when its holder is killed', async () => {
  await using dir = await tempDir();
  const file = join(dir.path, 'lock');
  const child = spawn(process.execPath, holder(file), { stdio: ['pipe', 'pipe', 'inherit'] });
  try {
    const [said] = await once(child.stdout, 'data');
    assert.equal(String(said).trim(), 'has it');
    assert.equal(tryExclusive(file), undefined);
  } finally {
    child.kill('SIGKILL');
    await once(child, 'exit');
  }
  const release = tryExclusive(file);
  assert.ok(release);
  release();
});
