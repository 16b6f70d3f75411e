/** What was acknowledged is there after `kill -9` at any moment, copies of the log into the file included. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { it } from 'node:test';
import { openStore } from '../../src/store/sqlite.ts';
import { tempDir } from '../support/temp.ts';

it('kill -9 in the middle of writes loses nothing that was acknowledged', async () => {
  await using dir = await tempDir();
  const file = join(dir.path, 'state.db');
  /** What must be there: the version, or `gone`. */
  const acknowledged = new Map<string, string>();
  for (const [round, lines] of [40, 400, 1_500, 700, 1].entries()) {
    for (const [name, version] of await writeUntilKilled(file, round, lines)) acknowledged.set(name, version);
    const store = openStore(file);
    for (const [name, version] of acknowledged) {
      const found = store.get('branch', name)?.version;
      if (version === 'gone') assert.equal(found, undefined, name);
      // What came next, its removal perhaps, may have been done without having been said.
      else assert.ok(found === undefined ? isRemoved(name) : found >= Number(version), name);
    }
    const versions = store.list('branch').map(b => b.version);
    assert.equal(new Set(versions).size, versions.length);
    assert.ok(Math.max(...versions) <= store.version());
    await store.close();
  }
});

/** See store-writer.ts. */
const isRemoved = (name: string): boolean => Number(name.split('-')[2]) % 3 === 0;

/** @returns everything that was said before the end, newest last */
async function writeUntilKilled(file: string, round: number, lines: number): Promise<[string, string][]> {
  const script = join(import.meta.dirname, '../support/store-writer.ts');
  const child = spawn(process.execPath, [script, file, String(round)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = once(child, 'exit');
  const said: [string, string][] = [];
  for await (const line of createInterface({ input: child.stdout })) {
    const [name = '', version = ''] = line.split(' ');
    said.push([name, version]);
    if (said.length === lines) child.kill('SIGKILL');
  }
  const [, signal] = await ended;
  assert.equal(signal, 'SIGKILL');
  assert.ok(said.length >= lines);
  return said;
}
