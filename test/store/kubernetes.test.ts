import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { annotations, finalizer } from '../../src/kubernetes/kinds.ts';
import type { KubernetesObject } from '../../src/kubernetes/resource.ts';
import { until } from '../../src/lib/wait.ts';
import type { Store } from '../../src/store/contract.ts';
import { storeConformance } from '../conformance/store.ts';
import { type FakeApiServer, fakeApiServer } from '../support/fake-api-server.ts';
import { kubernetesStore, storeOn } from '../support/kubernetes-store.ts';

storeConformance('kubernetes', options => kubernetesStore(options), { manifests: false });

const project = { spec: { database: 'app', role: 'app' }, status: null, secret: null };
const branch = (name: string, password = name) => ({
  spec: { project: 'p', name },
  status: null,
  secret: { password },
});
const ready = { state: 'ready', reason: 'R', message: 'm', conditions: [], observedGeneration: 1 } as const;

const [projects, branches, sandboxes] = [
  'projects.offshoot.dev',
  'branches.offshoot.dev',
  'sandboxes.offshoot.dev',
];

const soon = <T>(what: string, probe: () => T | undefined) => until(probe, { what, deadlineMs: 60_000 });
const when = (what: string, probe: () => boolean) => soon(what, () => (probe() ? true : undefined));

async function stores(server: FakeApiServer, count: number) {
  const all = await Promise.all(Array.from({ length: count }, () => storeOn(server)));
  return Object.assign(all, {
    async [Symbol.asyncDispose]() {
      await Promise.all(all.map(store => store.close()));
    },
  }) as unknown as [Store, Store] & AsyncDisposable;
}

/** As kubectl applies a document: without anything that only we write. */
const byHand = (kind: string, name: string, spec: object) => ({
  apiVersion: 'offshoot.dev/v1alpha1',
  kind,
  metadata: { name, namespace: 'offshoot' },
  spec,
});

const secretsOf = (server: FakeApiServer) => server.all('secrets').map(({ metadata }) => metadata.name);

describe('two stores on one cluster', () => {
  it('lose none of many changes at once, and show the same', async () => {
    await using server = await fakeApiServer();
    await using both = await stores(server, 2);
    const [a, b] = both;
    await a.create('project', 'p', { ...project, spec: { database: '', role: 'app' } });
    await when('the project', () => b.get('project', 'p') !== undefined);
    const letters = [...'abcdefghijklmnop'];
    await Promise.all(
      letters.map((letter, i) =>
        both[(i % 2) as 0].modify('project', 'p', ({ spec }) => ({
          spec: { ...spec, database: spec.database + letter },
        })),
      ),
    );
    const all = (store: Store) => [...store.get('project', 'p')!.spec.database].sort().join('');
    await when('both to show all', () => both.every(store => all(store) === letters.join('')));
    assert.deepEqual([a.get('project', 'p')!.generation, b.get('project', 'p')!.generation], [17, 17]);
  });

  it('make only one of what both create', async () => {
    await using server = await fakeApiServer();
    await using both = await stores(server, 2);
    const made = await Promise.allSettled(
      both.map((store, i) => store.create('branch', 'br1', branch(`of${i}`))),
    );
    const codes = made.map(one => (one.status === 'fulfilled' ? 'made' : one.reason.code));
    assert.deepEqual(codes.sort(), ['api/conflict', 'made']);
    await when('both to show it', () => both.every(store => store.get('branch', 'br1') !== undefined));
    assert.deepEqual(both[0]!.get('branch', 'br1')!.secret, both[1]!.get('branch', 'br1')!.secret);
    assert.equal(secretsOf(server).length, 1);
  });

  it('show spec and secret of one write together, in their order, and the last one stays', async () => {
    await using server = await fakeApiServer();
    await using both = await stores(server, 2);
    const [a, b] = both;
    const seen: number[] = [];
    b.onChange(change => {
      if (change.type !== 'put' || change.kind !== 'branch') return;
      const { spec, secret } = b.get('branch', 'br1')!;
      assert.equal(spec.name, secret.password);
      seen.push(Number(spec.name));
    });
    await a.create('branch', 'br1', branch('0'));
    for (let i = 1; i <= 20; i++) {
      const { spec, secret } = branch(String(i));
      await a.modify('branch', 'br1', () => ({ spec, secret }));
    }
    await when('the last one', () => seen.at(-1) === 20);
    assert.deepEqual(
      seen,
      seen.toSorted((x, y) => x - y),
    );
    await when('one Secret', () => secretsOf(server).length === 1);
    await a.remove('branch', 'br1');
    await when('its end', () => b.get('branch', 'br1') === undefined && secretsOf(server).length === 0);
  });

  it('refuse a write to what the other has changed, and then show that', async () => {
    await using server = await fakeApiServer();
    await using both = await stores(server, 2);
    const [a, b] = both;
    await a.create('branch', 'br1', branch('one'));
    const { version } = await soon('the branch', () => b.get('branch', 'br1'));
    server.muteWatches();
    await a.modify('branch', 'br1', () => ({ secret: { password: 'two' } }));
    await assert.rejects(b.update('branch', 'br1', version, { status: ready }), { code: 'store/conflict' });
    assert.equal(b.get('branch', 'br1')!.secret.password, 'two');
    await a.remove('branch', 'br1');
    await assert.rejects(b.update('branch', 'br1', b.get('branch', 'br1')!.version, { status: ready }), {
      code: 'store/conflict',
      message: 'branch "br1" has moved on: it is gone',
    });
    assert.equal(b.get('branch', 'br1'), undefined);
  });

  it('hear what the other records, and count what is said again', async () => {
    await using server = await fakeApiServer();
    await using both = await stores(server, 2);
    const [a, b] = both;
    await a.create('project', 'p', project);
    const event = {
      kind: 'project',
      name: 'p',
      severity: 'warning',
      reason: 'Odd',
      message: 'look',
    } as const;
    for (let i = 0; i < 3; i++) await a.record(event);
    await until(async () => ((await b.events({ limit: 9 })).length === 3 ? true : undefined), {
      what: 'three events',
      deadlineMs: 60_000,
    });
    assert.deepEqual(
      (await a.events({ limit: 9 })).map(e => e.reason),
      ['Odd', 'Odd', 'Odd'],
    );
    const [one, ...more] = server.all('events');
    assert.deepEqual([one!.count, one!.type, more.length], [3, 'Warning', 0]);
    const { uid } = server.get(projects!, 'offshoot/p')!.metadata;
    const of = {
      apiVersion: 'offshoot.dev/v1alpha1',
      kind: 'Project',
      namespace: 'offshoot',
      name: 'p',
      uid,
    };
    assert.deepEqual(one!.involvedObject, of);
  });
});

