/** Identities by token, over a real door: who a pod is comes from the cluster alone, and whoever has none follows nothing. */
import assert from 'node:assert/strict';
import { generateKeyPairSync, randomUUID, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite, type TestContext, test } from 'node:test';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { clusterClient } from '../../src/kubernetes/client.ts';
import { type IdentitySource, identityName, identityUri } from '../../src/lib/identity.ts';
import { silentLog } from '../../src/lib/log.ts';
import { until } from '../../src/lib/wait.ts';
import { issueClient } from '../../src/lib/x509.ts';
import { OffshootError } from '../../src/model/errors.ts';
import { openDoor } from '../../src/proxy/stream/door.ts';
import { EXCHANGE } from '../../src/proxy/stream/exchange.ts';
import { tokenIdentity } from '../../src/proxy/stream/token-identity.ts';
import { networkWay } from '../../src/proxy/stream/way.ts';
import { openClusterHouse } from '../../src/roles/cluster-house.ts';
import { type FakeApiServer, fakeApiServer } from '../support/fake-api-server.ts';
import { feedPath, startFeed, startFollower } from '../support/stream.ts';
import { tempDir } from '../support/temp.ts';

const soon = (what: string) => ({ what, deadlineMs: 20_000 });

type Claims = {
  readonly namespace: string;
  readonly account?: string;
  readonly pod: string;
  readonly uid: string;
};

/** A controller's door, and a cluster that knows what each token says. */
async function house(t: TestContext) {
  const api = await fakeApiServer();
  t.after(() => api[Symbol.asyncDispose]());
  const tokens = new Map<string, { readonly audiences: readonly string[]; readonly claims: Claims }>();
  api.fault = ({ resource, body }) => {
    if (resource !== 'tokenreviews.authentication.k8s.io') return undefined;
    const { token, audiences } = body!.spec as { token: string; audiences: readonly string[] };
    assert.deepEqual(audiences, ['offshoot']);
    return { status: 201, body: { metadata: {}, status: reviewOf(tokens.get(token)) } };
  };
  const client = clusterClient(api.access);
  const opened = await openClusterHouse({
    ...{ client, namespace: 'offshoot', name: 'authority', serverNames: ['localhost'], log: silentLog },
    accounts: { gateway: 'offshoot-gateway', node: 'offshoot-branches' },
    isBaseline: namespace => namespace === 'shop',
  });
  const feed = await startFeed(t, await feedPath(t));
  feed.settle();
  const at = { host: '127.0.0.1', port: 0, admit: feed.admit, log: silentLog };
  const door = await openDoor({ ...at, ...opened });
  t.after(async () => {
    await door.close();
    await opened.close();
    client.close();
  });
  const dir = await tempDir();
  t.after(() => dir[Symbol.asyncDispose]());

  /** A pod that the cluster knows, and its token. */
  function pod(
    claims: Omit<Claims, 'uid' | 'pod'>,
    owner?: object,
    { audiences = ['offshoot'], labels = {} }: { audiences?: readonly string[]; labels?: object } = {},
  ): string {
    const name = `pod-${randomUUID().slice(0, 8)}`;
    const { metadata } = api.put('pods', {
      metadata: {
        ...{ name, namespace: claims.namespace, labels },
        ...(owner && { ownerReferences: [{ controller: true, ...owner }] }),
      },
    });
    const token = randomUUID();
    tokens.set(token, { audiences, claims: { ...claims, pod: name, uid: metadata.uid! } });
    return token;
  }
  const file = (token: string) => {
    const path = join(dir.path, randomUUID());
    writeFileSync(path, `${token}\n`);
    return path;
  };
  const identity = (token: string): IdentitySource => {
    const source = tokenIdentity({
      ...{ controller: { host: 'localhost', port: door.port }, token: file(token), log: silentLog },
      ...{ authorities: opened.authority, pauseMs: [5, 50] },
    });
    t.after(() => source.close());
    return source;
  };
  return { ...{ api, opened, feed, door, tokens, pod, file, identity, dir: dir.path } };
}

