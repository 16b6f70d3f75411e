/** What a caller gets for every kind of answer, also from servers that are not ours. */
import assert from 'node:assert/strict';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { ReportedError } from '../../src/client/http.ts';
import { createClient } from '../../src/client/index.ts';
import { loadCertificate } from '../../src/lib/certificate.ts';
import { OffshootError } from '../../src/model/errors.ts';
import { testApi } from '../support/api.ts';
import { authority, writeServer } from '../support/certificates.ts';
import { tempDir } from '../support/temp.ts';

const caught = async (promise: Promise<unknown>): Promise<OffshootError> => {
  const error = await promise.then(
    () => assert.fail('it succeeded'),
    (thrown: unknown) => thrown,
  );
  assert.ok(error instanceof OffshootError, String(error));
  return error;
};

test('an error of the API is the same error here', async () => {
  await using api = await testApi();
  const error = await caught(api.client.branches.get('default', 'nix'));
  assert.ok(error instanceof ReportedError);
  assert.equal(error.code, 'api/not-found');
  assert.equal(error.message, 'branch "nix" does not exist');
  assert.equal(error.hint, 'see "offshoot branch list"');
  assert.equal(error.row.exit, 3);
  assert.deepEqual(error.toBody(), error.body);
});

test('the problems of a document come along', async () => {
  await using api = await testApi();
  const error = await caught(api.client.sandboxes.apply({ name: 'x', spec: {} } as never));
  assert.equal(error.code, 'document/invalid');
  assert.match(JSON.stringify(error.problems), /missing field \\"cluster\\"/);
});

test('a wrong key', async () => {
  await using api = await testApi();
  const error = await caught(createClient({ url: api.url, apiKey: 'ofs_wrong' }).status());
  assert.deepEqual([error.code, error.row.exit], ['api/unauthorized', 4]);
});

test('names are parts of a path, whatever they hold', async () => {
  await using api = await testApi();
  const error = await caught(api.client.sandboxes.get('../keys?x=1#/%'));
  assert.equal(error.message, 'sandbox "../keys?x=1#/%" does not exist');
});

test('nobody answers', async () => {
  const server = await foreign((_, response) => response.end());
  const { url } = server;
  await server[Symbol.asyncDispose]();
  const error = await caught(createClient({ url, apiKey: 'ofs_x' }).status());
  assert.deepEqual([error.code, error.message], ['api/unreachable', `no offshoot daemon answers at ${url}`]);
});

test('something else answers', async () => {
  const answers: Readonly<Record<string, RequestListener>> = {
    'HTML, 404': (_, response) => response.writeHead(404, { 'content-type': 'text/html' }).end('<h1>no'),
    'HTML, 200': (_, response) => response.writeHead(200, { 'content-type': 'text/html' }).end('<h1>hi'),
    'JSON of others': (_, response) => response.writeHead(403).end('{"code":"EFORBIDDEN","message":"no"}'),
    'JSON null': (_, response) => response.writeHead(500).end('null'),
    'an answer that breaks off': (_, response) => {
      response.writeHead(200, { 'content-length': '100' }).write('{');
      setImmediate(() => response.destroy());
    },
    'a connection that breaks off': request => request.socket.destroy(),
  };
  for (const [name, answer] of Object.entries(answers)) {
    await using server = await foreign(answer);
    const error = await caught(createClient({ url: server.url, apiKey: 'ofs_x' }).status());
    assert.deepEqual([error.code, error.row.exit], ['api/unreachable', 1], name);
    assert.equal(error.message, `no offshoot daemon answers at ${server.url}`, name);
  }
});

test('the signal ends a call that waits', async () => {
  const asked = Promise.withResolvers<void>();
  await using server = await foreign(() => asked.resolve());
  const stop = new AbortController();
  const reason = new Error('Ctrl-C');
  const call = createClient({ url: server.url, apiKey: 'ofs_x' }, stop.signal).status();
  await asked.promise;
  stop.abort(reason);
  await assert.rejects(call, error => error === reason);
});

async function foreign(answer: RequestListener) {
  const server = createServer(answer);
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise(resolve => server.close(resolve));
    },
  };
}

test('an authority that was not named is not trusted; one that was is, beside those that are known', async () => {
  await using dir = await tempDir();
  const certificate = loadCertificate(writeServer(dir.path, ['127.0.0.1']), Date.now());
  await using api = await testApi({ certificate });
  const { port } = new URL(api.url);
  const status = (host: string, ca?: string) =>
    createClient({ url: `https://${host}:${port}`, apiKey: api.apiKey, ...(ca && { ca }) }).status();
  assert.equal((await status('127.0.0.1', authority.certificate)).version, '0.0.0');
  const unknown = await caught(status('127.0.0.1'));
  assert.deepEqual([unknown.code, unknown.row.exit], ['api/untrusted', 1]);
  assert.match(unknown.message, /^the certificate of https:.* is not trusted: unable to verify/);
  const elsewhere = await caught(status('localhost', authority.certificate));
  assert.match(elsewhere.message, /is not trusted: it is not for that host$/);
});