describe('a store on a cluster', () => {
  it('begins with what is there: order, times and secrets', async () => {
    await using server = await fakeApiServer();
    const first = await storeOn(server);
    for (const id of ['c', 'a', 'b']) await first.create('branch', id, { ...branch(id), status: ready });
    const before = first.list('branch').map(({ version: _, ...rest }) => rest);
    await first.close();
    await using next = await storeOn(server, { firstVersion: 1_000 });
    assert.deepEqual(
      next.list('branch').map(({ version: _, ...rest }) => rest),
      before,
    );
    assert.deepEqual([next.version(), next.since(999), next.since(1_003)], [1_003, undefined, []]);
    assert.ok(next.states().every(({ synced, failures }) => synced && failures === 0));
  });

  it('keeps secrets in Secrets of their owners, and nowhere else', async () => {
    await using server = await fakeApiServer();
    await using all = await stores(server, 1);
    const [store] = all;
    await store.create('branch', 'br1', branch('main', 'hunter2'));
    await store.modify('branch', 'br1', () => ({ status: ready, secret: { password: 'hunter3' } }));
    const others = [branches, 'events'].flatMap(resource => server.all(resource!));
    assert.doesNotMatch(JSON.stringify(others), /hunter|aHVudGVy/);
    const [secret] = await soon('one Secret', () =>
      secretsOf(server).length === 1 ? server.all('secrets') : undefined,
    );
    const { uid } = server.get(branches!, 'offshoot/br1')!.metadata;
    assert.equal(secret!.metadata.ownerReferences?.[0]?.uid, uid);
    assert.equal(secret!.immutable, true);
  });

  it('refuses what a cluster has of its own', async () => {
    await using store = await kubernetesStore();
    const folder = { spec: { images: {} } as never, status: null, secret: null };
    await assert.rejects(store.create('folder', '/x', folder), {
      code: 'kubernetes/not-kept',
      message: 'a folder is not kept in a cluster: the cluster itself is the baseline',
    });
    assert.deepEqual(
      [store.list('manifest'), await store.modify('namespace', 'x', () => ({}))],
      [[], undefined],
    );
    await store.remove('folder', '/x');
  });

  it('says which right is missing, and keeps nothing of such a write', async () => {
    await using server = await fakeApiServer();
    await using all = await stores(server, 1);
    const [store] = all;
    await store.create('project', 'p', project);
    server.fault = ({ method }) =>
      method === 'PUT' ? { status: 403, body: { message: 'User "x" cannot' } } : undefined;
    const change = store.modify('project', 'p', ({ spec }) => ({ spec: { ...spec, role: 'r' } }));
    await assert.rejects(change, {
      code: 'kubernetes/forbidden',
      message:
        'the cluster does not allow "update projects.offshoot.dev "p" in namespace "offshoot"": User "x" cannot',
    });
    assert.equal(store.get('project', 'p')!.spec.role, 'app');
  });

  it('does what was asked for once, also when the answers are lost', async () => {
    await using server = await fakeApiServer();
    await using all = await stores(server, 1);
    const [store] = all;
    /** Each kind of write is done and its answer lost, once. */
    const lose = () => {
      const lost = new Set<string>();
      server.fault = ({ method, resource, subresource }) => {
        const one = `${method} ${resource} ${subresource}`;
        if (method === 'GET' || resource === 'events' || lost.has(one)) return undefined;
        lost.add(one);
        return 'done, then cut';
      };
    };
    lose();
    const made = await store.create('branch', 'br1', branch('main', 'first'));
    assert.deepEqual([made.secret, secretsOf(server).length], [{ password: 'first' }, 1]);
    lose();
    const after = await store.modify('branch', 'br1', ({ secret }) => ({
      secret: { ...secret, tries: (secret.tries ?? 0) + 1 },
    }));
    assert.ok((after?.secret.tries ?? 0) >= 1);
    lose();
    await store.modify('branch', 'br1', () => ({ status: ready, deleted: true }));
    assert.ok(store.get('branch', 'br1')!.deletedAt);
  });

  it('whose other holders hold an object longer shows it no more, and makes none of that name', async () => {
    await using server = await fakeApiServer();
    await using all = await stores(server, 1);
    const [store] = all;
    await store.create('project', 'p', project);
    const object = server.get(projects!, 'offshoot/p')!;
    server.put(projects!, {
      ...object,
      metadata: { ...object.metadata, finalizers: [finalizer, 'of/others'] },
    });
    await store.remove('project', 'p');
    assert.equal(store.get('project', 'p'), undefined);
    await assert.rejects(store.create('project', 'p', project), { code: 'api/conflict' });
    server.put(projects!, {
      ...server.get(projects!, 'offshoot/p')!,
      metadata: { ...object.metadata, finalizers: [] },
    });
    await store.create('project', 'p', project);
  });
});

