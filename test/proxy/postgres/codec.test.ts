import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type ErrorCode, OffshootError } from '../../../src/model/errors.ts';
import { encodeFatal, encodeStartup, parseOpening, scanLogin } from '../../../src/proxy/postgres/codec.ts';
import * as frames from '../../support/pg-frames.ts';

const badStartup = (error: unknown) => error instanceof OffshootError && error.code === 'gateway/bad-startup';
const params = { user: 'app.abcd1234', database: 'app', application_name: 'psql' };

test('a startup message is read with its version and parameters', () => {
  const packet = frames.startupMessage(params, frames.PROTOCOL_3_2);
  const parsed = parseOpening(Buffer.concat([packet, Buffer.from('more')]));
  assert.deepEqual(parsed, {
    size: packet.length,
    opening: {
      kind: 'startup',
      startup: { version: frames.PROTOCOL_3_2, params: new Map(Object.entries(params)) },
    },
  });
});

test('every incomplete opening asks for more, whatever it is cut to', () => {
  for (const packet of [
    frames.startupMessage(params),
    frames.sslRequest(),
    frames.cancelRequest(1, Buffer.alloc(4)),
  ])
    for (let size = 0; size < packet.length; size++)
      assert.equal(parseOpening(packet.subarray(0, size)), undefined);
});

test('of a parameter that is sent twice the last value counts, as in PostgreSQL', () => {
  const packet = frames.startupMessage([
    ['user', 'app.abcd1234'],
    ['user', 'offshoot'],
  ]);
  const { opening } = parseOpening(packet)!;
  assert.ok(opening.kind === 'startup');
  assert.deepEqual([...opening.startup.params], [['user', 'offshoot']]);
});

test('a startup message is written as it was read, bytes outside ASCII included', () => {
  const packet = frames.startupMessage({ user: 'bj\u00f6rn.abcd1234', database: '\u00ff\u0080' });
  const { opening } = parseOpening(packet)!;
  assert.ok(opening.kind === 'startup');
  assert.deepEqual(encodeStartup(opening.startup), packet);
});

test('SSL, GSS and cancel requests are told apart by their code', () => {
  assert.deepEqual(parseOpening(frames.sslRequest())?.opening, { kind: 'encryption', method: 'SSL' });
  assert.deepEqual(parseOpening(frames.gssRequest())?.opening, { kind: 'encryption', method: 'GSS' });
  for (const secret of [4, 32, 256]) {
    const packet = frames.cancelRequest(7, Buffer.alloc(secret, 1));
    assert.deepEqual(parseOpening(packet)?.opening, { kind: 'cancel', packet });
  }
});

test('the first byte of a TLS handshake is enough', () => {
  assert.deepEqual(parseOpening(Buffer.from([0x16]))?.opening, { kind: 'tls' });
});

const impossible: Record<string, Buffer> = {
  'a length of 0': frames.int32(0),
  'a length of 7': frames.int32(7),
  'a negative length': frames.int32(-1),
  'the smallest integer as length': frames.int32(-(2 ** 31)),
  'the largest integer as length': frames.int32(2 ** 31 - 1),
  'one byte more than PostgreSQL allows': frames.int32(10_005),
  'an HTTP request': Buffer.from('GET / HTTP/1.1\r\n'),
  'an SSL request that is too long': Buffer.concat([frames.int32(9), frames.int32(80877103)]),
  'a cancel request without a secret': Buffer.concat([frames.int32(12), frames.int32(80877102)]),
  'a cancel request with a secret of 257 bytes': Buffer.concat([
    frames.int32(12 + 257),
    frames.int32(80877102),
  ]),
  'parameters without a terminator': frames.opening(frames.PROTOCOL_3_0, Buffer.from('user\0app\0')),
  'a name without a value': frames.opening(frames.PROTOCOL_3_0, Buffer.from('user\0\0')),
  'a name without an end': frames.opening(frames.PROTOCOL_3_0, Buffer.from('user')),
  'a terminator before the end': frames.opening(frames.PROTOCOL_3_0, Buffer.from('user\0app\0\0x\0')),
  'no parameters at all': frames.opening(frames.PROTOCOL_3_0),
};
for (const [what, bytes] of Object.entries(impossible))
  test(`${what} is refused without waiting for more`, () => {
    assert.throws(() => parseOpening(bytes), badStartup);
  });

