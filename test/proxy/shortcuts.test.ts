import assert from 'node:assert/strict';
import { it } from 'node:test';
import type { Speaks, Target } from '../../src/model/route.ts';
import { createBook } from '../../src/proxy/book.ts';
import { shortcutsOf } from '../../src/proxy/shortcuts.ts';

const at = { host: '10.0.1.1', port: 5432 };
const ready: Target = { ready: true, ports: {}, ips: ['10.0.0.1', '10.0.0.2'] };

const shortcuts = (speaks: Speaks | undefined, target: Target) =>
  shortcutsOf(
    createBook([
      { kind: 'workload', name: 'demo/db', value: { label: 'db', target } },
      {
        ...{ kind: 'service', name: 'svc:demo/db:5432' },
        value: { label: 'db', behind: [{ workload: 'demo/db', port: 5432 }], ...(speaks && { speaks }) },
      },
      { kind: 'listener', name: '10.0.1.1:5432', value: { ...at, serves: 'svc:demo/db:5432' } },
      { kind: 'listener', name: 'previews', value: { host: '127.0.0.1', port: 7480, serves: 'previews' } },
    ]),
  );

it('ports that are said to pass through have shortcuts to the pods that are ready', () => {
  const pods = ['10.0.0.1', '10.0.0.2'].map(host => ({ host, port: 5432 }));
  assert.deepEqual(shortcuts('tcp', ready), [{ ...at, pods }]);
});

it('others go by the proxy: HTTP, which has keys; what nobody has said; what is not ready, which it tells', () => {
  assert.deepEqual(shortcuts('http', ready), []);
  assert.deepEqual(shortcuts(undefined, ready), []);
  assert.deepEqual(shortcuts('tcp', { ready: false, reason: 'Starting', message: 'started' }), []);
});