describe('what is made by hand', () => {
  const secretOf = {
    sandbox: (name: string) => ({ routingKey: `key-${name}`, resources: {} }),
    branch: () => ({ password: 'made up' }),
  };

  it('gets what only we know, and is an object like others', async () => {
    await using server = await fakeApiServer();
    await using store = await storeOn(server, { secretOf });
    server.put(sandboxes!, byHand('Sandbox', 'pr-1', { cluster: 'local' }));
    const made = await soon('the sandbox', () => store.get('sandbox', 'pr-1'));
    assert.deepEqual(
      [made.spec, made.secret.routingKey, made.generation],
      [{ cluster: 'local' }, 'key-pr-1', 1],
    );
    const object = server.get(sandboxes!, 'offshoot/pr-1')!;
    assert.deepEqual(object.metadata.finalizers, [finalizer]);
    // A changed document counts, and keeps its secret.
    server.put(sandboxes!, { ...object, spec: { cluster: 'local', description: 'new' } });
    const changed = await soon('the change', () => {
      const now = store.get('sandbox', 'pr-1')!;
      return now.generation === 2 && now.updatedAt !== made.updatedAt ? now : undefined;
    });
    assert.deepEqual([changed.spec.description, changed.secret], ['new', made.secret]);
    // Deleted by hand it waits for us.
    server.remove(sandboxes!, 'offshoot/pr-1');
    await when('the wish', () => store.get('sandbox', 'pr-1')?.deletedAt !== undefined);
    assert.equal(store.get('sandbox', 'pr-1')!.generation, 2);
    await store.modify('sandbox', 'pr-1', ({ secret }) => ({ secret: { ...secret, tries: 1 } }));
    await store.remove('sandbox', 'pr-1');
    await when('its end', () => server.all(sandboxes!).length === 0 && secretsOf(server).length === 0);
  });

  it('while nobody ran is found at the start; plugins have their version in their name', async () => {
    await using server = await fakeApiServer();
    server.put(branches!, byHand('Branch', 'br1', { project: 'p', name: 'main' }));
    server.put('resourceplugins.offshoot.dev', byHand('ResourcePlugin', 'table.1.2.0', {}));
    server.put('resourceplugins.offshoot.dev', byHand('ResourcePlugin', 'table.1', {}));
    await using store = await storeOn(server, { secretOf });
    assert.equal((await soon('the branch', () => store.get('branch', 'br1'))).secret.password, 'made up');
    assert.deepEqual((await soon('the plugin', () => store.list('plugin')[0])).name, 'table@1.2.0');
    assert.equal(store.list('plugin').length, 1, 'table.1 has a name that nobody would look for');
  });

  it('keeps its secret when its annotations are replaced, and gets a new one when that was deleted', async () => {
    await using server = await fakeApiServer();
    await using store = await storeOn(server, { secretOf });
    await store.create('sandbox', 's', {
      spec: { cluster: 'c' },
      status: null,
      secret: { routingKey: 'k', resources: {} },
    });
    server.put(sandboxes!, byHand('Sandbox', 's', { cluster: 'other' }));
    await when(
      'the change',
      () => server.get(sandboxes!, 'offshoot/s')!.metadata.annotations?.[annotations.secret] !== undefined,
    );
    await when('the change to be seen', () => store.get('sandbox', 's')?.spec.cluster === 'other');
    assert.equal(store.get('sandbox', 's')!.secret.routingKey, 'k');
    server.remove('secrets', `offshoot/${secretsOf(server)[0]}`);
    await store.close();
    await using next = await storeOn(server, { secretOf });
    assert.equal((await soon('the sandbox', () => next.get('sandbox', 's'))).secret.routingKey, 'key-s');
  });
});

