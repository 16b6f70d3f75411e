import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { Address, RouteChange, Target } from '../../src/model/route.ts';
import { createBook } from '../../src/proxy/book.ts';

const at = (port: number): Address => ({ host: '127.0.0.1', port });
const on = (containerPort: number, ...ports: number[]): Target => ({
  ...{ ready: true, ports: { [containerPort]: ports.map(at) } },
});
const off: Target = { ready: false, reason: 'Starting', message: 'it starts' };
const workload = (name: string, target: Target): RouteChange => ({
  ...{ kind: 'workload', name: `demo/${name}`, value: { label: `Deployment demo/${name}`, target } },
});
const fork = (name: string, key: string, target: Target): RouteChange => ({
  ...{ kind: 'fork', name: `demo/${name}/${key}`, value: { sandbox: `box-${key}`, target } },
});
const service = (...behind: readonly (readonly [string, number])[]): RouteChange => ({
  kind: 'service',
  name: 'svc:demo/shop:80',
  value: {
    label: 'Service demo/shop',
    behind: behind.map(([name, port]) => ({ workload: `demo/${name}`, port })),
  },
});

suite('destinations', () => {
  const find = (items: readonly RouteChange[], key = 'svc:demo/shop:80') =>
    createBook(items).destination(key)!;

  test('a port of a Service is the container port of what is behind it', () => {
    const shop = find([
      service(['shop', 8080]),
      workload('shop', on(8080, 1)),
      fork('shop', 'k', on(8080, 2)),
    ]);
    assert.equal(shop.label, 'Deployment demo/shop');
    assert.deepEqual(shop.baseline(), { ready: true, addresses: [at(1)] });
    assert.deepEqual(shop.fork('k'), { ready: true, addresses: [at(2)], sandbox: 'box-k' });
    assert.equal(shop.fork('other'), undefined);
    assert.equal(shop.fork('k/../k'), undefined);
  });

  test('a container port that is not there', () => {
    const shop = find([service(['shop', 1]), workload('shop', on(8080, 1)), fork('shop', 'k', on(8080, 2))]);
    assert.deepEqual(shop.baseline(), {
      ...{ ready: false, reason: 'NoPort', message: 'Deployment demo/shop has no container port 1' },
    });
    assert.equal(shop.fork('k')!.ready, false);
  });

  test('behind several Deployments: all that are ready; a fork of any is the fork', () => {
    const items = [
      service(['one', 80], ['two', 81], ['three', 80]),
      workload('one', on(80, 1, 2)),
      workload('two', on(81, 3)),
      workload('three', off),
      fork('two', 'k', on(81, 9)),
      fork('three', 'off', off),
    ];
    const shop = find(items);
    assert.equal(shop.label, 'Deployment demo/one, Deployment demo/two, Deployment demo/three');
    assert.deepEqual(shop.baseline(), { ready: true, addresses: [at(1), at(2), at(3)] });
    assert.deepEqual(shop.fork('k'), { ready: true, addresses: [at(9)], sandbox: 'box-k' });
    assert.equal(shop.fork('off')!.ready, false);
    assert.equal(find([items[0]!, workload('one', off), workload('two', off)]).baseline().ready, false);
  });

  test('a Service without a Deployment says so, and so does one whose Deployment is gone', () => {
    assert.deepEqual(find([service()]).baseline(), {
      ...{ ready: false, reason: 'NoWorkload' },
      message: 'no Deployment is selected by Service demo/shop',
    });
    assert.equal(find([service(['shop', 80])]).baseline().ready, false);
  });

  test('a Deployment by its own name and port', () => {
    const items = [workload('shop.v2', on(8080, 1)), fork('shop.v2', 'k', off)];
    const shop = find(items, 'deploy:demo/shop.v2:8080');
    assert.deepEqual(shop.baseline(), { ready: true, addresses: [at(1)] });
    assert.equal(shop.fork('k')!.ready, false);
    const book = createBook(items);
    for (const key of ['deploy:demo/other:8080', 'deploy:demo/shop.v2', 'svc:demo/shop:80', 'constructor'])
      assert.equal(book.destination(key), undefined, key);
  });
});

suite('steps', () => {
  test('are heard of once each, with what was before, and only when something changed', () => {
    const book = createBook([workload('shop', off)]);
    const heard: unknown[] = [];
    const stop = book.onChange(changed => heard.push(changed.map(c => [c.name, c.value, c.before])));
    const { value: was } = workload('shop', off);
    const { value: is } = workload('shop', on(80, 1));
    book.apply([workload('shop', off)]);
    book.apply([workload('shop', on(80, 1)), { kind: 'workload', name: 'none' }]);
    book.replace([]);
    stop();
    book.apply([workload('shop', off)]);
    assert.deepEqual(heard, [[['demo/shop', is, was]], [['demo/shop', undefined, is]]]);
  });

  test('who listens sees all of a step', () => {
    const book = createBook();
    const seen: unknown[] = [];
    book.onChange(() => seen.push([book.get('key', 'a'), book.get('key', 'b')]));
    book.apply(['a', 'b'].map((name): RouteChange => ({ kind: 'key', name, value: {} })));
    assert.deepEqual(seen, [[{}, {}]]);
  });
});
