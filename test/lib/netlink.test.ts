import assert from 'node:assert/strict';
import { it } from 'node:test';
import { libc } from '../../src/lib/libc.ts';
import { newNetNamespace, ownNetNamespace } from '../../src/lib/net-namespace.ts';
import {
  attributesOf,
  decode,
  encode,
  families,
  flags,
  openNetlink,
  textOf,
  u32,
} from '../../src/lib/netlink.ts';

const GET_LINK = 18;
const NAME = 3;

it('writes messages as the kernel reads them, and reads what it writes', () => {
  const message = encode(
    {
      type: 16,
      flags: flags.create,
      header: u32(7),
      attributes: [
        [3, 'lo'],
        [18, [[1, 'veth']]],
      ],
    },
    5,
  );
  const expected =
    '28000000' +
    '1000' +
    '0104' +
    '05000000' +
    '00000000' + // length, type, flags, number, port
    '07000000' +
    '0700' +
    '0300' +
    '6c6f0000' + // header; a text with its zero, padded
    '1000' +
    '1280' +
    '0900' +
    '0100' +
    '7665746800000000'; // nested
  assert.equal(message.toString('hex').slice(8), expected.slice(8));
  assert.equal(message.readUInt32LE(0), message.length);
  const [answer] = decode(message);
  assert.equal(answer!.type, 16);
  const found = attributesOf(answer!.body.subarray(4));
  assert.equal(textOf(found.get(3)), 'lo');
  assert.equal(textOf(attributesOf(found.get(18)!).get(1)), 'veth');
});

it('leaves out what is cut off or says a length that cannot be', () => {
  const whole = encode({ type: 16, header: u32(7) }, 1);
  assert.equal(decode(Buffer.concat([whole, whole.subarray(0, 18)])).length, 1);
  const zero = Buffer.from(whole);
  zero.writeUInt32LE(0, 0);
  assert.equal(decode(zero).length, 0);
  assert.equal(attributesOf(Buffer.from([0, 0, 1, 0, 9, 9, 9, 9])).size, 0);
  assert.equal(attributesOf(Buffer.from([200, 0, 1, 0, 9, 9, 9, 9])).size, 0);
});

const calls = await libc().catch(() => undefined);
const why =
  process.getuid?.() !== 0 || calls === undefined ? 'network namespaces need root and system calls' : false;

it('asks the kernel in the namespace in which the socket was opened, and tells what it refuses', {
  skip: why,
}, () => {
  const before = ownNetNamespace(calls!);
  const made = newNetNamespace(calls!);
  const after = ownNetNamespace(calls!);
  assert.equal(after.id, before.id, 'the thread is back');
  assert.notEqual(made.id, before.id);
  assert.throws(() => made.within(() => assert.fail('inside')), /inside/);
  const netlink = made.within(() => openNetlink(calls!, families.route));
  try {
    const names = netlink
      .ask({ type: GET_LINK, flags: flags.dump, header: u32(0, 0, 0, 0) })
      .map(({ body }) => textOf(attributesOf(body.subarray(16)).get(NAME)));
    assert.ok(names.includes('lo'));
    const unknown = { type: GET_LINK, header: u32(0, 0, 0, 0), attributes: [[NAME, 'not-there']] } as const;
    assert.throws(() => netlink.ask(unknown), { code: 'ENODEV', syscall: 'netlink' });
    assert.equal(
      netlink.ask({ type: GET_LINK, header: u32(0, 1, 0, 0) }).length,
      1,
      'nothing is left of a failure',
    );
  } finally {
    netlink.close();
    for (const one of [before, made, after]) one.close();
  }
});