function reviewOf(
  known: { readonly audiences: readonly string[]; readonly claims: Claims } | undefined,
): object {
  if (known === undefined) return { authenticated: false };
  const { audiences, claims } = known;
  return {
    ...{ authenticated: true, audiences },
    user: {
      username: `system:serviceaccount:${claims.namespace}:${claims.account ?? 'default'}`,
      extra: {
        'authentication.kubernetes.io/pod-name': [claims.pod],
        'authentication.kubernetes.io/pod-uid': [claims.uid],
      },
    },
  };
}

function ownerOf(api: FakeApiServer, resource: string, kind: string, name: string, above?: object): object {
  const { metadata } = api.put(resource, {
    metadata: {
      ...{ name, namespace: 'shop' },
      ...(above && { ownerReferences: [{ controller: true, uid: randomUUID(), ...above }] }),
    },
  });
  const [, group = ''] = /\.(.*)/.exec(resource) ?? [];
  const apiVersion = group === '' ? 'v1' : `${group}/v1`;
  return { apiVersion, kind, name, uid: metadata.uid };
}

const nameOf = ({ read }: IdentitySource) => identityName(new X509Certificate(read().cert));

/** One question, in our own words. @returns the answer; undefined: none */
async function ask(h: Awaited<ReturnType<typeof house>>, ...lines: readonly string[]): Promise<unknown> {
  const ca = h.opened.authority();
  const socket = connectTls({ host: 'localhost', port: h.door.port, ca, ALPNProtocols: [EXCHANGE] });
  socket.on('error', () => {});
  for (const line of lines) socket.write(`${line}\n`);
  let text = '';
  socket.on('data', chunk => {
    text += chunk;
  });
  await new Promise(resolve => socket.once('close', resolve));
  return text === '' ? undefined : JSON.parse(text.split('\n')[0]!);
}

const keyPem = (namedCurve = 'P-256') =>
  generateKeyPairSync('ec', { namedCurve }).publicKey.export({ type: 'spki', format: 'pem' });

const errorIn = (answer: unknown) => {
  const { error } = answer as { error: { code: 'identity/refused'; params: { why: string } } };
  return new OffshootError(error.code, error.params);
};

