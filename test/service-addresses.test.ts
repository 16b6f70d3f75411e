import assert from 'node:assert/strict';
import { it } from 'node:test';
import type { Networks } from '../src/drivers/network/contract.ts';
import { addressKey } from '../src/model/route.ts';
import { serviceAddresses } from '../src/service-addresses.ts';

/** Addresses on a bridge, the same ones for all Services. */
const networks = {
  services: {
    address: (_service: string, attempt: number) => `10.208.8.${attempt + 1}`,
    has: (ip: string) => ip.startsWith('10.208.8.'),
  },
} as Networks;

it('gives no two Services one address on the bridge, whatever their ports', () => {
  const { choose } = serviceAddresses('i', networks);
  const hosts = new Set(['10.208.8.1']);
  assert.deepEqual(
    choose('users', 80, ({ host }, { anyPort } = { anyPort: false }) => anyPort && hosts.has(host)),
    { host: '10.208.8.2', port: process.getuid?.() === 0 ? 80 : 8080 },
  );
});

it('uses loopback where there is no bridge, where only a port can be taken, and knows what was chosen elsewhere', () => {
  const [onBridge, onLoopback] = [serviceAddresses('i', networks), serviceAddresses('i', undefined)];
  const first = onLoopback.choose('users', 3000, () => false);
  const second = onLoopback.choose('users', 3000, one => addressKey(one) === addressKey(first));
  assert.match(first.host, /^127\./);
  assert.notEqual(addressKey(first), addressKey(second));
  assert.deepEqual([onBridge.fits(first), onLoopback.fits(first)], [false, true]);
  assert.deepEqual(
    [onBridge.fits({ host: '10.208.8.9', port: 1 }), onLoopback.fits({ host: '10.208.8.9', port: 1 })],
    [true, false],
  );
});
