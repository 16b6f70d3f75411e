/** `--help` of every command. OFFSHOOT_UPDATE_SNAPSHOTS=1 renews help.snapshot.txt. */
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { Command } from 'commander';
import { commands } from '../../src/cli/commands/index.ts';
import { fakeCli, runCli } from '../support/cli.ts';

const snapshot = join(import.meta.dirname, 'help.snapshot.txt');

test('every command explains itself, with examples', async () => {
  const pages: string[] = [];
  for (const path of await allCommands()) {
    const { code, stdout, stderr } = await runCli([...path, '--help']);
    const name = ['offshoot', ...path].join(' ');
    assert.equal(code, 0, name);
    assert.equal(stderr, '', name);
    assert.match(stdout, new RegExp(`^Usage: ${name}\\b`), name);
    assert.match(stdout, /\n\nExamples:\n {2}\$ .*offshoot /, `${name} has examples`);
    assert.match(stdout, /^Usage: .*\n\n[A-Za-z].{9,}\n/, `${name} says what it does`);
    pages.push(`$ ${name} --help\n${stdout}`);
  }
  const text = pages.join('\n');
  if (process.env.OFFSHOOT_UPDATE_SNAPSHOTS === '1') await writeFile(snapshot, text);
  assert.equal(text, await readFile(snapshot, 'utf8'), 'renew it with OFFSHOOT_UPDATE_SNAPSHOTS=1');
});

test('without a command there is the overview, as an error', async () => {
  const [none, asked] = [await runCli([]), await runCli(['help'])];
  assert.deepEqual([none.code, none.stdout, asked.code, asked.stderr], [2, '', 0, '']);
  assert.equal(none.stderr, asked.stdout);
  assert.equal((await runCli(['--help'])).stdout, asked.stdout);
});

test('help COMMAND, and the short names', async () => {
  const page = async (...args: string[]) => (await runCli(args)).stdout;
  assert.equal(await page('help', 'branch'), await page('branch', '--help'));
  assert.equal(await page('branch', 'help', 'create'), await page('branch', 'create', '--help'));
  assert.equal(await page('sb', 'apply', '-h'), await page('sandbox', 'apply', '--help'));
  assert.equal(await page('rp', '-h'), await page('resourceplugin', '--help'));
  assert.equal(await page('svc', '-h'), await page('service', '--help'));
});

test('the width is that of the terminal', async () => {
  const narrow = (await runCli([], { columns: 70 })).stderr;
  assert.ok(narrow.length > 0);
  const [options] = narrow.split('\n\nExamples:');
  assert.ok(options!.split('\n').every(line => line.length <= 70));
});

/** Words of all commands, e.g. `['branch', 'create']`; groups before their members. */
async function allCommands(): Promise<readonly (readonly string[])[]> {
  const program = new Command('offshoot');
  for (const { load } of Object.values(commands)) (await load()).register(program, fakeCli().cli);
  const walk = (command: Command, path: readonly string[]): (readonly string[])[] =>
    command.commands.flatMap(c => [[...path, c.name()], ...walk(c, [...path, c.name()])]);
  return [[], ...walk(program, [])];
}

test('where a terminal has 20 columns nothing is left out', async () => {
  const words = (text: string) => text.replaceAll(/\s+/g, ' ').trim();
  for (const path of [[], ['branch', '--help'], ['project', 'create', '--help']]) {
    const [narrow, wide] = [await runCli(path, { columns: 20 }), await runCli(path, { columns: 200 })];
    assert.equal(words(narrow.stdout + narrow.stderr), words(wide.stdout + wide.stderr));
  }
});