suite('who a pod is', () => {
  test('its workload, by its owners', async t => {
    const h = await house(t);
    const deployment = { apiVersion: 'apps/v1', kind: 'Deployment', name: 'users' };
    const rollout = { apiVersion: 'argoproj.io/v1alpha1', kind: 'Rollout', name: 'web' };
    const cron = { apiVersion: 'batch/v1', kind: 'CronJob', name: 'nightly' };
    const cases: readonly (readonly [string, object | undefined])[] = [
      ['workload/shop/users', ownerOf(h.api, 'replicasets.apps', 'ReplicaSet', 'users-7f', deployment)],
      ['workload/Rollout/shop/web', ownerOf(h.api, 'replicasets.apps', 'ReplicaSet', 'web-9c', rollout)],
      ['workload/ReplicaSet/shop/own', ownerOf(h.api, 'replicasets.apps', 'ReplicaSet', 'own')],
      ['workload/StatefulSet/shop/db', ownerOf(h.api, 'statefulsets.apps', 'StatefulSet', 'db')],
      ['workload/CronJob/shop/nightly', ownerOf(h.api, 'jobs.batch', 'Job', 'nightly-1', cron)],
      ['workload/Job/shop/once', ownerOf(h.api, 'jobs.batch', 'Job', 'once')],
    ];
    for (const [name, owner] of cases) {
      const source = h.identity(h.pod({ namespace: 'shop' }, owner));
      await source.ready;
      assert.equal(nameOf(source), name);
    }
    const bare = h.identity(h.pod({ namespace: 'shop' }));
    await bare.ready;
    assert.match(nameOf(bare)!, /^workload\/Pod\/shop\/pod-/);
    const gateway = h.identity(h.pod({ namespace: 'offshoot', account: 'offshoot-gateway' }));
    await gateway.ready;
    assert.equal(nameOf(gateway), 'gateway');
    const node = h.identity(h.pod({ namespace: 'offshoot', account: 'offshoot-branches' }));
    await node.ready;
    assert.match(nameOf(node)!, /^node\/pod-/);
  });

  test('nobody, for whatever the cluster does not vouch for', async t => {
    const h = await house(t);
    const publicKey = keyPem();
    const refused = async (token: string, why: RegExp) => {
      const answer = await ask(
        h,
        JSON.stringify({ token, publicKey, name: 'gateway', destination: 'gateway' }),
      );
      assert.match(errorIn(answer).message, why);
    };
    await refused('no such token', /not taken by the cluster/);
    await refused(h.pod({ namespace: 'shop' }, undefined, { audiences: ['other'] }), /is not for us/);
    await refused(h.pod({ namespace: 'elsewhere' }), /not in a namespace of the baseline/);
    await refused(
      h.pod({ namespace: 'elsewhere', account: 'offshoot-gateway' }),
      /not in a namespace of the baseline/,
    );
    await refused(
      h.pod({ namespace: 'shop' }, undefined, { labels: { 'offshoot.dev/fork': 'x' } }),
      /is of a fork/,
    );
    const forged = { apiVersion: 'apps/v1', kind: 'ReplicaSet', name: 'none', uid: 'u' };
    await refused(h.pod({ namespace: 'shop' }, forged), /belongs to no workload/);
    const other = ownerOf(h.api, 'replicasets.apps', 'ReplicaSet', 'r');
    await refused(
      h.pod({ namespace: 'shop' }, { ...other, uid: 'that of one before' }),
      /belongs to no workload/,
    );
    await refused(
      h.pod({ namespace: 'shop' }, { ...other, apiVersion: 'example.com/v1' }),
      /belongs to no workload/,
    );
    await refused(h.pod({ namespace: 'shop' }, { ...other, kind: 'Machine' }), /belongs to no workload/);
    const gone = h.pod({ namespace: 'shop' });
    h.api.remove('pods', `shop/${h.tokens.get(gone)!.claims.pod}`);
    await refused(gone, /is gone/);
  });
});

suite('what is no question', () => {
  test('is refused, or has no answer', async t => {
    const h = await house(t);
    const token = h.pod({ namespace: 'shop' });
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const why = async (question: unknown) => errorIn(await ask(h, JSON.stringify(question))).message;
    for (const question of [
      null,
      {},
      { token },
      { token: 7, publicKey: keyPem() },
      { token: 'x'.repeat(40_000), publicKey: keyPem() },
    ])
      assert.match(await why(question), /showed no token and key/);
    for (const publicKey of ['x', keyPem('P-384'), privateKey.export({ type: 'pkcs8', format: 'pem' })])
      assert.match(await why({ token, publicKey }), /none of the curve P-256/);
    assert.equal(await ask(h, 'no JSON'), undefined);
    assert.equal(await ask(h, 'x'.repeat(100_000)), undefined);
  });

  test('one peer that asks again and again is put off, and the cluster is not asked', async t => {
    const h = await house(t);
    const question = JSON.stringify({ token: 'x', publicKey: keyPem() });
    const codes: string[] = [];
    for (let i = 0; i < 40; i++) codes.push(errorIn(await ask(h, question)).code);
    assert.ok(codes.includes('identity/too-often'), codes.join());
    const asked = h.api.asked.filter(one => one.includes('tokenreviews')).length;
    assert.equal(asked, codes.filter(code => code === 'identity/refused').length);
  });
});