test('the longest startup packet of PostgreSQL is taken', () => {
  const fixed = 4 + 4 + 'user\0\0\0'.length;
  const packet = frames.startupMessage({ user: 'u'.repeat(10_004 - fixed) });
  assert.equal(packet.length, 10_004);
  assert.equal(parseOpening(packet)?.size, 10_004);
});

test('protocol 2.0 is refused by its version, unknown minor versions of 3 are not', () => {
  assert.throws(
    () => parseOpening(frames.opening(0x2_0000, Buffer.alloc(288))),
    (error: OffshootError) =>
      error.code === 'gateway/unsupported-protocol' && error.message.includes('protocol 2.0'),
  );
  assert.equal(parseOpening(frames.startupMessage(params, 0x3_270f))?.opening.kind, 'startup');
});

test('an error becomes an ErrorResponse with severity, code, sentence and hint', () => {
  const error = new OffshootError('gateway/branch-unknown', { branch: 'caf\u00e9' });
  const [frame, ...others] = frames.readFrames(encodeFatal(error));
  assert.deepEqual(others, []);
  assert.deepEqual(frames.errorFields(frame!), {
    S: 'FATAL',
    V: 'FATAL',
    C: '3D000',
    M: 'branch "caf\u00e9" does not exist',
    H: 'see "offshoot branch list"',
  });
});

const codes: readonly (readonly [ErrorCode, sqlstate: string, sentence: string])[] = [
  ['gateway/login-timeout', '57014', 'the login was not complete after 10 s'],
  ['gateway/too-many-logins', '53300', '500 clients are logging in already'],
  ['gateway/shutting-down', '57P01', 'the gateway is shutting down'],
];
for (const [code, sqlstate, sentence] of codes)
  test(`${code} reaches clients as ${sqlstate}`, () => {
    const [frame] = frames.readFrames(encodeFatal(new OffshootError(code, { after: '10 s', max: 500 })));
    const { C, M } = frames.errorFields(frame!);
    assert.deepEqual([C, M], [sqlstate, sentence]);
  });

test('a login is scanned up to ReadyForQuery, and not beyond', () => {
  const login = Buffer.concat([
    frames.message('v', frames.int32(0x3_0002)),
    frames.authenticationOk(),
    frames.parameterStatus('offshoot.branch', 'abcd1234'),
    frames.backendKeyData(7, Buffer.from('secret')),
    frames.readyForQuery(),
  ]);
  const key = Buffer.concat([frames.int32(7), Buffer.from('secret')]);
  const all = Buffer.concat([login, Buffer.from('Znot a message')]);
  assert.deepEqual(scanLogin(all), {
    size: login.length,
    cancelKey: key,
    negotiation: frames.int32(0x3_0002),
    outcome: 'ready',
    refusalAt: undefined,
  });
  for (let size = 0; size < login.length; size++) {
    const scan = scanLogin(login.subarray(0, size));
    assert.ok(scan.size <= size);
    assert.equal(scan.outcome, undefined);
  }
});

test('a refusal by the server is seen', () => {
  const frame = frames.fatal('28P01', 'password authentication failed');
  assert.deepEqual(scanLogin(frame), {
    size: frame.length,
    cancelKey: undefined,
    negotiation: undefined,
    outcome: 'refused',
    refusalAt: 0,
  });
});

const notLogins: Record<string, Buffer> = {
  'a length below its own size': Buffer.concat([Buffer.from('R'), frames.int32(3)]),
  'a negative length': Buffer.concat([Buffer.from('R'), frames.int32(-5)]),
  'a message over 64 KiB': Buffer.concat([Buffer.from('N'), frames.int32(64 * 1024 + 1)]),
  'an error of protocol 2, as after a failed fork': Buffer.from('Ecould not fork new process\n\0'),
  'a cancel key of 3 bytes': frames.backendKeyData(1, Buffer.alloc(3)),
  'a cancel key of 257 bytes': frames.backendKeyData(1, Buffer.alloc(257)),
};
for (const [what, bytes] of Object.entries(notLogins))
  test(`${what} is no login`, () => {
    assert.throws(() => scanLogin(bytes), RangeError);
  });
