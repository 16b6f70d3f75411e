/** API keys over HTTP. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { until } from '../../src/lib/wait.ts';
import { testApi } from '../support/api.ts';

test('a key is shown once, listed without what makes it a key, and revoked by name or id', async () => {
  await using api = await testApi();
  const made = await api.request('POST', '/api/v1/keys', { body: { name: 'my laptop' } });
  assert.equal(made.status, 201);
  const { key, ...view } = made.json() as { key: string; id: string; preview: string; name: string };
  assert.match(key, /^ofs_[A-Za-z0-9]{40}$/);
  assert.equal(view.name, 'my laptop');
  assert.equal(view.preview, `${key.slice(0, 8)}…${key.slice(-3)}`);
  assert.deepEqual((await api.request('GET', '/api/v1/keys')).json(), [view]);
  assert.deepEqual((await api.request('DELETE', '/api/v1/keys/my%20laptop')).json(), view);
  const other = await api.client.keys.create('other');
  assert.equal((await api.client.keys.revoke(other.id)).name, 'other');
  assert.deepEqual(await api.client.keys.list(), []);
});

test('keys that are refused', async () => {
  await using api = await testApi();
  await api.client.keys.create('laptop');
  const refused = (body: unknown) => api.refused('POST', '/api/v1/keys', body);
  assert.match(
    await refused({ name: 'laptop' }),
    /^409 key\/exists: there is an API key named "laptop" already/,
  );
  await assert.rejects(api.client.keys.create('laptop'), { code: 'key/exists' });
  for (const name of ['', ' x', '-x', 'a/b', 'x'.repeat(64), 'a\nb'])
    assert.match(await refused({ name }), /^400 .*a key name has 1 to 63/, JSON.stringify(name));
  assert.match(await refused({}), /^400 .*name/);
  assert.match(
    await api.refused('DELETE', '/api/v1/keys/nix'),
    /^404 api\/not-found: key "nix" does not exist; see "offshoot key list"/,
  );
});

test('a watch ends when its key is revoked, unless a setting keeps it; those of other keys go on', async () => {
  for (const keepRevoked of [false, true]) {
    await using api = await testApi({ keepRevoked });
    const watch = async (name: string) => {
      const { key } = await api.client.keys.create(name);
      const response = await fetch(`${api.url}/api/v1/watch?kind=project`, {
        headers: { 'offshoot-api-key': key },
      });
      assert.equal(response.status, 200);
      const state = { ended: false };
      const end = () => {
        state.ended = true;
      };
      void response.body!.pipeTo(new WritableStream()).then(end, end);
      return state;
    };
    const [mine, others] = [await watch('mine'), await watch('others')];
    await api.client.keys.revoke('mine');
    if (!keepRevoked) await until(() => mine.ended || undefined, { what: 'its end', deadlineMs: 60_000 });
    else for (let i = 0; i < 20; i++) await new Promise(setImmediate);
    assert.deepEqual([mine.ended, others.ended], [!keepRevoked, false]);
    await api.client.keys.revoke('others');
  }
});