suite('a follower by token', () => {
  test('follows as what it is', async t => {
    const h = await house(t);
    const deployment = { apiVersion: 'apps/v1', kind: 'Deployment', name: 'users' };
    const source = h.identity(
      h.pod({ namespace: 'shop' }, ownerOf(h.api, 'replicasets.apps', 'ReplicaSet', 'users-7f', deployment)),
    );
    const follower = startFollower(t, networkWay({ host: 'localhost', port: h.door.port }, source), {
      proxy: { version: '1', pid: 1, startTime: '', startedAt: '', id: randomUUID() },
    });
    await follower.told;
    const [{ destination } = { destination: '' }] = h.feed.followers();
    assert.equal(destination, 'workload/shop/users');
  });

  test('is cut off when its certificate has ended', async t => {
    const h = await house(t);
    const { data } = h.api.get('secrets', 'offshoot/authority') as { data?: Record<string, string> };
    const [authority] = JSON.parse(Buffer.from(data!['authorities.json']!, 'base64').toString());
    const validity = { from: Date.now() - 60_000, until: Date.now() + 4_000 };
    const { certificate: cert, key } = issueClient(authority, identityUri('workload/shop/users'), validity);
    const socket = connectTls({ host: 'localhost', port: h.door.port, cert, key, ca: h.opened.authority() });
    socket.on('error', () => {});
    socket.resume();
    await once(socket, 'secureConnect');
    await once(socket, 'close', { signal: AbortSignal.timeout(60_000) });
  });

  test('without one waits, says why, and begins as soon as the controller knows it', async t => {
    const h = await house(t);
    const file = h.file('not yet');
    const source = tokenIdentity({
      ...{ controller: { host: 'localhost', port: h.door.port }, token: file, log: silentLog },
      ...{ authorities: h.opened.authority, pauseMs: [5, 50] },
    });
    t.after(() => source.close());
    const untold = await until(() => {
      try {
        source.read();
      } catch (error) {
        const { code, message } = error as OffshootError;
        if (/not taken/.test(message)) return code;
      }
      return undefined;
    }, soon('it says why'));
    assert.equal(untold, 'identity/none');
    writeFileSync(`${file}.new`, h.pod({ namespace: 'shop' }));
    renameSync(`${file}.new`, file);
    await source.ready;
    assert.match(nameOf(source)!, /^workload\/Pod\//);
  });

  test('does not show its token to a server that its authority does not vouch for', async t => {
    const [h, other] = [await house(t), await house(t)];
    const reviews = () => other.api.asked.filter(one => one.includes('tokenreviews')).length;
    const source = tokenIdentity({
      ...{
        controller: { host: 'localhost', port: other.door.port },
        token: h.file('secret'),
        log: silentLog,
      },
      ...{ authorities: h.opened.authority, pauseMs: [5, 50] },
    });
    t.after(() => source.close());
    await until(() => {
      try {
        return source.read();
      } catch (error) {
        return /certificate|self.signed/i.test((error as Error).message) || undefined;
      }
    }, soon('it has tried'));
    assert.equal(reviews(), 0);
  });
});

test('who has proved nothing follows nothing: without a certificate, or by a word that is not for it', async t => {
  const h = await house(t);
  h.feed.publish([{ kind: 'fork', name: 'shop/users/usersalive', value: { sandbox: 'sb' } as never }]);
  const hello = JSON.stringify({
    ...{ type: 'hello', protocols: [1] },
    proxy: { version: '1', pid: 1, startTime: '', startedAt: '', id: randomUUID() },
  });
  const listen = async (options: object): Promise<string> => {
    const socket: TLSSocket = connectTls({
      ...{ host: 'localhost', port: h.door.port, ca: h.opened.authority(), ...options },
    });
    socket.on('error', () => {});
    socket.write(`${hello}\n`);
    let text = '';
    socket.on('data', chunk => {
      text += chunk;
    });
    await new Promise(resolve => socket.once('close', resolve));
    return text;
  };
  assert.equal(await listen({}), '');
  assert.doesNotMatch(await listen({ ALPNProtocols: [EXCHANGE] }), /usersalive/);
  assert.deepEqual(h.feed.followers(), []);
});
