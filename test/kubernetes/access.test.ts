import assert from 'node:assert/strict';
import { chmod, readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { kubeconfigAccess, podAccess } from '../../src/kubernetes/access.ts';
import { clusterClient } from '../../src/kubernetes/client.ts';
import { resources } from '../../src/kubernetes/resource.ts';
import { authority, writeServer } from '../support/certificates.ts';
import { tempDir } from '../support/temp.ts';

const base64 = (text: string) => Buffer.from(text).toString('base64');

const kubeconfig = (server: string, user: object, cluster: object = {}) =>
  JSON.stringify({
    'current-context': 'one',
    contexts: [
      { name: 'one', context: { cluster: 'c', user: 'u', namespace: 'demo' } },
      { name: 'nobody', context: { cluster: 'c', user: 'nobody' } },
      { name: 'plain', context: { cluster: 'c' } },
    ],
    clusters: [
      {
        name: 'c',
        cluster: { server, 'certificate-authority-data': base64(authority.certificate), ...cluster },
      },
    ],
    users: [{ name: 'u', user }],
  });

/** An API server that says who asks, over TLS. */
async function tlsServer(directory: string) {
  const files = writeServer(directory);
  const tls = {
    cert: await readFile(files.cert),
    key: await readFile(files.key),
    ca: authority.certificate,
    requestCert: true,
  };
  const server = createServer({ ...tls, rejectUnauthorized: false }, (request, answer) => {
    const { CN } = (request.socket as import('node:tls').TLSSocket).getPeerCertificate()?.subject ?? {};
    const who = request.headers.authorization ?? (CN === undefined ? 'nobody' : 'a certificate');
    const isEnded = who === 'Bearer ended';
    answer.writeHead(isEnded ? 401 : 200, { 'content-type': 'application/json' });
    answer.end(JSON.stringify(isEnded ? {} : { metadata: { name: 'x' }, data: { who } }));
  });
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `https://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise(resolve => server.close(resolve));
    },
  };
}

async function whoAsks(access: Parameters<typeof clusterClient>[0]): Promise<string> {
  const client = clusterClient(access, { deadlineMs: 5_000 });
  try {
    const found = await client.get<{ metadata: { name: string }; data: { who: string } }>(resources.Secret, {
      name: 'x',
    });
    return found!.data.who;
  } finally {
    client.close();
  }
}

describe('a kubeconfig', () => {
  it('logs in by certificate, token, file, or program; the server is who it must be', async () => {
    await using dir = await tempDir();
    await using server = await tlsServer(dir.path);
    const file = join(dir.path, 'config');
    const as = async (user: object, cluster?: object) => {
      await writeFile(file, kubeconfig(server.url, user, cluster));
      return whoAsks(await kubeconfigAccess(file, { env: process.env }));
    };
    const [cert, key] = await Promise.all(
      ['cert.pem', 'key.pem'].map(name => readFile(join(dir.path, name), 'utf8')),
    );
    assert.equal(
      await as({ 'client-certificate-data': base64(cert!), 'client-key-data': base64(key!) }),
      'a certificate',
    );
    assert.equal(await as({ 'client-certificate': 'cert.pem', 'client-key': 'key.pem' }), 'a certificate');
    assert.equal(await as({ token: 'abc' }), 'Bearer abc');
    await writeFile(join(dir.path, 'token'), 'from a file\n');
    assert.equal(await as({ tokenFile: 'token', token: 'abc' }), 'Bearer from a file');
    const program = join(dir.path, 'login');
    await writeFile(program, '#!/bin/sh\necho "{\\"status\\":{\\"token\\":\\"$WORD of $1\\"}}"\n');
    await chmod(program, 0o755);
    const exec = { command: './login', args: ['mine'], env: [{ name: 'WORD', value: 'token' }] };
    assert.equal(await as({ exec }), 'Bearer token of mine');
    assert.equal(await as({}), 'nobody');
    await assert.rejects(as({}, { 'certificate-authority-data': undefined }), {
      code: 'kubernetes/unreachable',
    });
    assert.equal(
      await as({}, { 'certificate-authority-data': undefined, 'insecure-skip-tls-verify': true }),
      'nobody',
    );
    await assert.rejects(as({}, { 'tls-server-name': 'elsewhere' }), { code: 'kubernetes/unreachable' });
    assert.equal(await as({}, { 'tls-server-name': 'localhost' }), 'nobody');
  });

  it('that leads nowhere says why', async () => {
    await using dir = await tempDir();
    const file = join(dir.path, 'config');
    const says = async (text: string, why: RegExp, context?: string) => {
      await writeFile(file, text);
      await assert.rejects(kubeconfigAccess(file, { env: {}, ...(context !== undefined && { context }) }), {
        code: 'kubernetes/config',
        message: why,
      });
    };
    await assert.rejects(kubeconfigAccess(join(dir.path, 'none'), { env: {} }), {
      message: /cannot be read \(ENOENT\)/,
    });
    await says('', /no context is named/);
    await says('a: [', /does not say how to reach a cluster/);
    await says(kubeconfig('https://x', {}), /there is no context "other"/, 'other');
    await says(kubeconfig('https://x', {}), /there is no user "nobody"/, 'nobody');
    await says(kubeconfig('x', {}), /"x" is no URL/);
    await says(kubeconfig('https://x', { 'auth-provider': {} }), /use a login program/);
    await says(kubeconfig('https://x', { username: 'me' }), /user name and password/);
    await says(kubeconfig('https://x', {}, { 'proxy-url': 'http://y' }), /through a proxy/);
    await writeFile(file, kubeconfig('https://x/', {}));
    const { server, namespace } = await kubeconfigAccess(file, { env: {}, context: 'plain' });
    assert.deepEqual([server, namespace], ['https://x', 'default']);
  });

  it('whose program fails says so', async () => {
    await using dir = await tempDir();
    const file = join(dir.path, 'config');
    for (const [command, why] of [
      ['false', /failed/],
      ['echo', /failed/],
      ['/bin/none', /failed/],
    ] as const) {
      await writeFile(file, kubeconfig('https://x', { exec: { command } }));
      const { tokens } = await kubeconfigAccess(file, { env: process.env });
      await assert.rejects(tokens!.get(), { code: 'kubernetes/config', message: why });
    }
  });
});

it('a pod has what the kubelet puts there, and reads its token again when it has ended', async () => {
  await using dir = await tempDir();
  await using server = await tlsServer(dir.path);
  const put = (name: string, text: string) => writeFile(join(dir.path, name), text);
  await Promise.all([
    put('ca.crt', authority.certificate),
    put('namespace', 'offshoot'),
    put('token', 'first'),
  ]);
  const { hostname, port } = new URL(server.url);
  const access = await podAccess(hostname, Number(port), dir.path);
  assert.equal(access.namespace, 'offshoot');
  assert.equal(await whoAsks(access), 'Bearer first');
  await put('token', 'ended');
  assert.equal(await whoAsks(access), 'Bearer first', 'it is not read for every call');
  access.tokens!.refused();
  await access.tokens!.get();
  await put('token', 'second');
  assert.equal(await whoAsks(access), 'Bearer second', 'the one that is not taken is read again');
});
