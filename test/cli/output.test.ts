import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parse } from 'yaml';
import { age, print, say, table, took } from '../../src/cli/output.ts';
import { fakeCli } from '../support/cli.ts';

test('a table has columns of the widest cell, and nothing at the end of its lines', () => {
  const rows = [
    ['main', 'ready', ''],
    ['sb-xata-test', '-', 'sandbox/xata-test'],
  ];
  assert.equal(
    table(['NAME', 'STATE', 'OWNER'], rows),
    ['NAME          STATE  OWNER', 'main          ready', 'sb-xata-test  -      sandbox/xata-test'].join(
      '\n',
    ),
  );
  assert.equal(table(['NAME'], []), 'NAME');
  assert.equal(
    table(
      ['N'],
      Array.from({ length: 300_000 }, (_, i) => [String(i)]),
    ).split('\n').length,
    300_001,
  );
});

test('ages', () => {
  const now = Date.parse('2030-01-10T00:00:00Z');
  const ago = (seconds: number) => age(new Date(now - seconds * 1_000).toISOString(), now);
  assert.equal(ago(0), '0s');
  assert.equal(ago(-5), '0s');
  assert.equal(ago(119), '119s');
  assert.equal(ago(120), '2m');
  assert.equal(ago(7_199), '120m');
  assert.equal(ago(7_200), '2h');
  assert.equal(ago(172_800), '2d');
});

test('how long something took', () => {
  assert.equal(took(0.4), '0 ms');
  assert.equal(took(999.4), '999 ms');
  assert.equal(took(999.6), '1.0 s');
  assert.equal(took(61_250), '61.3 s');
});

test('objects go to stdout as asked for, sentences to stderr', async () => {
  const value = { name: 'x', list: [1, 2], same: { a: 1 } };
  const twice = { one: value.same, two: value.same };
  const printed = async (format: 'text' | 'json' | 'yaml', what: unknown = value) => {
    const { cli, stdout, stderr } = fakeCli();
    say(cli, 'a sentence');
    await print(cli, format, what, () => 'a line');
    assert.equal(stderr(), 'a sentence\n');
    return stdout();
  };
  assert.equal(await printed('text'), 'a line\n');
  assert.deepEqual(JSON.parse(await printed('json')), value);
  assert.deepEqual(parse(await printed('yaml')), value);
  assert.doesNotMatch(await printed('yaml', twice), /[&*]/, 'no anchors');
});

test('people see what a terminal would obey, programs get it as it is', async () => {
  const log = ['\x1b[31mred\x1b[0m', '\x1b]0;title\x07'];
  const printed = async (format: 'text' | 'json') => {
    const { cli, stdout, stderr } = fakeCli();
    say(cli, `it says ${log[1]}`);
    await print(cli, format, { log }, l => l.log.join('\n'));
    assert.equal(stderr(), 'it says \\x1b]0;title\\x07\n');
    return stdout();
  };
  assert.equal(await printed('text'), 'red\n\\x1b]0;title\\x07\n');
  assert.deepEqual(JSON.parse(await printed('json')), { log });
});

test('no text, no line', async () => {
  const { cli, stdout } = fakeCli();
  await print(cli, 'text', {}, () => '');
  await print(cli, 'text', {}, () => 'ends by itself\n');
  assert.equal(stdout(), 'ends by itself\n');
});
