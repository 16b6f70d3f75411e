/** The example's README and Makefile, command by command, in a copy of the example. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, constants, cpSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { root, testDaemon } from '../support/daemon.ts';

const onPath = (program: string): boolean =>
  (process.env.PATH ?? '').split(':').some(dir => {
    try {
      accessSync(join(dir, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });

test('the README of the example, as it is typed', async t => {
  const missing = ['make', 'curl'].filter(program => !onPath(program));
  if (missing.length > 0) return t.skip(`there is no ${missing.join(' and no ')} on this machine`);
  await using daemon = await testDaemon();
  // Beside the original, so that ../../offshoot and the packages are found.
  const copy = mkdtempSync(join(root, 'examples', '.try-'));
  t.after(() => rmSync(copy, { recursive: true, force: true }));
  cpSync(join(root, 'examples', 'users-service'), copy, { recursive: true });

  const { preview } = await daemon.client.status();
  const blocks = [...readFileSync(join(copy, 'README.md'), 'utf8').matchAll(/^```sh\n(.*?)^```$/gms)];
  assert.ok(blocks.length >= 6);
  const script = blocks
    .map(([, text]) => text)
    .join('\n')
    .replaceAll(':7480', `:${preview.port}`)
    .replaceAll('curl ', 'curl -sSf ');
  const child = spawn('sh', ['-eux', '-c', script], {
    cwd: copy,
    env: daemon.env,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', chunk => (output += String(chunk)));
  const [code] = await once(child, 'close');
  assert.equal(code, 0, output);

  const after = (command: string) => output.slice(output.indexOf(command));
  assert.match(after('/info'), /"branch":"main"/);
  assert.match(after('sandbox apply'), /"branch":"sb-xata-test".*"sandbox":"xata-test"/);
  assert.match(after('-X POST'), /"id":6,"name":"Sandbox User"/);
  assert.match(after('sandbox delete'), /sandbox "xata-test" is gone/);
  assert.match(output.trimEnd(), /offshoot is down$/);
});
