/** `.ci/run` runs both suites and ends with what failed and the sum. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { ExecError, exec } from '../../src/lib/exec.ts';
import { tempDir } from '../support/temp.ts';

const run = join(import.meta.dirname, '../../.ci/run');

/** With an `npm` that prints `lines[0]` for `npm test`, `lines[1]` for the other suite, and ends with 0 when none failed. */
async function ciRun(lines: readonly [string, string]) {
  await using bin = await tempDir();
  const npm = `#!/bin/sh
[ "$1" = test ] && line='${lines[0]}' || line='${lines[1]}'
echo "$* with $OFFSHOOT_LAB"
echo "$line"
case $line in *' 0 failed'*) ;; *) exit 1 ;; esac
`;
  writeFileSync(join(bin.path, 'npm'), npm, { mode: 0o755 });
  const env = { ...process.env, OFFSHOOT_LAB: '', PATH: `${bin.path}:${process.env.PATH}` };
  try {
    return { code: 0, stdout: (await exec(run, [], { env })).stdout };
  } catch (error) {
    if (!(error instanceof ExecError)) throw error;
    return { code: error.exitCode, stdout: error.stdout };
  }
}

const lastLine = (text: string) => text.trimEnd().split('\n').at(-1);

test('all is well', async () => {
  const { code, stdout } = await ciRun(['10 passed, 0 failed, 2 skipped', '5 passed, 0 failed']);
  assert.equal(code, 0);
  assert.equal(lastLine(stdout), '15 passed, 0 failed, 2 skipped');
  assert.match(stdout, /^test with \.\.\/shared\/lab$/m);
  assert.match(stdout, /^run test:kubernetes with \.\.\/shared\/lab$/m);
});

test('a failure of the first does not keep the second from running', async () => {
  const { code, stdout } = await ciRun(['10 passed, 3 failed', '5 passed, 1 failed']);
  assert.equal(code, 1);
  assert.equal(lastLine(stdout), '15 passed, 4 failed');
});

test('what failed stands at the end once more', async () => {
  const { code, stdout } = await ciRun([
    'failed:\nbad.test.ts\n\n1 passed, 1 failed',
    'fine\n5 passed, 0 failed',
  ]);
  assert.equal(code, 1);
  assert.match(
    stdout,
    /\nfine\n5 passed, 0 failed\nof: npm test\nfailed:\nbad\.test\.ts\n\n+6 passed, 1 failed\n$/,
  );
});

test('a cluster that is not there is a failure, and so is a suite of which everything was skipped', async () => {
  for (const second of ['0 passed, 1 failed', '0 passed, 0 failed, 1 skipped']) {
    const { code, stdout } = await ciRun(['10 passed, 0 failed', second]);
    assert.equal(code, 1);
    assert.match(lastLine(stdout) ?? '', /^10 passed, 1 failed/);
  }
});

test('a suite that says nothing at its end has failed', async () => {
  const { code, stdout } = await ciRun(['Segmentation fault', 'Segmentation fault']);
  assert.equal(code, 1);
  assert.equal(lastLine(stdout), '0 passed, 2 failed');
});
