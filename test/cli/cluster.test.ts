/** What the command line makes of `--context`, without a cluster; with one: test/cluster/controller.test.ts. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runCli } from '../support/cli.ts';

test('a command that is not for a cluster says what is', async () => {
  for (const args of [
    ['--context', 'c', 'deploy', '-f', '.'],
    ['--context=c', '--namespace=n', 'sql'],
    ['--context=c', 'env', 'up'],
  ]) {
    const { code, stderr } = await runCli(args);
    assert.equal(code, 2, stderr);
    assert.match(
      stderr,
      /^error: "offshoot (deploy|sql|env)" is not for a cluster: .*(kubectl|sandbox apply)/,
    );
  }
  const { stderr } = await runCli(['identity', 'gateway', '-o', 'json'], { env: { OFFSHOOT_CONTEXT: 'c' } });
  assert.equal((JSON.parse(stderr) as { code: string }).code, 'kubernetes/elsewhere');
});

test('a context that no kubeconfig has is said', async () => {
  const env = { KUBECONFIG: '/nonexistent/kubeconfig' };
  const { code, stderr } = await runCli(['--context', 'c', 'sandbox', 'list'], { env });
  assert.equal(code, 2);
  assert.match(stderr, /\/nonexistent\/kubeconfig does not say how to reach a cluster/);
});
