/** Both forms are read by those who read them: sh(1), and node for .env files. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { parseEnv } from 'node:util';
import { environmentAs } from '../../src/cli/environment.ts';
import { exec } from '../../src/lib/exec.ts';
import { tempDir } from '../support/temp.ts';

const environment = {
  PLAIN: 'postgresql://app:p%40ss@127.0.0.1:7432/app?sslmode=require&a=1',
  EMPTY: '',
  BLANKS: '  two words # no comment ',
  DOLLAR: 'a$HOME`id`\\n"quoted"',
  LINES: '-----BEGIN KEY-----\nabc\n-----END KEY-----\n',
};

test('as shell', async () => {
  await using dir = await tempDir();
  const all = { ...environment, APOSTROPHE: `it's "$HOME"\nand more` };
  const file = join(dir.path, 'env');
  await writeFile(file, environmentAs('shell', all));
  const { stdout } = await exec('/bin/sh', ['-c', '. "$0"; env -0', file], { env: {} });
  const read = Object.fromEntries(
    stdout.split('\0').map(pair => [pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1)]),
  );
  for (const [name, value] of Object.entries(all)) assert.equal(read[name], value, name);
});

test('as a .env file', () => {
  assert.deepEqual({ ...parseEnv(environmentAs('dotenv', environment)) }, environment);
  // One with an apostrophe takes the other quotes.
  assert.deepEqual({ ...parseEnv(environmentAs('dotenv', { A: "it's\ntwo" })) }, { A: "it's\ntwo" });
  assert.equal(environmentAs('dotenv', { A: `'"$` }), 'A="\'\\"\\$"\n');
});
