/** A port that leads elsewhere, keeps people waiting, or is served here, by turns. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { connect as connectTls, createServer as createTls } from 'node:tls';
import { closingAtOnce } from '../../src/lib/close-server.ts';
import { type Entrance, type EntranceOptions, listenAt, openEntrance } from '../../src/lib/entrance.ts';
import { createServer as createHttp } from '../../src/lib/http.ts';
import { until } from '../../src/lib/wait.ts';
import { issueServer } from '../../src/lib/x509.ts';
import { authority, validity } from '../support/certificates.ts';

const at = { host: '127.0.0.1', port: 0 };

async function entrance(t: TestContext, options: Partial<EntranceOptions> = {}): Promise<Entrance> {
  const open = await openEntrance({ ...at, ...options });
  t.after(() => open.close());
  return open;
}

/** Answers each line with its own name and that line. */
const answering = (name: string) => (socket: Socket) => {
  socket.on('error', () => {});
  socket.on('data', line => socket.write(`${name}: ${line}`));
};

async function listening(t: TestContext, server: Server) {
  const close = closingAtOnce(server);
  await once(server.listen(at), 'listening');
  t.after(() => server.listening && close());
  return { host: '127.0.0.1', port: (server.address() as AddressInfo).port, close };
}

/** A client whose answers can be waited for. */
function client(t: TestContext, { port }: { readonly port: number }) {
  const socket = connect(port, '127.0.0.1');
  t.after(() => socket.destroy());
  let heard = '';
  socket.on('data', text => {
    heard += text;
  });
  socket.on('error', () => {});
  return {
    socket,
    says: (line: string) => socket.write(`${line}\n`),
    hears: (line: string) =>
      until(() => (heard.includes(`${line}\n`) ? true : undefined), { what: line, deadlineMs: 20_000 }),
    closed: once(socket, 'close'),
  };
}

test('who comes while there is nobody waits, and is led to whoever is said to serve', async t => {
  const door = await entrance(t);
  const one = client(t, door);
  one.says('hello');
  await once(one.socket, 'connect');
  door.lead(await listening(t, createServer(answering('a'))));
  await one.hears('a: hello');
  one.says('still there?');
  await one.hears('a: still there?');
});

test('who was led somewhere is let go when it is somewhere else, and comes again', async t => {
  const door = await entrance(t);
  const a = await listening(t, createServer(answering('a')));
  door.lead(a);
  const one = client(t, door);
  one.says('1');
  await one.hears('a: 1');
  door.lead({ host: a.host, port: a.port });
  one.says('2');
  await one.hears('a: 2');
  door.lead(await listening(t, createServer(answering('b'))));
  await one.closed;
  const again = client(t, door);
  again.says('3');
  await again.hears('b: 3');
});

test('one that does not answer yet is tried again', async t => {
  const door = await entrance(t);
  const first = await listening(t, createServer());
  await first.close();
  door.lead(first);
  const one = client(t, door);
  one.says('x');
  await once(one.socket, 'connect');
  const later = createServer(answering('later'));
  const close = closingAtOnce(later);
  t.after(close);
  await once(later.listen(first.port, first.host), 'listening');
  await one.hears('later: x');
});

test('nobody waits for ever', async t => {
  const door = await entrance(t, { waitMs: 10 });
  await client(t, door).closed;
});

test('a server of our own gets all, also those that wait, until it leaves', async t => {
  const door = await entrance(t);
  const elsewhere = await listening(t, createServer(answering('elsewhere')));
  door.lead(elsewhere);
  const led = client(t, door);
  led.says('1');
  await led.hears('elsewhere: 1');
  door.lead(undefined);
  await led.closed;

  const waits = client(t, door);
  waits.says('2');
  await once(waits.socket, 'connect');
  const own = createServer(answering('own'));
  const close = closingAtOnce(own);
  const { host, port, leave } = await listenAt(own, door);
  assert.deepEqual([host, port], [door.host, door.port]);
  await waits.hears('own: 2');
  door.lead(elsewhere);
  const next = client(t, door);
  next.says('3');
  await next.hears('own: 3');
  leave();
  await close();
  await next.closed;
  const last = client(t, door);
  last.says('4');
  await last.hears('elsewhere: 4');
});

test('HTTP and TLS servers take what it gives them, and close with it', async t => {
  const door = await entrance(t);
  const http = createHttp({}, (_, answer) => void answer.end('http'));
  const { leave } = await listenAt(http, door);
  const url = `http://127.0.0.1:${door.port}/`;
  assert.equal(await (await fetch(url)).text(), 'http');
  leave();
  const closed = new Promise(resolve => http.close(resolve));
  http.closeAllConnections();
  await closed;

  const { certificate: cert, key } = issueServer(authority, ['localhost'], validity());
  const tls = createTls({ cert, key }, answering('tls'));
  const close = closingAtOnce(tls);
  const end = (await listenAt(tls, door)).leave;
  const socket = connectTls({
    port: door.port,
    host: '127.0.0.1',
    servername: 'localhost',
    ca: authority.certificate,
  });
  socket.on('error', () => {});
  await once(socket, 'secureConnect');
  socket.write('x');
  assert.equal(String((await once(socket, 'data'))[0]), 'tls: x');
  end();
  const gone = once(socket, 'close');
  await close();
  await gone;
});

test('clear text of this machine is led on in TLS, and TLS as it is', async t => {
  const { certificate: cert, key } = issueServer(authority, ['localhost'], validity());
  const door = await entrance(t, {
    secure: () => ({ ca: authority.certificate, servername: 'localhost' }),
  });
  door.lead(await listening(t, createTls({ cert, key }, answering('tls'))));
  const clear = client(t, door);
  clear.says('clear');
  await clear.hears('tls: clear');
  const options = { port: door.port, host: '127.0.0.1', servername: 'localhost', ca: authority.certificate };
  const socket = connectTls(options);
  t.after(() => socket.destroy());
  socket.on('error', () => {});
  socket.write('secure');
  assert.equal(String((await once(socket, 'data'))[0]), 'tls: secure');
});
