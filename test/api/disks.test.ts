/** Disks of the baseline, over HTTP and by the command line. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { testApi } from '../support/api.ts';
import { runCli } from '../support/cli.ts';
import { statefulSet } from '../support/documents.ts';

const claim = {
  apiVersion: 'v1',
  kind: 'PersistentVolumeClaim',
  metadata: { name: 'uploads', namespace: 'demo' },
  spec: { accessModes: ['ReadWriteMany'], resources: { requests: { storage: '1Gi' } } },
};

test('disks are listed with whom they are there for, and go when that is nobody', async () => {
  await using api = await testApi();
  const files = [statefulSet('db'), claim].map((object, i) => ({
    file: `${i}`,
    text: JSON.stringify(object),
  }));
  await api.client.manifests.apply({ files });
  api.disks.push(
    { namespace: 'demo', claim: 'data-db-0' },
    { namespace: 'demo', claim: 'data-db-1' },
    { namespace: 'demo', claim: 'uploads' },
  );
  const listed = await api.client.disks.list();
  assert.deepEqual(
    listed.map(disk => disk.users),
    [['StatefulSet/db'], [], ['PersistentVolumeClaim/uploads']],
  );
  assert.equal(listed[0]?.bytes, undefined, 'they are not counted unless somebody asks');
  const cli = (args: readonly string[]) =>
    runCli(args, { env: { OFFSHOOT_API_URL: api.url, OFFSHOOT_API_KEY: api.apiKey } });
  assert.match((await cli(['disk', 'list'])).stdout, /^demo +data-db-0 +4 KiB +StatefulSet\/db$/m);
  await assert.rejects(api.client.disks.delete('demo', 'data-db-0'), {
    code: 'disk/in-use',
    message: 'the disk "data-db-0" in namespace "demo" is there for StatefulSet/db',
  });
  assert.match(await api.refused('DELETE', '/api/v1/disks/demo/no'), /^404 api\/not-found/);
  assert.equal((await cli(['disk', 'delete', 'data-db-1', '-n', 'demo'])).code, 2, 'nobody was asked');
  const gone = await cli(['disk', 'delete', 'data-db-1', '-n', 'demo', '--yes']);
  assert.equal(gone.stderr, 'disk demo/data-db-1 is gone\n');
  assert.deepEqual(
    api.disks.map(disk => disk.claim),
    ['data-db-0', 'uploads'],
  );
});
