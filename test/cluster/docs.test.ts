/** The commands of docs/kubernetes.md run on a cluster, as they stand and in their order. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { exec } from '../../src/lib/exec.ts';
import { kubectl, noCluster } from '../support/cluster.ts';

const root = join(import.meta.dirname, '../..');
const contextNamed = !['1', ''].includes(process.env.OFFSHOOT_KUBERNETES ?? '');
const skip =
  noCluster ||
  (contextNamed ? 'the commands of the page use the current context: OFFSHOOT_KUBERNETES=1' : false);

test('the page on Kubernetes', { skip }, async t => {
  const present = await kubectl(['get', 'namespace', 'offshoot', '--ignore-not-found', '-o', 'name']);
  if (present.stdout !== '') return t.skip('the namespace "offshoot" is in use');
  const made = ['offshoot', 'offshoot-offshoot-authority'];
  t.after(() => kubectl(['delete', 'namespace', ...made, '--ignore-not-found', '--wait=false']));
  const page = readFileSync(join(root, 'docs/kubernetes.md'), 'utf8');
  const blocks = [...page.matchAll(/^```sh\n([\s\S]*?)^```$/gm)].map(([, text = '']) => text);
  assert.ok(blocks.length >= 4);
  const said: string[] = [];
  for (const block of blocks)
    said.push((await exec('sh', ['-euc', block], { cwd: root, deadlineMs: 100_000 })).stdout);
  assert.match(said.join('\n'), /sandbox\.offshoot\.dev\/fix-42/);
  assert.match(said.join('\n'), /FIELD: forks <\[\]Object>/);
});
