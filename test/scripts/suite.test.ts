/** A test file that hangs does not keep the others from their result. */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { root } from '../../scripts/checks.ts';
import { ExecError, exec } from '../../src/lib/exec.ts';
import { until } from '../../src/lib/wait.ts';
import { tempDir } from '../support/temp.ts';

test('a file that is not over in time is killed with its processes, and named with what it had passed', async t => {
  if (process.platform !== 'linux') return t.skip('only Linux shows whose child a process is');
  await using dir = await tempDir();
  const [hung, fine, main, pid] = ['hung.test.ts', 'fine.test.ts', 'main.ts', 'pid'].map(name =>
    join(dir.path, name),
  );
  writeFileSync(
    hung!,
    `import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { suite, test } from 'node:test';
process.on('SIGTERM', () => {});
suite('some', () => {
  test('passes', () => {});
  test('hangs', () => {
    const child = spawn('sleep', ['600'], { detached: true });
    writeFileSync(${JSON.stringify(pid)}, String(child.pid));
    return new Promise(() => {});
  });
});
`,
  );
  writeFileSync(fine!, `import { test } from 'node:test';\ntest('passes, too', () => {});\n`);
  writeFileSync(
    main!,
    `import { close, runFiles } from ${JSON.stringify(join(root, 'scripts/suite.ts'))};
close(await runFiles(${JSON.stringify([hung, fine])}, undefined, 3000));`,
  );
  const { NODE_TEST_CONTEXT: _, ...env } = process.env; // else it would be a part of this file
  const { stdout, exitCode } = await exec(process.execPath, [main!], { env, cwd: root }).then(
    () => assert.fail('it counts as passed'),
    (error: unknown) => (error instanceof ExecError ? error : assert.fail(String(error))),
  );
  assert.equal(exitCode, 1);
  assert.match(stdout, /hung\.test\.ts › \(the whole file\)\n.*not over in time, and was killed/);
  assert.match(stdout, /it had passed:\n +\S*hung\.test\.ts › some › passes\n/);
  assert.match(stdout, /\n2 passed, 1 failed\n$/);
  const sleeper = readFileSync(pid!, 'utf8');
  await until(() => !sleeps(sleeper) || undefined, { what: 'its process is gone', deadlineMs: 10_000 });
});

// --- internal ------------------------------------------------------------------------------------

function sleeps(pid: string): boolean {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('600');
  } catch {
    return false;
  }
}
