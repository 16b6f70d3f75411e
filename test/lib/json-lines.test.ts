import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import { readJsonLines, writeJsonLine } from '../../src/lib/json-lines.ts';

function reader(maxLength = 100) {
  const stream = new PassThrough();
  const heard: unknown[] = [];
  readJsonLines(stream, {
    maxLength,
    onValue: value => heard.push(value),
    onBroken: why => heard.push(new Error(why)),
  });
  return { stream, heard };
}
const settle = () => new Promise(setImmediate);

test('values come as they were sent, however the bytes are cut', async () => {
  const { stream, heard } = reader();
  const sent = [{ a: 'é\n€' }, [1, 'x'], null];
  const whole = new PassThrough();
  for (const value of sent) writeJsonLine(whole, value);
  for (const byte of whole.read() as Buffer) {
    stream.write(Buffer.from([byte]));
    await settle();
  }
  assert.deepEqual(heard, sent);
});

test('what is no JSON, or too long, ends the reading', async () => {
  for (const [text, why] of [
    ['{"a":1}\nGET / HTTP/1.1\n{"b":1}\n', 'a line that is no JSON'],
    [`{"a":1}\n"${'x'.repeat(200)}`, 'a line of more than 100 characters'],
  ] as const) {
    const { stream, heard } = reader();
    stream.write(text);
    await settle();
    stream.write('{"c":1}\n');
    await settle();
    assert.deepEqual(heard, [{ a: 1 }, new Error(why)]);
  }
});
