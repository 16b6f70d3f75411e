/** How images run, over HTTP. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { testApi } from '../support/api.ts';
import { runCli } from '../support/cli.ts';
import { deployment, fork } from '../support/documents.ts';

const image = (dir: string) => ({ dir, command: ['node', 'app.ts'], env: { TOKEN: 'hidden' } });

test('images of folders are listed with what runs by them, without their variables, and removed', async () => {
  await using api = await testApi();
  const deployed = (folder: string, images: Record<string, ReturnType<typeof image>>) =>
    api.client.manifests.apply({
      files: [
        { file: 'k8s/a.json', path: `${folder}/k8s/a.json`, text: JSON.stringify(deployment('users')) },
      ],
      ...{ folder, images },
    });
  const { applied } = await deployed('/shop', { users: image('/shop/users'), old: image('/shop/old') });
  assert.deepEqual([applied[0]?.folder, applied[0]?.file], ['/shop', '/shop/k8s/a.json']);
  await assert.rejects(deployed('/other', {}), { code: 'namespace/taken' });
  const [users] = await api.client.images.list();
  assert.deepEqual(users, {
    ...{ image: 'users', folder: '/shop', dir: '/shop/users', command: ['node', 'app.ts'] },
    users: ['demo/users'],
  });
  assert.match(
    await api.refused('DELETE', '/api/v1/images?folder=/shop&image=users'),
    /^409 image\/in-use: the image "users" is what runs demo\/users/,
  );
  const cli = (args: readonly string[]) =>
    runCli(args, { env: { OFFSHOOT_API_URL: api.url, OFFSHOOT_API_KEY: api.apiKey } });
  assert.equal((await cli(['image', 'remove', 'old'])).stderr, 'removed old of /shop\n');
  assert.equal((await cli(['image', 'remove', 'old'])).code, 3);
  assert.match(
    (await cli(['image', 'list'])).stdout,
    /^users +\/shop +\/shop\/users +node app.ts +demo\/users$/m,
  );
});

test('a sandbox has images of its own, which its document does not show', async () => {
  await using api = await testApi();
  await api.client.manifests.apply({ files: [{ file: 'a', text: JSON.stringify(deployment('users')) }] });
  const sandbox = { name: 'x', spec: { cluster: 'local', forks: [fork('users')] } };
  const outcome = async (images?: Record<string, ReturnType<typeof image>>) => {
    const applied = await api.client.sandboxes.apply(sandbox, images && { images });
    return [applied.outcome, applied.generation];
  };
  assert.deepEqual(await outcome(), ['created', 1]);
  assert.deepEqual(await outcome({ users: image('/x') }), ['updated', 2]);
  assert.deepEqual(await outcome({ users: image('/x') }), ['unchanged', 2]);
  assert.deepEqual(api.store.get('sandbox', 'x')?.spec.images, { users: image('/x') });
  assert.deepEqual((await api.client.sandboxes.get('x')).spec, sandbox.spec);
});