it('a life that is cut off after any of its requests is gone on with by the next', async () => {
  /** Each step looks first: it is done by whoever comes. */
  const life = async (store: Store) => {
    if (store.get('branch', 'br1') === undefined) await store.create('branch', 'br1', branch('main', 'one'));
    await store.modify('branch', 'br1', ({ spec }) => ({
      spec: { ...spec, owner: 'sandbox/x' },
      secret: { password: 'two' },
    }));
    await store.modify('branch', 'br1', () => ({ status: ready }));
    await store.modify('branch', 'br1', ({ secret }) => ({ secret: { ...secret, tries: 1 }, deleted: true }));
    await store.remove('branch', 'br1');
  };
  const secretOf = { branch: () => ({ password: 'made up' }) };
  let [cutAt, isWhole] = [0, false];
  for (; !isWhole; cutAt++) {
    await using server = await fakeApiServer();
    let writes = 0;
    const dying = await storeOn(server, { secretOf });
    // From that request on nothing of this process gets through, done or not.
    server.fault = ({ method }) => {
      if (method === 'GET' || writes++ < cutAt) return undefined;
      return writes === cutAt + 1 && cutAt % 2 === 0 ? 'done, then cut' : { status: 403 };
    };
    isWhole = await life(dying).then(
      () => true,
      () => false,
    );
    // Nothing that it still does gets through either: it is dead.
    server.fault = ({ method }) => (method === 'GET' ? undefined : { status: 403 });
    await dying.close();
    server.fault = undefined;
    await using next = await storeOn(server, { secretOf, patienceMs: 30 });
    const seen = server.get(branches!, 'offshoot/br1') as KubernetesObject | undefined;
    if (seen !== undefined) {
      const { spec, secret, deletedAt } = await soon(`the branch, cut at ${cutAt}`, () =>
        next.get('branch', 'br1'),
      );
      // What one write said holds together.
      assert.equal(spec.owner === undefined, secret.password !== 'two', `cut at ${cutAt}`);
      assert.equal(secret.tries === 1, deletedAt !== undefined, `cut at ${cutAt}`);
    }
    await life(next);
    await when(
      `nothing to be left, cut at ${cutAt}`,
      () => server.all(branches!).length + server.all('secrets').length === 0,
    );
  }
  assert.ok(cutAt > 8, `only ${cutAt} requests`);
});
