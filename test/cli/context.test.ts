/** How a command finds its daemon. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { newKey } from '../../src/api/keys.ts';
import { clientFile, localDaemon } from '../../src/cli/context.ts';
import { OffshootError } from '../../src/model/errors.ts';
import { testApi } from '../support/api.ts';
import { fakeCli } from '../support/cli.ts';
import { tempDir } from '../support/temp.ts';

const file = { url: 'http://127.0.0.1:1', apiKey: 'ofs_file', pid: 1 };
const write = (home: string, content: object = file) => writeFile(clientFile(home), JSON.stringify(content));

test('the address and key that the daemon of the data directory wrote', async () => {
  await using home = await tempDir();
  await write(home.path);
  const connection = (env: Record<string, string> = {}) =>
    fakeCli({ env: { OFFSHOOT_HOME: home.path, ...env } }).cli.client().connection;
  assert.deepEqual(connection(), { url: file.url, apiKey: file.apiKey });
  assert.deepEqual(connection({ OFFSHOOT_API_KEY: 'ofs_mine' }), { url: file.url, apiKey: 'ofs_mine' });
  assert.deepEqual(connection({ OFFSHOOT_API_URL: file.url }), { url: file.url, apiKey: file.apiKey });
  const url = 'https://offshoot.example';
  assert.deepEqual(connection({ OFFSHOOT_API_URL: url, OFFSHOOT_API_KEY: 'ofs_theirs' }), {
    url,
    apiKey: 'ofs_theirs',
  });
});

test('what is missing or wrong is named', async () => {
  await using home = await tempDir();
  const refused = (env: Record<string, string>, code: string, sentence: RegExp) =>
    assert.throws(
      () => fakeCli({ env: { OFFSHOOT_HOME: home.path, ...env } }).cli.client(),
      (error: unknown) =>
        error instanceof OffshootError && error.code === code && sentence.test(error.message),
    );
  refused(
    {},
    'api/unreachable',
    /no offshoot daemon answers at the address in .*client\.json \(no such file\)/,
  );
  await write(home.path);
  for (const url of ['localhost:7400', 'ftp://x', 'http://', 'nonsense'])
    refused({ OFFSHOOT_API_URL: url }, 'config/invalid', /^OFFSHOOT_API_URL=.* it must be a URL such as/);
  // The key of one's own daemon is not sent to others.
  refused({ OFFSHOOT_API_URL: 'http://other:7400' }, 'api/unauthorized', /OFFSHOOT_API_KEY is not set/);
  for (const key of ['ofs_tnF3…XyM', 'ofs_a b', 'ofs_a\nb'])
    refused({ OFFSHOOT_API_KEY: key }, 'api/unauthorized', /holds characters that no key has/);
});

test("a data directory's own daemon, whatever the environment says", async () => {
  await using home = await tempDir();
  await using api = await testApi();
  const env = { OFFSHOOT_HOME: home.path, OFFSHOOT_API_URL: 'http://127.0.0.1:1', OFFSHOOT_API_KEY: 'ofs_x' };
  const found = () => localDaemon(fakeCli({ env }).cli);
  assert.equal(await found(), undefined);
  await write(home.path, { url: api.url, apiKey: api.apiKey, pid: process.pid });
  assert.equal((await found())?.status.pid, process.pid);
  assert.equal((await found())?.client.connection.url, api.url);
  // Killed; somebody else has its port now.
  await write(home.path, { url: api.url, apiKey: newKey(), pid: process.pid });
  assert.equal(await found(), undefined);
  await write(home.path, { url: api.url, apiKey: api.apiKey, pid: 1 });
  assert.equal(await found(), undefined);
  await write(home.path, file);
  assert.equal(await found(), undefined);
});
