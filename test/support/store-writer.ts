/**
 * `node store-writer.ts FILE ROUND`: many writers on one store, each saying what was acknowledged (`NAME VERSION`, or
 * `NAME gone`) in a line of its own. It goes on until it is killed.
 */
import { writeSync } from 'node:fs';
import { openStore } from '../../src/store/sqlite.ts';

const [file = '', round = ''] = process.argv.slice(2);
const store = openStore(file);
const say = (line: string) => void writeSync(1, `${line}\n`);
const secret = { password: 'x'.repeat(3_000) }; // so that the log is copied into the file now and then

async function write(writer: number): Promise<void> {
  for (let n = 0; ; n++) {
    const name = `${round}-${writer}-${n}`;
    const made = await store.create('branch', name, { spec: { project: 'p', name }, status: null, secret });
    say(`${name} ${made.version}`);
    const changed = await store.modify('branch', name, () => ({ secret: { password: name } }));
    say(`${name} ${changed!.version}`);
    if (n % 3 > 0) continue;
    await store.remove('branch', name);
    say(`${name} gone`);
  }
}

await Promise.all(Array.from({ length: 8 }, (_, i) => write(i)));
