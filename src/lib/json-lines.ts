/** JSON objects over a stream, one a line (https://jsonlines.org). */
import type { Readable, Writable } from 'node:stream';
import { StringDecoder } from 'node:string_decoder';

/**
 * Calls `onValue` for each line of `stream`, in order. A line that is no JSON, or longer than `maxLength` characters,
 * ends the reading: `onBroken` is called once, and nothing after it.
 */
export function readJsonLines(
  stream: Readable,
  o: {
    readonly maxLength: number;
    readonly onValue: (value: unknown) => void;
    readonly onBroken: (why: string) => void;
  },
): void {
  const decoder = new StringDecoder('utf8');
  let held = '';
  let broken = false;
  const fail = (why: string) => {
    broken = true;
    o.onBroken(why);
  };
  stream.on('data', (chunk: Buffer) => {
    if (broken) return;
    const lines = decoder.write(chunk).split('\n');
    lines[0] = held + lines[0]!;
    held = lines.pop()!;
    for (const line of lines) {
      if (broken) return;
      let value: unknown;
      try {
        value = JSON.parse(line);
      } catch {
        return fail('a line that is no JSON');
      }
      o.onValue(value);
    }
    if (held.length > o.maxLength) fail(`a line of more than ${o.maxLength} characters`);
  });
}

/** Writes a line. What cannot be written because the other side has gone is lost, and that is all. */
export function writeJsonLine(stream: Writable, value: unknown): void {
  if (stream.writable) stream.write(`${JSON.stringify(value)}\n`);
}
