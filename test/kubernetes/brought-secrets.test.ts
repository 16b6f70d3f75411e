/** Secrets that move to another namespace: copied once, never over what is there, and the old ones stay until somebody deletes them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bringSecrets } from '../../src/kubernetes/brought-secrets.ts';
import { clusterClient } from '../../src/kubernetes/client.ts';
import type { Log } from '../../src/lib/log.ts';
import { silentLog } from '../../src/lib/log.ts';
import { fakeApiServer } from '../support/fake-api-server.ts';

test('they are copied once, and what is left of them is said', async () => {
  await using api = await fakeApiServer();
  const client = clusterClient(api.access);
  const said: string[] = [];
  const log: Log = { ...silentLog, warn: (_, sentence) => void said.push(sentence) };
  const bring = () => bringSecrets(client, ['authority', 'keys'], { from: 'offshoot', to: 'kept' }, log);
  const put = (namespace: string, text: string) =>
    api.put('secrets', { metadata: { name: 'authority', namespace }, type: 'Opaque', data: { text } });
  await bring();
  assert.deepEqual([api.all('secrets'), said], [[], []]);
  put('offshoot', 'b25l');
  await Promise.all([bring(), bring()]); // two controllers
  assert.deepEqual(api.get('secrets', 'kept/authority')!.data, { text: 'b25l' });
  put('kept', 'dHdv');
  await bring();
  assert.deepEqual(api.get('secrets', 'kept/authority')!.data, { text: 'dHdv' });
  assert.match(
    said.at(-1)!,
    /"authority" is kept in namespace "kept" now; delete the one that is left in "offshoot"/,
  );
  assert.ok(api.get('secrets', 'offshoot/authority'));
  await bringSecrets(client, ['authority'], { from: 'offshoot', to: 'offshoot' }, log);
  client.close();
});
