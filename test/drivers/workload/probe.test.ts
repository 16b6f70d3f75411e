/** Single checks, as a kubelet makes them, against real servers. */
import assert from 'node:assert/strict';
import { createServer, type IncomingHttpHeaders, type RequestListener } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo, Server } from 'node:net';
import { describe, it } from 'node:test';
import { checkProbe } from '../../../src/drivers/workload/probe.ts';
import { planProbes } from '../../../src/drivers/workload/probe-plan.ts';
import { dial } from '../../../src/lib/dial.ts';
import { issueServer } from '../../../src/lib/x509.ts';
import type { Container, Probe } from '../../../src/model/kubernetes.ts';
import { authority, validity } from '../../support/certificates.ts';

const container = (probe: Probe): Container => ({
  ...{ name: 'main', image: 'web', readinessProbe: probe },
  ports: [{ name: 'http', containerPort: 80 }],
});

/** What is wrong with a server whose containerPort 80 is at `port`. */
async function check(probe: Probe, port: number): Promise<string | undefined> {
  const planned = planProbes(container(probe));
  assert.ok('probes' in planned, JSON.stringify(planned));
  const host = '127.0.0.1';
  const connect = (at: number, signal: AbortSignal) => dial({ host, port: at }, signal);
  const target = { host, ports: { 80: port }, connect, run: async () => {} };
  return await checkProbe(planned.probes.readiness!, target, AbortSignal.timeout(60_000));
}

async function listening(server: Server): Promise<number> {
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
}

function serving(answer: RequestListener, tls = false) {
  const { certificate, key } = issueServer(authority, ['web.example'], validity());
  const server = tls ? createTlsServer({ cert: certificate, key }, answer) : createServer(answer);
  return { server, [Symbol.dispose]: () => void server.close() };
}

describe('an HTTP probe', () => {
  it('sends its headers to the path and port that it names, and tells who asks', async () => {
    const asked: { url?: string | undefined; headers?: IncomingHttpHeaders } = {};
    using web = serving((request, response) => {
      Object.assign(asked, { url: request.url, headers: request.headers });
      response.writeHead(204).end();
    });
    const httpHeaders = [
      { name: 'Host', value: 'shop.example' },
      { name: 'X-Probe', value: 'yes' },
    ];
    assert.equal(
      await check(
        { httpGet: { path: '/health?x=1', port: 'http', httpHeaders } },
        await listening(web.server),
      ),
      undefined,
    );
    assert.equal(asked.url, '/health?x=1');
    const { host, 'x-probe': own, 'user-agent': agent } = asked.headers!;
    assert.deepEqual([host, own, agent], ['shop.example', 'yes', 'kube-probe/1.30']);
  });

  it('takes every answer from 200 to 399, and tells of all others', async () => {
    using web = serving((request, response) => response.writeHead(Number(request.url!.slice(1))).end());
    const port = await listening(web.server);
    for (const status of [200, 301, 399])
      assert.equal(await check({ httpGet: { path: `/${status}`, port: 80 } }, port), undefined);
    for (const status of [400, 500])
      assert.equal(
        await check({ httpGet: { path: `/${status}`, port: 80 } }, port),
        `GET /${status} answered ${status}`,
      );
  });

  it('speaks TLS when its scheme says so, whatever the certificate', async () => {
    using web = serving((_, response) => response.end(), true);
    const port = await listening(web.server);
    assert.equal(await check({ httpGet: { port: 80, scheme: 'HTTPS' } }, port), undefined);
    assert.match((await check({ httpGet: { port: 80 } }, port)) ?? '', /^GET \/: /);
  });

  it('gives up after timeoutSeconds', async () => {
    using web = serving(() => {});
    const port = await listening(web.server);
    assert.equal(
      await check({ httpGet: { port: 80 }, timeoutSeconds: 1 }, port),
      'GET /: no answer within 1000 ms',
    );
    web.server.closeAllConnections();
  });
});

it('a probe of another host asks there, and one of this machine asks the pod', async () => {
  using web = serving((_, response) => response.end());
  const port = await listening(web.server);
  for (const host of ['127.0.0.2', 'localhost']) {
    const direct = host === '127.0.0.2';
    using other = serving((_, response) => response.end());
    await new Promise<void>(resolve => other.server.listen(0, direct ? host : '127.0.0.1', resolve));
    const named = direct ? (other.server.address() as AddressInfo).port : 80;
    assert.equal(await check({ httpGet: { host, port: named } }, port), undefined);
    assert.equal(await check({ tcpSocket: { host, port: named } }, port), undefined);
  }
  const planned = planProbes(container({ tcpSocket: { host: 'db.example', port: 5432 } }));
  assert.deepEqual('ports' in planned && planned.ports, [], 'it is no port of the container');
});

it('a TCP probe wants a connection', async () => {
  using web = serving(() => {});
  const port = await listening(web.server);
  assert.equal(await check({ tcpSocket: { port: 'http' } }, port), undefined);
  web.server.close();
  assert.match((await check({ tcpSocket: { port: 80 } }, port)) ?? '', /^connect: ECONNREFUSED$/);
});
