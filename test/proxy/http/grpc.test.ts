/** gRPC by a client and a server of its own kind: all four kinds of calls, to baseline and fork by key. */
import assert from 'node:assert/strict';
import { suite, type TestContext, test } from 'node:test';
import {
  Client,
  credentials,
  Metadata,
  type MethodDefinition,
  Server,
  ServerCredentials,
  type ServiceError,
  status,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import { until } from '../../../src/lib/wait.ts';
import type { Address } from '../../../src/model/route.ts';
import { DESTINATION, notReady, ready, readyFork, startRouter, usersService } from '../../support/http.ts';

const soon = (what: string) => ({ what, deadlineMs: 60_000 });

type Definition = MethodDefinition<string, string>;

const method = (name: string, requestStream: boolean, responseStream: boolean): Definition => ({
  path: `/shop.Users/${name}`,
  requestStream,
  responseStream,
  requestSerialize: text => Buffer.from(text),
  requestDeserialize: bytes => bytes.toString(),
  responseSerialize: text => Buffer.from(text),
  responseDeserialize: bytes => bytes.toString(),
});

const definitions = {
  unary: method('Unary', false, false),
  upload: method('Upload', true, false),
  list: method('List', false, true),
  chat: method('Chat', true, true),
  hang: method('Hang', false, false),
  fail: method('Fail', false, false),
};

type Workload = Address & {
  /** How many calls it has left hanging, and how many of those it was told to give up. */
  readonly hung: () => number;
  readonly cancelled: () => number;
  readonly deadlines: (number | undefined)[];
};

/** A server whose answers begin with its name. */
async function serveGrpc(t: TestContext, name: string): Promise<Workload> {
  let hung = 0;
  let cancelled = 0;
  const deadlines: (number | undefined)[] = [];
  const implementation: UntypedServiceImplementation = {
    unary: ((
      call: { request: string; getDeadline(): Date | number },
      done: (e: null, r: string, m: Metadata) => void,
    ) => {
      const deadline = Number(call.getDeadline());
      deadlines.push(Number.isFinite(deadline) ? deadline - Date.now() : undefined);
      const trailer = new Metadata();
      trailer.set('x-trailer', name);
      done(null, `${name} ${call.request}`, trailer);
    }) as never,
    upload: ((call: AsyncIterable<string>, done: (e: null, r: string) => void) => {
      void (async () => {
        let count = 0;
        for await (const message of call) count += message.length;
        done(null, `${name} ${count}`);
      })();
    }) as never,
    list: ((call: { request: string; write(m: string): void; end(): void }) => {
      for (let i = 0; i < Number(call.request); i++) call.write(`${name} ${i}`);
      call.end();
    }) as never,
    chat: ((call: NodeJS.ReadWriteStream) => {
      call.on('data', message => call.write(`${name} ${message}` as never));
      call.on('end', () => call.end());
    }) as never,
    hang: ((call: { on(event: 'cancelled', listener: () => void): void }) => {
      hung++;
      call.on('cancelled', () => cancelled++);
    }) as never,
    fail: ((_call: unknown, done: (e: Partial<ServiceError>) => void) => {
      done({ code: status.ALREADY_EXISTS, details: 'it is there: 100 % ü' });
    }) as never,
  };
  const server = new Server();
  server.addService(definitions, implementation);
  t.after(() => server.forceShutdown());
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    ),
  );
  return { host: '127.0.0.1', port, hung: () => hung, cancelled: () => cancelled, deadlines };
}

function clientOf(t: TestContext, { host, port }: Address) {
  const client = new Client(`${host}:${port}`, credentials.createInsecure());
  t.after(() => client.close());
  const metadata = (key?: string) => {
    const one = new Metadata();
    if (key !== undefined) one.set('baggage', `sd-routing-key=${key}`);
    return one;
  };
  const { requestSerialize: put, responseDeserialize: take } = definitions.unary;
  return {
    unary: (
      key?: string,
      { name = 'Unary', deadlineMs = 5_000, abort = undefined as AbortSignal | undefined } = {},
    ) =>
      new Promise<{ answer: string; trailer: unknown }>((resolve, reject) => {
        let answer: string;
        const call = client.makeUnaryRequest(
          ...([`/shop.Users/${name}`, put, take, 'hello', metadata(key)] as const),
          { deadline: Date.now() + deadlineMs },
          (error, received) => {
            if (error) reject(error);
            else answer = received!;
          },
        );
        call.on('status', ({ code, metadata: received }) => {
          if (code === status.OK) resolve({ answer, trailer: received.get('x-trailer')[0] });
        });
        abort?.addEventListener('abort', () => call.cancel());
      }),
    upload: (messages: readonly string[], key?: string) =>
      new Promise<string>((resolve, reject) => {
        const call = client.makeClientStreamRequest(
          ...(['/shop.Users/Upload', put, take, metadata(key)] as const),
          (error, answer) => (error ? reject(error) : resolve(answer!)),
        );
        for (const message of messages) call.write(message);
        call.end();
      }),
    async list(count: number, key?: string) {
      const call = client.makeServerStreamRequest(
        '/shop.Users/List',
        put,
        take,
        String(count),
        metadata(key),
      );
      return (await call.toArray()) as string[];
    },
    chat: (key?: string) => client.makeBidiStreamRequest('/shop.Users/Chat', put, take, metadata(key)),
  };
}

