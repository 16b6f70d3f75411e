import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createPretence } from '../../../src/proxy/postgres/pretence.ts';

const startup = (minor: number, ...options: readonly string[]) => ({
  version: 0x3_0000 | minor,
  params: new Map([['user', 'app'], ...options.map((name): [string, string] => [name, '1'])]),
});

test('a restart changes nothing of what a role that is not there has stored', () => {
  const of = (secret: string, branch = 'abcd1234', role = 'app') =>
    createPretence(() => secret).verifier(branch, role);
  assert.deepEqual(of('one'), of('one'));
  for (const other of [of('two'), of('one', 'efgh5678'), of('one', 'abcd1234', 'other')])
    assert.notDeepEqual(other.salt, of('one').salt);
  assert.notDeepEqual(of('one', 'ab', 'cd').salt, of('one', 'abc', 'd').salt);
});

test('a newer protocol is negotiated as the servers do it that are here', () => {
  const pretence = createPretence(() => 'secret');
  const greeting = (minor: number, ...options: readonly string[]) =>
    pretence.greeting(startup(minor, ...options)).toString('hex');
  assert.equal(greeting(2), '', 'until one says otherwise they are as new as the newest');
  const [length, none] = ['0000000c', '00000000'];
  assert.equal(greeting(9), `76${length}00030002${none}`);
  const old = Buffer.from('0003000000000000', 'hex');
  pretence.learn(startup(2), old);
  assert.equal(greeting(2), `76${length}00030000${none}`);
  assert.equal(greeting(0, '_pq_.x'), `76000000130003000000000001${Buffer.from('_pq_.x\0').toString('hex')}`);
  pretence.learn(startup(0));
  assert.equal(greeting(2), `76${length}00030000${none}`, 'who asks for nothing new teaches nothing');
  pretence.learn(startup(2), Buffer.of(0, 3));
  pretence.learn(startup(2));
  assert.equal(greeting(2), '');
});
