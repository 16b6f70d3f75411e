/** The authority of an installation, kept in a Secret: one for all controllers, renewed in time, never lost by a restart. */
import assert from 'node:assert/strict';
import { generateKeyPairSync, X509Certificate } from 'node:crypto';
import { type TestContext, test } from 'node:test';
import { type ClusterAuthority, openClusterAuthority } from '../../src/kubernetes/authority.ts';
import { clusterClient } from '../../src/kubernetes/client.ts';
import { certificatesIn } from '../../src/lib/identity.ts';
import { silentLog } from '../../src/lib/log.ts';
import { until } from '../../src/lib/wait.ts';
import { type FakeApiServer, fakeApiServer } from '../support/fake-api-server.ts';

const DAY = 86_400_000;
const soon = (what: string) => ({ what, deadlineMs: 20_000 });

async function open(
  t: TestContext,
  api: FakeApiServer,
  now: () => number = Date.now,
): Promise<ClusterAuthority> {
  const client = clusterClient(api.access);
  const authority = await openClusterAuthority({
    ...{ client, namespace: 'offshoot', name: 'offshoot-authority', log: silentLog, now },
    serverNames: ['offshoot-controller.offshoot.svc'],
  });
  t.after(async () => {
    await authority.close();
    client.close();
  });
  return authority;
}

test('its Secret may be in another namespace than what shows it', async t => {
  const api = await cluster(t);
  const client = clusterClient(api.access);
  const authority = await openClusterAuthority({
    ...{ client, namespace: 'offshoot', secretNamespace: 'kept', name: 'authority', log: silentLog },
    serverNames: ['localhost'],
  });
  assert.ok(api.get('secrets', 'kept/authority'));
  assert.equal(api.get('secrets', 'offshoot/authority'), undefined);
  assert.ok(api.get('configmaps', 'offshoot/authority'));
  await authority.close();
  client.close();
});

async function cluster(t: TestContext): Promise<FakeApiServer> {
  const api = await fakeApiServer();
  t.after(() => api[Symbol.asyncDispose]());
  return api;
}

const secretOf = (api: FakeApiServer) => api.get('secrets', 'offshoot/offshoot-authority')!;

test('several that start at once have the same one, and so has the next', async t => {
  const api = await cluster(t);
  const all = await Promise.all([open(t, api), open(t, api), open(t, api)]);
  const [first] = new Set(all.map(one => one.certificates()));
  assert.deepEqual([...new Set(all.map(one => one.certificates()))], [first]);
  assert.equal(certificatesIn(first!).length, 1);
  assert.equal((await open(t, api)).certificates(), first);
  const shown = api.get('configmaps', 'offshoot/offshoot-authority') as { data?: object } | undefined;
  assert.deepEqual(shown?.data, { 'ca.crt': first }, 'whoever is to trust it can read it');
  assert.doesNotMatch(JSON.stringify(shown), /PRIVATE/);
});

test('it vouches for servers and for keys of others, who never send theirs', async t => {
  const authority = await open(t, await cluster(t));
  const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const root = new X509Certificate(authority.certificates());
  const server = new X509Certificate(authority.server().certificate);
  assert.ok(server.verify(root.publicKey));
  assert.equal(server.checkHost('offshoot-controller.offshoot.svc'), 'offshoot-controller.offshoot.svc');
  const { certificate, forMs } = authority.certify('workload/shop/users', publicKey);
  const pod = new X509Certificate(certificate);
  assert.ok(pod.verify(root.publicKey) && pod.checkIssued(root));
  assert.equal(pod.subjectAltName, 'URI:offshoot:workload/shop/users');
  assert.deepEqual(pod.keyUsage, ['1.3.6.1.5.5.7.3.2'], 'it is no server');
  assert.equal(new X509Certificate(authority.certify('node/a', publicKey).certificate).keyUsage.length, 2);
  assert.ok(pod.validFromDate.getTime() < Date.now() - 10 * 60_000, 'clocks may differ by minutes');
  assert.ok(Math.abs(pod.validToDate.getTime() - Date.now() - forMs) < 60_000);
});

test('the next one is trusted long before it signs, and the last one as long as it is good', async t => {
  const api = await cluster(t);
  let now = Date.now();
  const authority = await open(t, api, () => now);
  const [first] = certificatesIn(authority.certificates());
  const signedBy = () => {
    const server = new X509Certificate(authority.server().certificate);
    return certificatesIn(authority.certificates()).find(one => server.checkIssued(new X509Certificate(one)));
  };
  let changes = 0;
  authority.onChange(() => {
    changes += 1;
  });
  const lookAt = async (days: number, count: number) => {
    now += days * DAY;
    authority.look();
    const all = () => certificatesIn(authority.certificates());
    await until(() => all().length === count || undefined, soon(`${count} authorities`));
    return all();
  };
  const [second, still] = await lookAt(3_300, 2);
  assert.deepEqual([still, signedBy()], [first, first], 'who trusts only the first goes on');
  await until(() => changes > 0 || undefined, soon('whoever shows what is to be trusted is told'));
  now += 200 * DAY;
  authority.look();
  await until(() => signedBy() === second || undefined, soon('the second signs'));
  assert.equal(certificatesIn(authority.certificates()).length, 2);
  assert.deepEqual(await lookAt(200, 1), [second]);
});

test('a server gets another certificate before the last one ends', async t => {
  const api = await cluster(t);
  let now = Date.now();
  const authority = await open(t, api, () => now);
  const { certificate } = authority.server();
  assert.equal(authority.server().certificate, certificate);
  let told = false;
  authority.onChange(() => {
    told = true;
  });
  now += 16 * DAY;
  authority.look();
  await until(() => told || undefined, soon('it is told'));
  assert.notEqual(authority.server().certificate, certificate);
});

test('what another controller has made is taken over; a damaged Secret is replaced; one that cannot be read changes nothing', async t => {
  const api = await cluster(t);
  const authority = await open(t, api);
  const first = authority.certificates();
  api.fault = ({ resource, method }) =>
    resource === 'secrets' && method === 'GET' ? { status: 503 } : undefined;
  authority.look();
  await until(
    () => api.asked.filter(one => one === 'GET secrets offshoot-authority').length > 3 || undefined,
    soon('looks'),
  );
  assert.equal(authority.certificates(), first);
  api.fault = undefined;
  api.put('secrets', { ...secretOf(api), data: { 'authorities.json': 'bm9uc2Vuc2U=' } });
  authority.look();
  await until(() => authority.certificates() !== first || undefined, soon('another one'));
  assert.equal((await open(t, api)).certificates(), authority.certificates());
  api.remove('secrets', 'offshoot/offshoot-authority');
  const other = await open(t, api);
  assert.notEqual(other.certificates(), first);
  authority.look();
  await until(() => authority.certificates() === other.certificates() || undefined, soon('both agree'));
});