async function testGrpc(t: TestContext, speaks: 'http' | 'unknown' = 'http') {
  const [baseline, fork] = [await serveGrpc(t, 'baseline'), await serveGrpc(t, 'fork')];
  const destination = usersService(ready(baseline), { k: readyFork('mine', fork), u: notReady('other') });
  const router = await startRouter(t, { ...destination, speaks });
  router.routes.swap({ tombstones: { old: 'gone' } });
  return { baseline, fork, router, client: clientOf(t, router.address) };
}

const refusedWith = (code: status, details: RegExp) => (error: ServiceError) => {
  assert.equal(error.code, code, error.message);
  assert.match(error.details, details);
  return true;
};

suite('gRPC', () => {
  for (const speaks of ['http', 'unknown'] as const)
    test(`all four kinds of calls reach baseline and fork, each by its own key (port: ${speaks})`, async t => {
      const { client } = await testGrpc(t, speaks);
      for (const [key, name] of [
        [undefined, 'baseline'],
        ['k', 'fork'],
        ['unknown', 'baseline'],
      ] as const) {
        assert.deepEqual(await client.unary(key), { answer: `${name} hello`, trailer: name });
        const big = Array.from({ length: 100 }, () => 'x'.repeat(10_000));
        assert.equal(await client.upload(big, key), `${name} 1000000`);
        assert.deepEqual(
          await client.list(3, key),
          [0, 1, 2].map(i => `${name} ${i}`),
        );
        assert.equal((await client.list(2_000, key)).length, 2_000);
        const chat = client.chat(key);
        const heard: string[] = [];
        chat.on('data', message => heard.push(message));
        chat.write('one');
        await until(() => heard.length === 1 || undefined, soon('an answer in the middle'));
        chat.write('two');
        chat.end();
        await new Promise(resolve => chat.on('end', resolve));
        assert.deepEqual(heard, [`${name} one`, `${name} two`]);
      }
    });

  test('a status of the workload passes with its details', async t => {
    const { client } = await testGrpc(t);
    const expected = refusedWith(status.ALREADY_EXISTS, /^it is there: 100 % ü$/);
    for (const key of [undefined, 'k']) await assert.rejects(client.unary(key, { name: 'Fail' }), expected);
  });

  test('a key of a fork that is not ready: UNAVAILABLE with the reason; of a deleted sandbox: not to be tried again', async t => {
    const { client, baseline } = await testGrpc(t);
    await assert.rejects(
      client.unary('u'),
      refusedWith(
        status.UNAVAILABLE,
        /sandbox "other" is not ready: CrashLoopBackOff: it exited with code 1/,
      ),
    );
    await assert.rejects(client.unary('old'), refusedWith(status.FAILED_PRECONDITION, /sandbox "gone"/));
    assert.deepEqual(baseline.deadlines, [], 'the baseline has heard nothing');
  });

  test('a workload that is gone: UNAVAILABLE', async t => {
    const { client, router } = await testGrpc(t);
    const nobody = { host: '127.0.0.1', port: 1 };
    router.routes.swap({ destinations: { [DESTINATION]: usersService(ready(nobody)) } });
    await assert.rejects(client.unary(), refusedWith(status.UNAVAILABLE, /refused the connection/));
  });

  test('deadlines reach the workload, and end the call there', async t => {
    const { client, fork } = await testGrpc(t);
    await client.unary('k', { deadlineMs: 60_000 });
    const [left] = fork.deadlines;
    assert.ok(left !== undefined && left > 0 && left <= 60_000, `${left}`);
    // On a busy machine it may be over before the workload has heard of the call: then with more time.
    for (let deadlineMs = 100; fork.hung() === 0; deadlineMs *= 2)
      await assert.rejects(client.unary('k', { name: 'Hang', deadlineMs }), {
        code: status.DEADLINE_EXCEEDED,
      });
    await until(() => fork.cancelled() > 0 || undefined, soon('the end at the workload'));
  });

  test('a call that is cancelled is cancelled at the workload', async t => {
    const { client, fork, router } = await testGrpc(t);
    const abort = new AbortController();
    const call = client.unary('k', { name: 'Hang', abort: abort.signal });
    await until(() => router.counters.inFlight === 1 || undefined, soon('the call'));
    abort.abort();
    await assert.rejects(call, { code: status.CANCELLED });
    await until(() => fork.cancelled() === 1 || undefined, soon('the cancellation'));
  });
});
