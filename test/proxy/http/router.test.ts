import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';
import { suite, type TestContext, test } from 'node:test';
import { until } from '../../../src/lib/wait.ts';
import { type Address, addressKey } from '../../../src/model/route.ts';
import {
  ask,
  begin,
  DESTINATION,
  dial,
  freeAddress,
  notReady,
  ready,
  readyFork,
  responseTo,
  routeFor,
  serveHttp,
  serveTcp,
  startRouter,
  testRoutes,
  usersService,
} from '../../support/http.ts';

const soon = (what: string) => ({ what, deadlineMs: 60_000 });
const key = (value: string) => ({ headers: { baggage: `sd-routing-key=${value}` } });
const named = (t: TestContext, name: string) => serveHttp(t, (_request, response) => response.end(name));
const opened = (address: Address) => ({ name: addressKey(address), ...address });
const refuses = async ({ host, port }: Address) => {
  const [error] = await once(connect({ host, port }), 'error').catch(error => [error]);
  return error.code === 'ECONNREFUSED';
};

suite('route choice', () => {
  test('every carrier leads to the fork; no key, unknown keys and similar keys to the baseline', async t => {
    const baseline = ready(await named(t, 'baseline'));
    const fork = readyFork('mine', await named(t, 'fork'));
    const router = await startRouter(t, usersService(baseline, { pr1: fork }), {
      customHeaders: ['x-team-key'],
    });
    const answer = async (headers: readonly string[]) => (await ask(router.address, { headers })).body;
    for (const headers of [
      ['baggage', 'a=b, sd-routing-key = pr1;p=1'],
      ['baggage', 'a=b', 'Baggage', 'sd-routing-key=pr1'],
      ['baggage', 'sd-routing-key=unknown,sd-sandbox=pr1'],
      ['tracestate', 'sd-routing-key=pr1'],
      ['ot-baggage-sd-routing-key', 'pr1'],
      ['uberctx-sd-sandbox', 'pr1'],
      ['x-team-key', 'pr1'],
    ])
      assert.equal(await answer(headers), 'fork', headers.join(' '));
    for (const headers of [
      [],
      ['baggage', 'sd-routing-key=pr12'],
      ['baggage', 'sd-routing-key=pr'],
      ['baggage', 'sd-routing-key=constructor'],
      ['x-other-key', 'pr1'],
    ])
      assert.equal(await answer(headers), 'baseline', headers.join(' '));
    assert.deepEqual(router.counters, {
      ...{ inFlight: 0, baseline: 5, fork: 7, own: 0, refused: 0, notReady: 0, failed: 0, aborted: 0 },
    });
  });

  test('the key goes on to the workload as it came', async t => {
    const echo = await serveHttp(t, (request, response) => response.end(request.headers.baggage));
    const router = await startRouter(t, usersService(ready(echo), { k: readyFork('mine', echo) }));
    const baggage = 'a=b, sd-routing-key=k;p';
    assert.equal((await ask(router.address, { headers: { baggage } })).body, baggage);
  });

  test('a key under Connection leads to the fork and goes on; what else the header holds does not', async t => {
    const echo = await serveHttp(t, (request, response) => response.end(JSON.stringify(request.headers)));
    const router = await startRouter(t, usersService(ready(), { k: readyFork('mine', echo) }), {
      customHeaders: ['x-team-key'],
    });
    for (const [carrier, value] of [
      ['baggage', 'user=7,sd-routing-key=k'],
      ['tracestate', 'vendor=7,sd-routing-key=k'],
      ['ot-baggage-sd-routing-key', 'k'],
      ['x-team-key', 'k'],
    ] as const) {
      const { body } = await ask(router.address, {
        headers: ['Connection', `close, ${carrier}`, carrier, value, 'X-Kept', '1'],
      });
      const { host: _, ...received } = JSON.parse(body);
      assert.deepEqual(received, { connection: 'keep-alive', 'x-kept': '1', baggage: 'sd-routing-key=k' });
    }
  });

  test('a fork that is not ready: 503 with sandbox and reason, and the baseline sees nothing', async t => {
    let seen = 0;
    const workload = await serveHttp(t, (_request, response) => {
      seen++;
      response.end();
    });
    const router = await startRouter(t, usersService(ready(workload), { k: notReady('mine') }));
    const { status, headers, body } = await ask(router.address, {
      method: 'POST',
      ...key('k'),
      body: 'write',
    });
    assert.equal(status, 503);
    assert.equal(headers['retry-after'], '1');
    const { code, error } = JSON.parse(body);
    assert.equal(code, 'proxy/fork-not-ready');
    assert.match(error, /sandbox "mine" is not ready: CrashLoopBackOff: it exited with code 1/);
    assert.equal(seen, 0);
    assert.equal(router.counters.notReady, 1);
  });

  test('a fork that refuses connections: 502 with its sandbox, and the baseline sees nothing', async t => {
    let seen = 0;
    const workload = await serveHttp(t, (_request, response) => {
      seen++;
      response.end();
    });
    const fork = readyFork('mine', await freeAddress());
    const router = await startRouter(t, usersService(ready(workload), { k: fork }));
    const { status, body } = await ask(router.address, key('k'));
    assert.equal(status, 502);
    assert.match(
      JSON.parse(body).error,
      /^Deployment demo\/users of sandbox "mine" at .* it refused the connection$/,
    );
    assert.equal(seen, 0);
  });

  test('a baseline that is not ready: 503; a destination that is not there: 503', async t => {
    const router = await startRouter(t, usersService(notReady()));
    const first = await ask(router.address);
    assert.deepEqual([first.status, JSON.parse(first.body).code], [503, 'proxy/baseline-not-ready']);
    router.routes.swap({ destinations: {} });
    const second = await ask(router.address);
    assert.deepEqual([second.status, JSON.parse(second.body).code], [503, 'proxy/no-destination']);
  });

  test('replicas take turns', async t => {
    const replicas = [await named(t, 'a'), await named(t, 'b'), await named(t, 'c')];
    const router = await startRouter(t, usersService(ready(...replicas)));
    const answers: string[] = [];
    for (let i = 0; i < 6; i++) answers.push((await ask(router.address)).body);
    assert.deepEqual(answers, ['a', 'b', 'c', 'a', 'b', 'c']);
  });

  test('people in a browser get a page', async t => {
    const router = await startRouter(
      t,
      usersService({ ready: false, reason: 'Starting', message: 'wait for <it>' }),
    );
    const { status, headers, body } = await ask(router.address, {
      headers: { accept: 'text/html,*/*;q=0.8' },
    });
    assert.equal(status, 503);
    assert.equal(headers['content-type'], 'text/html; charset=utf-8');
    assert.match(body, /is not ready: Starting: wait for &#60;it&#62;/);
  });
});

suite('swaps', () => {
  test('a request in flight keeps its target, the next one has the new one', async t => {
    const { promise: asked, resolve: onAsked } = Promise.withResolvers<() => void>();
    const slow = await serveHttp(t, (_request, response) => onAsked(() => response.end('old')));
    const router = await startRouter(t, usersService(ready(slow)));
    const first = ask(router.address);
    const finish = await asked;
    router.routes.swap({ destinations: { [DESTINATION]: usersService(ready(await named(t, 'new'))) } });
    assert.equal((await ask(router.address)).body, 'new');
    finish();
    assert.equal((await first).body, 'old');
  });

  test('connections to an address that is gone are closed, those to others are kept', async t => {
    const closed: string[] = [];
    const keeping = (name: string) =>
      serveTcp(t, socket => {
        socket.on('data', () => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n'));
        socket.on('close', () => closed.push(name));
      });
    const [baseline, fork] = [ready(await keeping('baseline')), readyFork('mine', await keeping('fork'))];
    const router = await startRouter(t, usersService(baseline, { k: fork }));
    await ask(router.address);
    await ask(router.address, key('k'));
    router.routes.swap({ destinations: { [DESTINATION]: usersService(baseline) } });
    await until(() => closed[0], soon('the connection to the fork ends'));
    assert.deepEqual(closed, ['fork']);
  });
});

suite('a deleted sandbox', () => {
  test('its key leads nowhere: 410 with its name, and the baseline sees nothing', async t => {
    let seen = 0;
    const workload = await serveHttp(t, (_request, response) => {
      seen++;
      response.end();
    });
    const router = await startRouter(t, usersService(ready(workload), { k: readyFork('mine', workload) }));
    router.routes.swap({
      destinations: { [DESTINATION]: usersService(ready(workload)) },
      tombstones: { k: 'mine' },
    });
    const { status, body } = await ask(router.address, { method: 'POST', ...key('k'), body: 'late' });
    assert.deepEqual([status, JSON.parse(body).code], [410, 'proxy/sandbox-gone']);
    assert.match(JSON.parse(body).error, /sandbox "mine", which was deleted/);
    assert.equal(seen, 0);
    assert.equal(router.counters.refused, 1);
    router.routes.swap({ tombstones: {} });
    assert.equal((await ask(router.address, key('k'))).status, 200);
  });
});

suite('listeners', () => {
  test('come and go with the table', async t => {
    const workload = ready(await named(t, 'here'));
    const router = await startRouter(t, usersService(workload));
    const second = await freeAddress();
    const listener = { ...second, destination: DESTINATION };
    const { listeners } = router.routes.current();
    router.routes.swap({ listeners: [...listeners, listener] });
    await until(() => router.states[1], soon('the second listener'));
    assert.deepEqual(router.states[1], opened(second));
    assert.equal((await ask(second)).body, 'here');
    router.routes.swap({ listeners: [listener] });
    await until(async () => (await refuses(router.address)) || undefined, soon('the first is gone'));
    assert.equal((await ask(second)).body, 'here');
  });

  test('one that leads elsewhere now keeps its port and its connections', async t => {
    const [one, two] = [await named(t, 'one'), await named(t, 'two')];
    const router = await startRouter(t, usersService(ready(one)));
    const client = dial(t, router.address);
    const request = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n';
    client.socket.write(request);
    await until(() => client.received().endsWith('one') || undefined, soon('one'));
    router.routes.swap({
      destinations: { elsewhere: usersService(ready(two)) },
      listeners: [{ ...router.address, destination: 'elsewhere' }],
    });
    client.socket.write(request);
    await until(() => client.received().endsWith('two') || undefined, soon('two'));
    assert.equal(router.states.length, 1);
  });

  test('what is in flight on one that is gone goes on, idle connections to it end', async t => {
    const { promise: asked, resolve: onAsked } = Promise.withResolvers<() => void>();
    const slow = await serveHttp(t, (_request, response) => {
      response.write('first ');
      onAsked(() => response.end('last'));
    });
    const router = await startRouter(t, usersService(ready(slow)));
    const idle = dial(t, router.address);
    await once(idle.socket, 'connect');
    const reply = ask(router.address);
    const finish = await asked;
    router.routes.swap({ listeners: [] });
    await until(() => idle.socket.closed || undefined, soon('the idle connection ends'));
    finish();
    assert.equal((await reply).body, 'first last');
    await until(async () => (await refuses(router.address)) || undefined, soon('nobody listens'));
  });

  const squat = async (t: TestContext) => {
    const squatter = createServer().listen(await freeAddress());
    t.after(() => void squatter.close());
    await once(squatter, 'listening');
    const { address, port } = squatter.address() as AddressInfo;
    const taken = { host: address, port };
    return { squatter, taken, routes: testRoutes({ listeners: [{ ...taken, destination: DESTINATION }] }) };
  };

  test('a port that is taken is reported, and opened when it is free', async t => {
    const { squatter, taken, routes } = await squat(t);
    const { states } = routeFor(t, routes);
    await until(() => states[0], soon('the report'));
    assert.equal(states[0]!.error?.code, 'host/port-taken');
    assert.match(
      states[0]!.error!.message,
      new RegExp(`^cannot listen on ${taken.host}:${taken.port} for svc:demo`),
    );
    squatter.close();
    await until(() => states[1], soon('another try'));
    assert.deepEqual(states[1], opened(taken));
  });

  test('a change of listeners is another try, and another failure is no news', async t => {
    const { squatter, taken, routes } = await squat(t);
    const { states } = routeFor(t, routes);
    await until(() => states[0]?.error, soon('the report'));
    const addAnother = async () => {
      const listener = { ...(await freeAddress()), destination: DESTINATION };
      routes.swap({ listeners: [...routes.current().listeners, listener] });
      await until(() => states.some(s => s.host === listener.host) || undefined, soon('the other'));
    };
    await addAnother();
    assert.equal(states.filter(s => s.error !== undefined).length, 1);
    squatter.close();
    await once(squatter, 'close');
    await addAnother();
    await until(() => states.some(s => s.host === taken.host && !s.error) || undefined, soon('it is open'));
  });

  test('one that is gone before it is open is neither open nor reported', async t => {
    const { taken } = await squat(t);
    const free = await freeAddress();
    const routes = testRoutes({ listeners: [free, taken].map(at => ({ ...at, destination: DESTINATION })) });
    const router = routeFor(t, routes);
    routes.swap({ listeners: [] });
    await router.close(0);
    assert.ok(await refuses(free));
    assert.deepEqual(router.states, []);
  });

  test('an address that this machine does not have is reported', async t => {
    const routes = testRoutes({ listeners: [{ host: '192.0.2.1', port: 1, destination: DESTINATION }] });
    const { states } = routeFor(t, routes);
    await until(() => states[0], soon('the report'));
    assert.equal(states[0]!.error?.code, 'proxy/listen-failed');
  });
});

suite('close', () => {
  test('ends idle connections at once, and leaves no listener', { timeout: 120_000 }, async t => {
    const router = await startRouter(t, usersService(ready(await named(t, 'x'))));
    const silent = dial(t, router.address);
    await once(silent.socket, 'connect');
    const used = dial(t, router.address);
    used.socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    await until(() => used.received().endsWith('x') || undefined, soon('an answer'));
    await router.close(3_600_000);
    assert.ok(await refuses(router.address));
    await until(() => (silent.socket.closed && used.socket.closed) || undefined, soon('both ends'));
  });

  test('waits for what is in flight', async t => {
    const { promise: asked, resolve: onAsked } = Promise.withResolvers<() => void>();
    const slow = await serveHttp(t, (_request, response) => onAsked(() => response.end('done')));
    const router = await startRouter(t, usersService(ready(slow)));
    const client = dial(t, router.address);
    client.socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    const finish = await asked;
    const closed = router.close(60_000);
    finish();
    await closed; // and not for the client to end a connection that it could use again
    await until(() => client.received().endsWith('done') || undefined, soon('the answer'));
    assert.equal(router.counters.inFlight, 0);
  });

  test('but not for longer than it is told to', async t => {
    const { promise: asked, resolve: onAsked } = Promise.withResolvers<void>();
    const endless = await serveHttp(t, (_request, response) => {
      response.write('data: 1\n\n');
      onAsked();
    });
    const router = await startRouter(t, usersService(ready(endless)));
    const sent = begin(router.address, {});
    sent.end();
    const response = await responseTo(sent);
    await asked;
    const broken = once(response, 'error');
    response.resume();
    await router.close(50);
    assert.equal((await broken)[0].code, 'ECONNRESET');
    await until(() => router.counters.aborted === 1 || undefined, soon('the count'));
  });
});
