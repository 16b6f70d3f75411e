import assert from 'node:assert/strict';
import { describe } from 'node:test';
import { nowhere } from '../../src/model/folder.ts';
import type { ImageMap } from '../../src/model/image.ts';
import { forgetUnused, imagesOf, ownerOf } from '../../src/rules/folders.ts';
import { imageEntries, removeImage } from '../../src/rules/images.ts';
import { applyManifests } from '../../src/rules/manifests.ts';
import type { Store } from '../../src/store/contract.ts';
import { applied, configMap, deployment, fork } from '../support/documents.ts';
import { it, testStore } from '../support/stores.ts';

const image = (dir: string): ImageMap => ({ users: { dir, command: ['node'] } });
const name = 'Deployment/demo/users';
const deployFrom = (store: Store, folder: string, images: ImageMap = image(folder), takeOver = false) =>
  applyManifests(store, [deployment('users')], { folder, images, takeOver });
const dirOf = (store: Store) => imagesOf(store, name).users?.dir;

/** As the loop ends a manifest. */
async function removeNow(store: Store, manifest: string): Promise<void> {
  const object = store.get('manifest', manifest)!;
  await store.remove('manifest', manifest);
  await forgetUnused(store, object);
}

describe('a folder', () => {
  it('says how its own images run, and nobody else’s', async () => {
    const store = testStore();
    await deployFrom(store, '/a');
    await applyManifests(store, [{ ...configMap('c', {}), metadata: { name: 'c', namespace: 'other' } }], {
      ...{ folder: '/b', images: image('/b') },
    });
    assert.equal(dirOf(store), '/a');
    assert.deepEqual(store.get('manifest', name)?.secret, { from: { folder: '/a', file: '' } });
    await deployFrom(store, '/a', { other: { dir: '/a', command: ['node'] } });
    assert.equal(dirOf(store), undefined, 'what left the file is gone');
  });

  it('that says nothing of where it is keeps what others like it have said', async () => {
    const store = testStore();
    await deployFrom(store, nowhere, image('/a'));
    await deployFrom(store, nowhere, { other: { dir: '/b', command: ['node'] } });
    assert.deepEqual(Object.keys(store.get('folder', nowhere)!.spec.images), ['users', 'other']);
    assert.equal(ownerOf(store, 'demo'), undefined);
  });

  it('is forgotten with the last manifest of it, as is whose a namespace is', async () => {
    const store = testStore();
    await applyManifests(store, [deployment('users'), configMap('c', {})], { folder: '/a' });
    await removeNow(store, name);
    assert.equal(ownerOf(store, 'demo'), '/a');
    await removeNow(store, 'ConfigMap/demo/c');
    assert.deepEqual([store.list('folder'), store.list('namespace')], [[], []]);
  });
});

describe('a namespace', () => {
  it('belongs to the folder that deployed into it; another one is refused, and changes nothing', async () => {
    const store = testStore();
    await deployFrom(store, '/a');
    const version = store.version();
    await assert.rejects(deployFrom(store, '/b'), {
      code: 'namespace/taken',
      message: 'namespace "demo" belongs to the folder /a, and this is /b',
    });
    await assert.rejects(deployFrom(store, nowhere), { code: 'namespace/taken' });
    assert.equal(store.version(), version);
  });

  it('can be taken over; what the new folder does not deploy stays as it is', async () => {
    const store = testStore();
    await deployFrom(store, '/a');
    await applyManifests(store, [configMap('c', {})], { folder: '/b', images: image('/b'), takeOver: true });
    assert.deepEqual([ownerOf(store, 'demo'), dirOf(store)], ['/b', '/a']);
    await assert.rejects(deployFrom(store, '/a'), { code: 'namespace/taken' });
    await deployFrom(store, '/b');
    assert.equal(dirOf(store), '/b');
  });

  it('goes along when an offshoot.yaml appears above the manifests, and not between neighbours', async () => {
    const store = testStore();
    await deployFrom(store, '/a/k8s', {});
    await deployFrom(store, '/a');
    assert.equal(ownerOf(store, 'demo'), '/a');
    await assert.rejects(deployFrom(store, '/a/k8s', {}), { code: 'namespace/taken' });
    await assert.rejects(deployFrom(store, '/'), { code: 'namespace/taken' });
  });

  it('that nobody has claimed is anybody’s', async () => {
    const store = testStore();
    await deployFrom(store, nowhere);
    await deployFrom(store, '/a');
    assert.equal(ownerOf(store, 'demo'), '/a');
  });
});

describe('an image', () => {
  it('is listed with what runs by it, and removed when nothing does', async () => {
    const store = testStore();
    await deployFrom(store, '/a', { ...image('/a'), old: { dir: '/o', command: ['x'] } });
    await applied(store, 'sb', { forks: [fork('users')] });
    assert.deepEqual(imageEntries(store), [
      { folder: '/a', image: 'users', users: ['demo/users', 'sandbox sb'] },
      { folder: '/a', image: 'old', users: [] },
    ]);
    await assert.rejects(removeImage(store, '/a', 'users'), {
      code: 'image/in-use',
      message: 'the image "users" is what runs demo/users, sandbox sb',
    });
    await assert.rejects(removeImage(store, '/b', 'users'), { code: 'api/not-found' });
    await removeImage(store, '/a', 'old');
    assert.deepEqual(Object.keys(store.get('folder', '/a')!.spec.images), ['users']);
  });
});
